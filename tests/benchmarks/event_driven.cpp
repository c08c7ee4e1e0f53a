// An event-driven simulation of a network with time-to-first-spike coding, one image after another.
//
// The yardstick of the benchmarks: what a program written for nothing but this kind of network
// (convolution, max-pooling, dense layer) needs on one core.
//
//     event_driven NETWORK IMAGES RESULTS
//
// event_driven.py writes NETWORK and IMAGES and reads RESULTS; the three formats are the reading
// and writing functions below. All numbers are little-endian, maps are channel last.
//
// The two-stage neuron in analytic form: a spike at step k of a window of N steps adds
// w * scale * (N - k) / N to the potential of each target; at the end of the window the potential
// tells the step of the neuron's own spike. A spike is known by its level N - k. Spikes are
// delivered in the order of time, by a counting sort of their levels; nothing is done in a step
// without spikes.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

namespace {

enum Role : int32_t { INPUT = 0, CONVOLUTION = 1, DENSE = 2, MAX_POOL = 3 };

struct Window {
    int32_t height, width;      // of the kernel
    int32_t stride_y, stride_x;
    int32_t pad_y, pad_x;       // at the top and at the left
};

// What a source position reaches along one axis: a run of targets and where its weights begin.
struct Reach {
    int32_t first, count, tap;
};

struct Event {
    uint16_t position, channel;
};

struct Population {
    int32_t role, height, width, channels;
    bool spikes;
    float raise;                // levels for a unit of potential
    float lower;                // value of a level
    Window window{};
    std::vector<float> rest;    // potential without input, by channel
    std::vector<float> weights; // by source channel, kernel row, kernel column, channel
    std::vector<Reach> rows, columns;
    std::vector<float> map;     // potentials; after the window, levels
    std::vector<uint32_t> found;
    std::vector<uint32_t> begin;  // of each level's events
    std::vector<Event> events;    // in the order of time
    std::vector<float> amplitudes;
    size_t events_count = 0;

