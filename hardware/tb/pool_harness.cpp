// SPDX-License-Identifier: MIT

// Replays a vector file through the Verilator model of spike_max_pool and compares every word.
//
// The parameters of the model are given to this file as macros (see the Makefile); a vector file
// for other parameters is refused. The format of the file is described in README.md.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "Vpool.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

namespace {

// Parameters of the model
constexpr uint32_t kWidth = POOL_WIDTH;
constexpr uint32_t kWindowHeight = POOL_WINDOW_HEIGHT;
constexpr uint32_t kWindowWidth = POOL_WINDOW_WIDTH;
constexpr uint32_t kStrideHeight = POOL_STRIDE_HEIGHT;
constexpr uint32_t kStrideWidth = POOL_STRIDE_WIDTH;
constexpr uint32_t kMapHeight = POOL_MAP_HEIGHT;
constexpr uint32_t kMapWidth = POOL_MAP_WIDTH;
constexpr uint32_t kChannels = POOL_CHANNELS;
constexpr uint32_t kPipeline = POOL_PIPELINE;
constexpr uint32_t kWinnerIndex = POOL_WINNER_INDEX;

static_assert(kWidth <= 32, "the vector file holds potentials of at most 32 bits");
static_assert(kWindowHeight * kWindowWidth <= 65536, "the vector file holds indices of 16 bits");

constexpr uint32_t kOutHeight = (kMapHeight - kWindowHeight) / kStrideHeight + 1;
constexpr uint32_t kOutWidth = (kMapWidth - kWindowWidth) / kStrideWidth + 1;
constexpr uint64_t kBeats = uint64_t{kMapHeight} * kMapWidth * kChannels;
constexpr uint64_t kWords = uint64_t{kOutHeight} * kOutWidth * kChannels;

constexpr char kMagic[] = "BSNNPOOL";
constexpr size_t kHeaderWords = 14;
constexpr size_t kHeaderBytes = 8 + 4 * kHeaderWords;
constexpr uint32_t kVersion = 1;

constexpr uint64_t kIdleLimit = 5000;     // cycles without a transfer that count as a dead-lock
constexpr uint64_t kDrainCycles = 64;     // cycles after the last word in which none may follow
constexpr uint64_t kReportLimit = 10;     // differing words that are printed
constexpr double kStallLimit = 0.95;

struct Options {
  std::string vectors;
  std::string wave;
  std::string json;
  double stall_in = 0.0;
  double stall_out = 0.0;
  uint64_t seed = 1;
  uint64_t wave_frames = 2;
};

struct Vectors {
  uint32_t frac = 0;
  uint64_t frames = 0;
  std::vector<int32_t> potentials;
  std::vector<uint8_t> spikes;
  std::vector<uint8_t> expected_spikes;
  std::vector<uint16_t> expected_winners;
};

struct Result {
  uint64_t words_compared = 0;
  uint64_t words_different = 0;
  uint64_t words_extra = 0;
  uint64_t words_unstable = 0;
  uint64_t beats = 0;
  uint64_t cycles = 0;
  double seconds = 0.0;
  bool error_raised = false;
};

// xorshift64*: fast, and the same stalls on every machine
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 0xD1B54A32D192ED03u) {
    if (state_ == 0) state_ = 1;
  }
  bool below(uint64_t threshold) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return ((state_ * 0x2545F4914F6CDD1Du) >> 32) < threshold;
  }
  static uint64_t threshold(double probability) {
    return static_cast<uint64_t>(std::llround(std::ldexp(probability, 32)));
  }

 private:
  uint64_t state_;
};

[[noreturn]] void refuse(const std::string& what) { throw std::runtime_error(what); }

double parse_probability(const char* name, const char* text) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (*text == '\0' || *end != '\0' || !(value >= 0.0 && value <= kStallLimit)) {
    refuse(std::string(name) + ": '" + text + "' is no probability from 0 to 0.95");
  }
  return value;
}

uint64_t parse_count(const char* name, const char* text) {
  char* end = nullptr;
  const uint64_t value = std::strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0') {
    refuse(std::string(name) + ": '" + text + "' is no whole number");
  }
  return value;
}

