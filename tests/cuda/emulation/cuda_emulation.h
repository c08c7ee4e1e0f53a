// As much of CUDA as a project of Brian2CUDA needs without heterogeneous delays, on a CPU: a launch is a
// loop over the threads of all blocks, one after the other, in one of several orders. It shows whether
// kernels compute the right thing, not whether their threads synchronise. The threads of a block wait for
// each other where a kernel has __syncthreads() in its own code; in what it calls, that ends the program.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <ucontext.h>

#define __global__
#define __device__
#define __host__
#define __shared__
#define __launch_bounds__(...)
#define __CUDA_ARCH__ 900

using std::max;
using std::min;

struct dim3
{
    unsigned int x, y, z;
    dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
};
static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulated
{
// The call of a kernel. std::function would take as long to compile as all the rest of a project.
struct Kernel
{
    const void* body;
    void (*call)(const void*);
    template <typename Body>
    Kernel(const Body& body)
        : body(&body), call([](const void* body) { (*static_cast<const Body*>(body))(); }) {}
    void operator()() const { call(body); }
};

// forwards, backwards, or in steps of a number that is prime to the number of threads
inline size_t place(size_t number, size_t count)
{
    static const char* const order = getenv("EMULATED_ORDER");
    if (order == NULL || strcmp(order, "forwards") == 0) return number;
    if (strcmp(order, "backwards") == 0) return count - 1 - number;
    return number * 1000003 % count;
}

inline void launch(Kernel kernel, dim3 blocks, dim3 threads, size_t shared_memory = 0)
{
    gridDim = blocks;
    blockDim = threads;
    const size_t count = (size_t)blocks.x * blocks.y * threads.x;
    for (size_t number = 0; number < count; number++)
    {
        const size_t thread = place(number, count);
        blockIdx.x = thread / threads.x % blocks.x;
        blockIdx.y = thread / threads.x / blocks.x;
        threadIdx.x = thread % threads.x;
        kernel();
    }
}

// The threads of a block take turns at each __syncthreads(), on stacks of their own.
const size_t stack_size = 1 << 16;
static ucontext_t scheduler;
static std::vector<ucontext_t> contexts;
static std::vector<std::vector<char>> stacks;
static std::vector<bool> ended;
static const Kernel* running = NULL;
static size_t current;

inline void run_thread()
{
    (*running)();
    ended[current] = true;
}

inline void launch_together(Kernel kernel, dim3 blocks, dim3 threads, size_t shared_memory = 0)
{
    gridDim = blocks;
    blockDim = threads;
    running = &kernel;
    contexts.resize(threads.x);
    stacks.resize(std::max<size_t>(stacks.size(), threads.x), std::vector<char>(stack_size));
    const size_t count = (size_t)blocks.x * blocks.y;
    for (size_t number = 0; number < count; number++)
    {
        const size_t block = place(number, count);
        blockIdx.x = block % blocks.x;
        blockIdx.y = block / blocks.x;
        ended.assign(threads.x, false);
        for (size_t thread = 0; thread < threads.x; thread++)
        {
            getcontext(&contexts[thread]);
            contexts[thread].uc_stack.ss_sp = stacks[thread].data();
            contexts[thread].uc_stack.ss_size = stack_size;
            contexts[thread].uc_link = &scheduler;
            makecontext(&contexts[thread], run_thread, 0);
        }
        for (size_t left = threads.x; left > 0;)
            for (size_t number = 0; number < threads.x; number++)
            {
                current = place(number, threads.x);
                if (ended[current]) continue;
                threadIdx.x = current;
                swapcontext(&scheduler, &contexts[current]);
                if (ended[current]) left--;
            }
    }
    running = NULL;
}
}

inline void __syncthreads()
{
    if (emulated::running == NULL) abort();
    swapcontext(&emulated::contexts[emulated::current], &emulated::scheduler);
}
inline void __threadfence() { abort(); }

template <typename T> T atomicAdd(T* address, T value)
{
    const T old = *address;
    *address += value;
    return old;
}
template <typename T> T atomicSub(T* address, T value) { return atomicAdd(address, (T)-value); }
template <typename T> T atomicExch(T* address, T value)
{
    const T old = *address;
    *address = value;
    return old;
}
template <typename T, typename U> T atomicCAS(T* address, T expected, U value)
{
    const T old = *address;
    if (old == expected) *address = value;
    return old;
}
template <typename To, typename From> To same_bits(From value)
{
    To bits;
    static_assert(sizeof(bits) == sizeof(value), "");
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}
inline int __int_as_int(int value) { return value; }
inline int __float_as_int(float value) { return same_bits<int>(value); }
inline float __int_as_float(int value) { return same_bits<float>(value); }
inline long long __double_as_longlong(double value) { return same_bits<long long>(value); }
inline double __longlong_as_double(long long value) { return same_bits<double>(value); }

// ------------------------------------------------------------------ the runtime