    size_t positions() const { return size_t(height) * width; }
    size_t size() const { return positions() * channels; }
};

[[noreturn]] void fail(const std::string& message) {
    std::fprintf(stderr, "event_driven: %s\n", message.c_str());
    std::exit(1);
}

class Reader {
public:
    explicit Reader(const char* path) : path_(path), file_(std::fopen(path, "rb")) {
        if (!file_) fail("cannot open " + path_);
    }
    ~Reader() { std::fclose(file_); }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    template <class T> T one() {
        T value;
        read(&value, sizeof value);
        return value;
    }
    template <class T> std::vector<T> many(size_t count) {
        std::vector<T> values(count);
        read(values.data(), count * sizeof(T));
        return values;
    }

private:
    void read(void* to, size_t bytes) {
        if (std::fread(to, 1, bytes, file_) != bytes) fail(path_ + " ends too early");
    }
    std::string path_;
    std::FILE* file_;
};

// Taps of one axis are stored by phase (which of `stride` sets of source positions they serve),
// within a phase from the last to the first: the targets of a run then ascend with the weights.
std::vector<Reach> reaches(int size, int out, int kernel, int stride, int pad) {
    std::vector<Reach> found(size);
    for (int x = 0; x < size; ++x) {
        const int phase = (x + pad) % stride;
        int before = 0;
        for (int p = 0; p < phase; ++p) before += (kernel - p + stride - 1) / stride;
        const int taps = phase < kernel ? (kernel - phase + stride - 1) / stride : 0;
        const int last = (x + pad) / stride;
        const int first = last - taps + 1;
        const int low = std::max(first, 0);
        const int high = std::min(last, out - 1);
        found[x] = {low, std::max(0, high - low + 1), before + (low - first)};
    }
    return found;
}

// NETWORK: steps, populations; for each population its role and shape, whether it spikes, the
// factors between potentials and levels; then what its role needs.
std::vector<Population> read_network(const char* path, int32_t& steps) {
    Reader file(path);
    steps = file.one<int32_t>();
    std::vector<Population> network(file.one<int32_t>());
    for (size_t i = 0; i < network.size(); ++i) {
        Population& here = network[i];
        here.role = file.one<int32_t>();
        here.height = file.one<int32_t>();
        here.width = file.one<int32_t>();
        here.channels = file.one<int32_t>();
        here.spikes = file.one<int32_t>() != 0;
        here.raise = file.one<float>();
        here.lower = file.one<float>();
        if (here.role == CONVOLUTION || here.role == MAX_POOL) here.window = file.one<Window>();
        if (here.role == CONVOLUTION || here.role == DENSE) {
            const Population& source = network[i - 1];
            here.rest = file.many<float>(here.channels);
            const size_t kernel = size_t(here.window.height) * here.window.width;
            const size_t rows = here.role == DENSE ? source.size() : source.channels * kernel;
            here.weights = file.many<float>(rows * here.channels);
            if (here.role == CONVOLUTION) {
                const Window& w = here.window;
                here.rows = reaches(source.height, here.height, w.height, w.stride_y, w.pad_y);
                here.columns = reaches(source.width, here.width, w.width, w.stride_x, w.pad_x);
            }
        }
        here.map.resize(here.size());
        here.found.resize(here.size() + 1);
        here.events.resize(here.size());
        here.amplitudes.resize(here.size());
        here.begin.resize(steps + 2);
    }
    return network;
}

// target[0..count) += amplitude * weight[0..count). Compilers make vectors of it as long as the
// machine has; unrolling it by hand for each number of channels made nothing faster.
inline void add_run(float* target, const float* weight, float amplitude, size_t count) {
    for (size_t i = 0; i < count; ++i) target[i] += amplitude * weight[i];
}

// Delivers all spikes of `source`; returns the number of synaptic operations.
int64_t convolve(const Population& source, Population& here) {
    const size_t channels = here.channels;
    const size_t kernel_row = here.window.width * channels;
    const size_t kernel = here.window.height * kernel_row;
    const size_t map_row = here.width * channels;
    int64_t taps = 0;
    for (size_t e = 0; e < source.events_count; ++e) {
        const Event event = source.events[e];
        const Reach row = here.rows[event.position / source.width];
        const Reach column = here.columns[event.position % source.width];
        const float amplitude = source.amplitudes[e];
        const float* weight = here.weights.data() + event.channel * kernel + row.tap * kernel_row +
                              column.tap * channels;
        float* target = here.map.data() + row.first * map_row + column.first * channels;
        const size_t run = column.count * channels;
        for (int r = 0; r < row.count; ++r) {
            add_run(target, weight, amplitude, run);
            weight += kernel_row;
            target += map_row;
        }
        taps += row.count * column.count;
    }
    return taps * here.channels;
}

int64_t deliver_dense(const Population& source, Population& here) {
    const int channels = here.channels;
    float* target = here.map.data();
    auto row = [&](size_t e) {
        const Event event = source.events[e];
        const size_t neuron = size_t(event.position) * source.channels + event.channel;
        return here.weights.data() + neuron * channels;
    };
    size_t e = 0;
    // four spikes at once: each potential is loaded and stored once for the four
    for (; e + 4 <= source.events_count; e += 4) {
        const float *w0 = row(e), *w1 = row(e + 1), *w2 = row(e + 2), *w3 = row(e + 3);
        const float a0 = source.amplitudes[e], a1 = source.amplitudes[e + 1];
        const float a2 = source.amplitudes[e + 2], a3 = source.amplitudes[e + 3];
        for (int i = 0; i < channels; ++i) {
            target[i] += a0 * w0[i] + a1 * w1[i] + a2 * w2[i] + a3 * w3[i];
        }
    }
    for (; e < source.events_count; ++e) {
        add_run(target, row(e), source.amplitudes[e], channels);
    }
    return int64_t(source.events_count) * channels;
}

void begin_window(Population& here) {
    float* map = here.map.data();
    for (size_t position = 0; position < here.positions(); ++position) {
        std::memcpy(map, here.rest.data(), here.channels * sizeof(float));
        map += here.channels;
    }
}

// The end of the silent stage: from each potential the level of the spike, 0 for none.
int64_t tell_levels(Population& here, int steps) {
    float* map = here.map.data();
    const float most = float(steps);
    int32_t spikes = 0;
    for (size_t i = 0; i < here.size(); ++i) {
        const float raised = map[i] * here.raise;
        const int32_t level = int32_t(raised < most ? raised : most);
        const int32_t positive = level > 0 ? level : 0;
        spikes += level > 0;
        map[i] = float(positive);
    }
    return spikes;
}

// The first spike of each window passes.
int64_t pool(const Population& source, Population& here) {
    const int channels = here.channels;
    const Window& w = here.window;
    std::fill_n(here.map.begin(), here.size(), 0.0f);
    int32_t spikes = 0;
    for (int y = 0; y < here.height; ++y) {
        for (int x = 0; x < here.width; ++x) {
            float* out = here.map.data() + (size_t(y) * here.width + x) * channels;
            const int top = y * w.stride_y - w.pad_y, left = x * w.stride_x - w.pad_x;
            const int bottom = std::min(source.height, top + w.height);
            const int right = std::min(source.width, left + w.width);
            for (int ky = std::max(0, top); ky < bottom; ++ky) {
                for (int kx = std::max(0, left); kx < right; ++kx) {
                    const float* in =
                        source.map.data() + (size_t(ky) * source.width + kx) * channels;
                    for (int c = 0; c < channels; ++c) out[c] = out[c] > in[c] ? out[c] : in[c];
                }
            }
            for (int c = 0; c < channels; ++c) spikes += out[c] > 0;
        }
    }
    return spikes;
}

// Brings the spikes of a population into the order of time.
void sort_events(Population& here, int steps) {
    uint32_t* found = here.found.data();
    const float* level = here.map.data();
    size_t count = 0;
    for (uint32_t position = 0; position < here.positions(); ++position) {
        for (uint32_t channel = 0; channel < uint32_t(here.channels); ++channel) {
            // written always, kept if it spikes: no branch to be predicted
            found[count] = position << 16 | channel;
            count += *level++ > 0;
        }
    }
    here.events_count = count;
    std::fill(here.begin.begin(), here.begin.end(), 0u);
    auto step_of = [&](uint32_t packed) {
        const size_t neuron = size_t(packed >> 16) * here.channels + (packed & 0xffff);
        return steps - int(here.map[neuron]);
    };
    for (size_t i = 0; i < count; ++i) ++here.begin[step_of(found[i]) + 1];
    for (int step = 0; step < steps; ++step) here.begin[step + 1] += here.begin[step];
    for (size_t i = 0; i < count; ++i) {
        const int step = step_of(found[i]);
        const uint32_t at = here.begin[step]++;
        here.events[at] = {uint16_t(found[i] >> 16), uint16_t(found[i])};
        here.amplitudes[at] = float(steps - step) * here.lower;
    }
}

double seconds(clockid_t clock) {
    timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) fail("usage: event_driven NETWORK IMAGES RESULTS");
    int32_t steps = 0;
    std::vector<Population> network = read_network(argv[1], steps);
    // IMAGES: their number; the levels of their pixels
    Reader file(argv[2]);
    const int32_t images = file.one<int32_t>();
    const std::vector<uint16_t> pixels = file.many<uint16_t>(images * network[0].size());