const char kUsage[] =
    "usage: pool_harness VECTORS [options]\n"
    "  --stall-in P      probability that the sender pauses in a cycle (0)\n"
    "  --stall-out P     probability that the receiver is not ready in a cycle (0)\n"
    "  --seed N          of the stalls (1)\n"
    "  --wave FILE.vcd   writes a waveform (needs a build with TRACE=1)\n"
    "  --wave-frames N   frames in the waveform (2)\n"
    "  --json FILE       writes the result as JSON, '-' for the standard output\n";

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "-h" || name == "--help") {
      std::fputs(kUsage, stdout);
      std::exit(0);
    }
    if (name.rfind("--", 0) != 0) {
      if (!options.vectors.empty()) refuse("more than one vector file given: " + name);
      options.vectors = name;
      continue;
    }
    if (i + 1 >= argc) refuse(name + " needs a value");
    const char* value = argv[++i];
    if (name == "--stall-in") {
      options.stall_in = parse_probability("--stall-in", value);
    } else if (name == "--stall-out") {
      options.stall_out = parse_probability("--stall-out", value);
    } else if (name == "--seed") {
      options.seed = parse_count("--seed", value);
    } else if (name == "--wave") {
      options.wave = value;
    } else if (name == "--wave-frames") {
      options.wave_frames = parse_count("--wave-frames", value);
    } else if (name == "--json") {
      options.json = value;
    } else {
      refuse("unknown option " + name + "\n" + kUsage);
    }
  }
  if (options.vectors.empty()) refuse(std::string("no vector file given\n") + kUsage);
#if !VM_TRACE
  if (!options.wave.empty()) refuse("--wave: this harness was built without waveform; build with TRACE=1");
#endif
  return options;
}

uint64_t little_endian(const uint8_t* bytes, size_t count) {
  uint64_t value = 0;
  for (size_t i = 0; i < count; ++i) value |= uint64_t{bytes[i]} << (8 * i);
  return value;
}

std::vector<uint8_t> read_file(const std::string& path) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) refuse(path + ": " + std::strerror(errno));
  std::vector<uint8_t> bytes;
  uint8_t block[1 << 16];
  size_t count;
  while ((count = std::fread(block, 1, sizeof(block), file.get())) > 0) {
    bytes.insert(bytes.end(), block, block + count);
  }
  if (std::ferror(file.get())) refuse(path + ": " + std::strerror(errno));
  return bytes;
}

Vectors load(const std::string& path) {
  const std::vector<uint8_t> bytes = read_file(path);
  if (bytes.size() < kHeaderBytes || std::memcmp(bytes.data(), kMagic, 8) != 0) {
    refuse(path + ": no vector file (it does not begin with " + kMagic + ")");
  }
  uint32_t header[kHeaderWords];
  for (size_t i = 0; i < kHeaderWords; ++i) {
    header[i] = static_cast<uint32_t>(little_endian(bytes.data() + 8 + 4 * i, 4));
  }
  if (header[0] != kVersion) {
    refuse(path + ": format version " + std::to_string(header[0]) + ", this harness reads version " +
           std::to_string(kVersion));
  }
  const struct {
    const char* name;
    uint32_t built;
    uint32_t found;
  } parameters[] = {
      {"WIDTH", kWidth, header[1]},
      {"WINDOW_HEIGHT", kWindowHeight, header[3]},
      {"WINDOW_WIDTH", kWindowWidth, header[4]},
      {"STRIDE_HEIGHT", kStrideHeight, header[5]},
      {"STRIDE_WIDTH", kStrideWidth, header[6]},
      {"MAP_HEIGHT", kMapHeight, header[7]},
      {"MAP_WIDTH", kMapWidth, header[8]},
      {"CHANNELS", kChannels, header[9]},
  };
  std::string mismatch;
  for (const auto& parameter : parameters) {
    if (parameter.built != parameter.found) {
      mismatch += std::string(" ") + parameter.name + "=" + std::to_string(parameter.found) +
                  " (this harness: " + std::to_string(parameter.built) + ")";
    }
  }
  if (!mismatch.empty()) refuse(path + ": for other parameters, build a harness with" + mismatch);
  if (header[11] != 0 || header[12] != 0 || header[13] != 0) {
    refuse(path + ": the reserved words of the header are not zero");
  }

  Vectors vectors;
  vectors.frac = header[2];
  vectors.frames = header[10];
  const uint64_t beats = vectors.frames * kBeats;
  const uint64_t words = vectors.frames * kWords;
  const uint64_t size = kHeaderBytes + 5 * beats + 3 * words;
  if (bytes.size() != size) {
    refuse(path + ": " + std::to_string(bytes.size()) + " bytes, its header asks for " +
           std::to_string(size));
  }

  const uint8_t* next = bytes.data() + kHeaderBytes;
  const int64_t limit = int64_t{1} << (kWidth - 1);
  vectors.potentials.resize(beats);
  for (uint64_t i = 0; i < beats; ++i, next += 4) {
    const int32_t value = static_cast<int32_t>(static_cast<uint32_t>(little_endian(next, 4)));
    if (value < -limit || value >= limit) {
      refuse(path + ": potential " + std::to_string(value) + " of frame " +
             std::to_string(i / kBeats) + " does not fit " + std::to_string(kWidth) + " bits");
    }
    vectors.potentials[i] = value;
  }
  vectors.spikes.assign(next, next + beats);
  next += beats;
  vectors.expected_spikes.assign(next, next + words);
  next += words;
  for (const auto* spikes : {&vectors.spikes, &vectors.expected_spikes}) {
    for (const uint8_t spike : *spikes) {
      if (spike > 1) refuse(path + ": a spike of value " + std::to_string(spike) + ", not 0 or 1");
    }
  }
  vectors.expected_winners.resize(words);
  for (uint64_t i = 0; i < words; ++i, next += 2) {
    vectors.expected_winners[i] = static_cast<uint16_t>(little_endian(next, 2));
  }
  return vectors;
}