enum cudaError { cudaSuccess };
typedef cudaError cudaError_t;
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaLimit { cudaLimitMallocHeapSize };
struct cudaDeviceProp
{
    int maxThreadsPerBlock = 64, maxThreadsPerMultiProcessor = 128, warpSize = 32, major = 9, minor = 0;
    int multiProcessorCount = 3;
    size_t sharedMemPerBlock = 1 << 15;
};
struct cudaFuncAttributes
{
    int maxThreadsPerBlock = 1024, numRegs = 0;
    int sharedSizeBytes = 0, localSizeBytes = 0, constSizeBytes = 0;
};
inline const char* cudaGetErrorString(cudaError) { return ""; }
inline cudaError cudaGetLastError() { return cudaSuccess; }
inline cudaError cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError cudaProfilerStop() { return cudaSuccess; }
inline cudaError cudaSetDevice(int) { return cudaSuccess; }
inline cudaError cudaDeviceSetLimit(cudaLimit, size_t) { return cudaSuccess; }
inline cudaError cudaGetDeviceProperties(cudaDeviceProp* props, int)
{
    *props = cudaDeviceProp();
    return cudaSuccess;
}
inline cudaError cudaMemGetInfo(size_t* free, size_t* total)
{
    *free = *total = (size_t)1 << 30;
    return cudaSuccess;
}
inline cudaError cudaMalloc(void** address, size_t size)
{
    // not zeros: what is used before it is set shall show
    *address = memset(malloc(size + 1), 0x5A, size + 1);
    return cudaSuccess;
}
inline cudaError cudaFree(void* address)
{
    free(address);
    return cudaSuccess;
}
inline cudaError cudaMemcpy(void* to, const void* from, size_t size, cudaMemcpyKind)
{
    memmove(to, from, size);
    return cudaSuccess;
}
inline cudaError cudaMemset(void* to, int value, size_t size)
{
    memset(to, value, size);
    return cudaSuccess;
}
inline cudaError cudaMemsetAsync(void* to, int value, size_t size) { return cudaMemset(to, value, size); }
template <typename T> cudaError cudaMemcpyToSymbol(T& symbol, const void* from, size_t size)
{
    memcpy(&symbol, from, size);
    return cudaSuccess;
}
template <typename K> cudaError cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, K, int, size_t)
{
    *blocks = 1;
    return cudaSuccess;
}
template <typename K> cudaError cudaOccupancyMaxPotentialBlockSize(int* blocks, int* threads, K, size_t, int)
{
    *blocks = 1;
    *threads = 64;
    return cudaSuccess;
}
template <typename K> cudaError cudaFuncGetAttributes(cudaFuncAttributes* attributes, K)
{
    *attributes = cudaFuncAttributes();
    return cudaSuccess;
}

// ------------------------------------------------------------------ Thrust

namespace thrust
{
template <typename T> using host_vector = std::vector<T>;
template <typename T> using device_vector = std::vector<T>;
template <typename T> T* raw_pointer_cast(T* address) { return address; }
struct system_error : std::exception {};
}

// ------------------------------------------------------------------ cuRAND: uniform numbers only

enum curandStatus_t { CURAND_STATUS_SUCCESS };
enum curandRngType_t { CURAND_RNG_PSEUDO_DEFAULT };
struct curandState {};
typedef void* curandGenerator_t;
inline const char* _curandGetErrorEnum(curandStatus_t) { return ""; }
inline curandStatus_t curandCreateGenerator(curandGenerator_t*, curandRngType_t) { return CURAND_STATUS_SUCCESS; }
inline curandStatus_t curandDestroyGenerator(curandGenerator_t) { return CURAND_STATUS_SUCCESS; }
inline curandStatus_t curandSetPseudoRandomGeneratorSeed(curandGenerator_t, unsigned long long) { return CURAND_STATUS_SUCCESS; }
inline curandStatus_t curandSetGeneratorOffset(curandGenerator_t, unsigned long long) { return CURAND_STATUS_SUCCESS; }
template <typename T> curandStatus_t _uniform(T* to, size_t size)
{
    static uint64_t state = 88172645463325252ULL;
    for (size_t i = 0; i < size; i++)
    {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        to[i] = (T)((state >> 40) + 1) / (1 << 24);
    }
    return CURAND_STATUS_SUCCESS;
}
template <typename T> curandStatus_t _halves(T* to, size_t size)
{
    for (size_t i = 0; i < size; i++) to[i] = 0.5;
    return CURAND_STATUS_SUCCESS;
}
inline curandStatus_t curandGenerateUniform(curandGenerator_t, float* to, size_t size) { return _uniform(to, size); }
inline curandStatus_t curandGenerateUniformDouble(curandGenerator_t, double* to, size_t size) { return _uniform(to, size); }
inline curandStatus_t curandGenerateNormal(curandGenerator_t, float* to, size_t size, float, float) { return _halves(to, size); }
inline curandStatus_t curandGenerateNormalDouble(curandGenerator_t, double* to, size_t size, double, double) { return _halves(to, size); }
inline curandStatus_t curandGeneratePoisson(curandGenerator_t, unsigned int*, size_t, double) { return CURAND_STATUS_SUCCESS; }
inline void curand_init(unsigned long long, unsigned long long, unsigned long long, curandState*) {}
inline unsigned int curand_poisson(curandState*, double) { return 0; }