    const size_t outputs = network.back().size();
    std::vector<float> potentials(images * outputs);
    std::vector<int64_t> spikes(images * network.size()), operations(images * network.size());
    const double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
    for (int32_t image = 0; image < images; ++image) {
        int64_t* spikes_here = spikes.data() + image * network.size();
        int64_t* operations_here = operations.data() + image * network.size();
        for (size_t i = 0; i < network.size(); ++i) {
            Population& here = network[i];
            if (here.role == INPUT) {
                const uint16_t* levels = pixels.data() + image * here.size();
                for (size_t k = 0; k < here.size(); ++k) {
                    here.map[k] = levels[k];
                    spikes_here[i] += levels[k] > 0;
                }
            } else if (here.role == MAX_POOL) {
                spikes_here[i] = pool(network[i - 1], here);
            } else {
                begin_window(here);
                // operations are those of the spikes' source
                operations_here[i - 1] = here.role == DENSE ? deliver_dense(network[i - 1], here)
                                                            : convolve(network[i - 1], here);
                if (i + 1 == network.size()) {
                    std::copy_n(here.map.begin(), outputs, potentials.begin() + image * outputs);
                }
                if (here.spikes) spikes_here[i] = tell_levels(here, steps);
            }
            // a pooling compares levels: only what is delivered has to be in the order of time
            const bool delivered = i + 1 < network.size() && network[i + 1].role != MAX_POOL;
            if (delivered) sort_events(here, steps);
        }
    }
    const double times[] = {seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu,
                            seconds(CLOCK_MONOTONIC) - wall};

    // RESULTS: CPU and wall time of the loop; potentials; spikes; operations
    std::FILE* results = std::fopen(argv[3], "wb");
    if (!results) fail(std::string("cannot write ") + argv[3]);
    bool written = std::fwrite(times, sizeof times, 1, results) == 1;
    auto write = [&](const auto& values) {
        const size_t count = std::fwrite(values.data(), sizeof values[0], values.size(), results);
        written &= count == values.size();
    };
    write(potentials);
    write(spikes);
    write(operations);
    written &= std::fclose(results) == 0;
    if (!written) fail(std::string("cannot write ") + argv[3]);
    return 0;
}