class Simulation {
 public:
  Simulation(const Options& options, const Vectors& vectors)
      : options_(options), vectors_(vectors), random_(options.seed) {
    const std::string cell = "pool";
    model_ = std::make_unique<Vpool>(&context_, cell.c_str());
#if VM_TRACE
    if (!options.wave.empty()) {
      context_.traceEverOn(true);
      wave_ = std::make_unique<VerilatedVcdC>();
      model_->trace(wave_.get(), 99);
      wave_->open(options.wave.c_str());
      if (!wave_->isOpen()) refuse(options.wave + ": cannot be written");
    }
#endif
  }

  ~Simulation() {
    model_->final();
#if VM_TRACE
    if (wave_) wave_->close();
#endif
  }

  Result run() {
    reset();
    const auto begin = std::chrono::steady_clock::now();
    stream();
    result_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return result_;
  }

 private:
  void reset() {
    model_->rst_ni = 0;
    model_->s_axis_tvalid = 0;
    model_->m_axis_tready = 0;
    for (int i = 0; i < 4; ++i) clock();
    model_->rst_ni = 1;
    clock();
  }

  // Low half of the cycle with new inputs, then the rising edge.
  void clock() {
    model_->clk_i = 0;
    model_->eval();
    dump();
    model_->clk_i = 1;
    model_->eval();
    dump();
  }

  void dump() {
#if VM_TRACE
    if (wave_ && result_.beats <= options_.wave_frames * kBeats) wave_->dump(time_);
#endif
    ++time_;
  }

  void offer(uint64_t beat) {
    const uint64_t position = beat % kBeats;
    const uint64_t mask = (uint64_t{1} << kWidth) - 1;
    const uint64_t potential = static_cast<uint64_t>(int64_t{vectors_.potentials[beat]}) & mask;
    model_->s_axis_tdata = potential | uint64_t{vectors_.spikes[beat]} << kWidth;
    model_->s_axis_tuser = position == 0;
    model_->s_axis_tlast = position == kBeats - 1;
    model_->s_axis_tvalid = 1;
  }

  void stream() {
    const uint64_t beats = vectors_.potentials.size();
    const uint64_t words = vectors_.expected_spikes.size();
    const uint64_t pause_in = Random::threshold(options_.stall_in);
    const uint64_t pause_out = Random::threshold(options_.stall_out);
    uint64_t idle = 0;
    uint64_t drain = 0;
    bool offered = false;
    bool held = false;
    uint64_t held_word = 0;

    while (drain < kDrainCycles && idle < kIdleLimit) {
      // a beat that was offered stays until it is taken
      if (!offered) {
        offered = result_.beats < beats && !random_.below(pause_in);
        if (offered) {
          offer(result_.beats);
        } else {
          model_->s_axis_tvalid = 0;
        }
      }
      model_->m_axis_tready = !random_.below(pause_out);
      model_->clk_i = 0;
      model_->eval();
      dump();

      const bool taken = model_->s_axis_tvalid && model_->s_axis_tready;
      const bool given = model_->m_axis_tvalid && model_->m_axis_tready;
      const uint64_t word = uint64_t{model_->m_axis_tdata} << 2 |
                            uint64_t{model_->m_axis_tlast} << 1 | uint64_t{model_->m_axis_tuser};
      if (held && (!model_->m_axis_tvalid || word != held_word)) ++result_.words_unstable;
      held = model_->m_axis_tvalid && !model_->m_axis_tready;
      held_word = word;
      if (given) compare(words);
      if (taken) {
        ++result_.beats;
        offered = false;
      }
      result_.error_raised |= model_->error_o != 0;
      idle = (taken || given) ? 0 : idle + 1;
      if (result_.beats == beats && result_.words_compared == words) ++drain;

      model_->clk_i = 1;
      model_->eval();
      dump();
      ++result_.cycles;
    }
  }

  void compare(uint64_t words) {
    const uint64_t number = result_.words_compared;
    if (number >= words) {
      ++result_.words_extra;
      return;
    }
    ++result_.words_compared;
    const uint64_t position = number % kWords;
    const unsigned data = model_->m_axis_tdata;
    const unsigned want =
        vectors_.expected_spikes[number] |
        (kWinnerIndex ? unsigned{vectors_.expected_winners[number]} << 1 : 0u);
    const bool first = position == 0;
    const bool last = position == kWords - 1;
    if (data == want && model_->m_axis_tuser == first && model_->m_axis_tlast == last) return;

    if (result_.words_different++ < kReportLimit) {
      std::fprintf(stderr,
                   "frame %" PRIu64 " row %" PRIu64 " column %" PRIu64 " channel %" PRIu64
                   ": got spike %u index %u tuser %d tlast %d,"
                   " expected spike %u index %u tuser %d tlast %d\n",
                   number / kWords, position / (kOutWidth * kChannels),
                   position / kChannels % kOutWidth, position % kChannels, data & 1, data >> 1,
                   model_->m_axis_tuser, model_->m_axis_tlast, want & 1, want >> 1, first, last);
    }
  }

  const Options& options_;
  const Vectors& vectors_;
  Random random_;
  VerilatedContext context_;
  std::unique_ptr<Vpool> model_;
#if VM_TRACE
  std::unique_ptr<VerilatedVcdC> wave_;
#endif
  uint64_t time_ = 0;
  Result result_;
};

void write_json(std::FILE* file, const Options& options, const Vectors& vectors,
                const Result& result, bool passed) {
  std::fprintf(file,
               "{\"passed\": %s, \"words_compared\": %" PRIu64 ", \"words_different\": %" PRIu64
               ", \"words_expected\": %zu, \"words_extra\": %" PRIu64
               ", \"words_unstable\": %" PRIu64 ", \"error_raised\": %s,\n",
               passed ? "true" : "false", result.words_compared, result.words_different,
               vectors.expected_spikes.size(), result.words_extra, result.words_unstable,
               result.error_raised ? "true" : "false");
  std::fprintf(file,
               " \"frames\": %" PRIu64 ", \"beats\": %" PRIu64 ", \"cycles\": %" PRIu64
               ", \"cycles_per_second\": %.0f, \"stall_in\": %g, \"stall_out\": %g, \"seed\": %" PRIu64
               ",\n",
               vectors.frames, result.beats, result.cycles,
               static_cast<double>(result.cycles) / std::max(result.seconds, 1e-9),
               options.stall_in, options.stall_out, options.seed);
  std::fprintf(file,
               " \"build\": {\"width\": %u, \"window_height\": %u, \"window_width\": %u,"
               " \"stride_height\": %u, \"stride_width\": %u, \"map_height\": %u,"
               " \"map_width\": %u, \"channels\": %u, \"pipeline\": %u, \"winner_index\": %u,"
               " \"trace\": %d, \"verilator\": \"%s\"}}\n",
               kWidth, kWindowHeight, kWindowWidth, kStrideHeight, kStrideWidth, kMapHeight,
               kMapWidth, kChannels, kPipeline, kWinnerIndex, VM_TRACE,
               Verilated::productVersion());
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const Vectors vectors = load(options.vectors);
  const Result result = Simulation(options, vectors).run();

  const uint64_t words = vectors.expected_spikes.size();
  const bool complete = result.words_compared == words && result.beats == vectors.potentials.size();
  const bool passed = complete && words > 0 && result.words_different == 0 &&
                      result.words_extra == 0 && result.words_unstable == 0 &&
                      !result.error_raised;

  std::printf("%s: %" PRIu64 " of %" PRIu64 " words compared, %" PRIu64 " different, %" PRIu64
              " frames, %" PRIu64 " cycles, %.2f Mcycle/s\n",
              passed ? "pass" : "FAIL", result.words_compared, words, result.words_different,
              vectors.frames, result.cycles,
              static_cast<double>(result.cycles) / std::max(result.seconds, 1e-9) / 1e6);
  if (words == 0) std::fprintf(stderr, "nothing was compared: the file holds no frame\n");
  if (!complete) {
    std::fprintf(stderr,
                 "stopped after %" PRIu64 " cycles without a transfer: %" PRIu64
                 " of %zu beats taken, %" PRIu64 " words missing\n",
                 kIdleLimit, result.beats, vectors.potentials.size(),
                 words - result.words_compared);
  }
  if (result.words_extra > 0) {
    std::fprintf(stderr, "%" PRIu64 " words after the last one\n", result.words_extra);
  }
  if (result.words_unstable > 0) {
    std::fprintf(stderr, "%" PRIu64 " times a word changed or vanished before it was taken\n",
                 result.words_unstable);
  }
  if (result.error_raised) std::fprintf(stderr, "error_o was raised by well-formed frames\n");

  if (options.json == "-") {
    write_json(stdout, options, vectors, result, passed);
  } else if (!options.json.empty()) {
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(options.json.c_str(), "w"),
                                                         std::fclose);
    if (!file) refuse(options.json + ": " + std::strerror(errno));
    write_json(file.get(), options, vectors, result, passed);
  }
  return passed ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pool_harness: %s\n", error.what());
    return 2;
  }
}
