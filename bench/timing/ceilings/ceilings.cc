// What this machine can do at most: float32 FMA rate per instruction set and read bandwidth, for a number of threads.
// Reader: someone who doubts a "% of peak". Assumes GCC or clang (vector extensions); called many times per run, so
// that every benchmark sample can be set against a ceiling measured right beside it.
#include <node_api.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using Seconds = double;
Seconds now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

typedef float Vec4 __attribute__((vector_size(16)));
typedef float Vec8 __attribute__((vector_size(32)));
typedef float Vec16 __attribute__((vector_size(64)));

// Independent accumulators hide the FMA latency (4 cycles x 2 units on today's x86 cores: 8 are needed). They must stay
// in registers: 12 fit the 16 of SSE and AVX2.
constexpr int kAccumulators = 12;
constexpr int64_t kFmaRound = 50000;

// A macro and not a template: a function template does not take a target attribute from its arguments.
#define DEFINE_FMA_LOOP(NAME, VEC, TARGET)                                                  \
  TARGET __attribute__((noinline)) float NAME() {                                           \
    VEC a[kAccumulators], m = VEC{} + 0.999999f, b = VEC{} + 1e-7f;                         \
    for (int i = 0; i < kAccumulators; ++i) a[i] = VEC{} + float(i);                        \
    for (int64_t round = 0; round < kFmaRound; ++round) {                                   \
      _Pragma("GCC unroll 12") for (int i = 0; i < kAccumulators; ++i) a[i] = a[i] * m + b; \
    }                                                                                       \
    VEC sum = a[0];                                                                         \
    for (int i = 1; i < kAccumulators; ++i) sum += a[i];                                    \
    return sum[0];                                                                          \
  }

// Reads with independent accumulators; `prefetch` bytes ahead (0: leave it to the hardware).
#define DEFINE_READ_LOOP(NAME, VEC, TARGET)                                                                \
  TARGET __attribute__((noinline)) float NAME(const char* from, const char* to, int64_t prefetch) {        \
    VEC a[4] = {};                                                                                         \
    for (const char* p = from; p < to; p += 4 * sizeof(VEC)) {                                             \
      if (prefetch > 0) {                                                                                  \
        for (size_t line = 0; line < 4 * sizeof(VEC); line += 64) __builtin_prefetch(p + prefetch + line); \
      }                                                                                                    \
      for (int i = 0; i < 4; ++i) a[i] += reinterpret_cast<const VEC*>(p)[i];                              \
    }                                                                                                      \
    const VEC sum = a[0] + a[1] + (a[2] + a[3]);                                                           \
    return sum[0];                                                                                         \
  }

DEFINE_FMA_LOOP(fmaPortable, Vec4, )
DEFINE_READ_LOOP(readPortable, Vec4, )
#if defined(__x86_64__)
DEFINE_FMA_LOOP(fmaAvx2, Vec8, __attribute__((target("avx2,fma"))))
DEFINE_FMA_LOOP(fmaAvx512, Vec16, __attribute__((target("avx512f"))))
DEFINE_READ_LOOP(readAvx2, Vec8, __attribute__((target("avx2"))))
#endif

struct InstructionSet {
  const char* name;
  float (*fma)();
  int lanes;
};

// Best first, the names that the library uses.
std::vector<InstructionSet> instructionSets() {
  std::vector<InstructionSet> sets;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) sets.push_back({"avx512", fmaAvx512, 16});
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back({"avx2", fmaAvx2, 8});
#elif defined(__aarch64__)
  sets.push_back({"neon", fmaPortable, 4});
#endif
  sets.push_back({"portable", fmaPortable, 4});
  return sets;
}

// Runs work(thread) on `threads` threads that start together.
template <class Work>
void together(int threads, Work&& work) {
  std::atomic<int> waiting{threads};
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t) {
    pool.emplace_back([&, t] {
      waiting.fetch_sub(1);
      while (waiting.load() > 0) {
      }
      work(t);
    });
  }
  for (auto& thread : pool) thread.join();
}

std::atomic<float> sink;  // results go here, so that no loop is dead

double fmaGflops(const InstructionSet& set, int threads, Seconds duration) {
  std::vector<double> rate(threads);
  together(threads, [&](int t) {
    const Seconds begin = now();
    Seconds end = begin;
    double flops = 0;
    while (end - begin < duration) {
      sink = set.fma();
      flops += 2.0 * set.lanes * kAccumulators * kFmaRound;
      end = now();
    }
    rate[t] = flops / (end - begin);
  });
  double sum = 0;
  for (double r : rate) sum += r;
  return sum / 1e9;
}

constexpr int64_t kBandwidthAlign = 4096;
struct FreeDeleter {
  void operator()(char* p) const { std::free(p); }
};
std::unique_ptr<char, FreeDeleter> arena;  // stays for the next call; its pages are touched once
int64_t arenaBytes = 0;

bool reserveArena(int64_t bytes) {
  if (bytes == arenaBytes) return true;
  arena.reset(static_cast<char*>(std::aligned_alloc(kBandwidthAlign, bytes)));
  arenaBytes = arena ? bytes : 0;
  if (arena) std::memset(arena.get(), 1, bytes);
  return arena != nullptr;
}

// One pass over the whole arena, split between the threads.
double readGigabytesPerSecond(int threads, int64_t prefetch) {
  auto read = readPortable;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) read = readAvx2;
#endif
  const int64_t share = arenaBytes / threads / kBandwidthAlign * kBandwidthAlign;
  std::vector<Seconds> begin(threads), end(threads);
  together(threads, [&](int t) {
    begin[t] = now();
    sink = read(arena.get() + t * share, arena.get() + (t + 1) * share, prefetch);
    end[t] = now();
  });
  Seconds first = begin[0], last = end[0];
  for (int t = 1; t < threads; ++t) {
    first = begin[t] < first ? begin[t] : first;
    last = end[t] > last ? end[t] : last;
  }
  return double(share) * threads / (last - first) / 1e9;
}

// ---- N-API ----

napi_value fail(napi_env env, const char* message) {
  napi_throw_error(env, nullptr, message);
  return nullptr;
}

bool readArguments(napi_env env, napi_callback_info info, size_t count, napi_value* argv) {
  size_t given = count;
  return napi_get_cb_info(env, info, &given, argv, nullptr, nullptr) == napi_ok && given >= count;
}

// fmaPeak(instructionSet: string, threads: number, seconds: number): GFLOP/s
napi_value fmaPeak(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  char name[32];
  int32_t threads;
  double seconds;
  if (!readArguments(env, info, 3, argv) ||
      napi_get_value_string_utf8(env, argv[0], name, sizeof name, nullptr) != napi_ok ||
      napi_get_value_int32(env, argv[1], &threads) != napi_ok ||
      napi_get_value_double(env, argv[2], &seconds) != napi_ok || threads < 1) {
    return fail(env, "fmaPeak(instructionSet, threads, seconds)");
  }
  for (const auto& set : instructionSets()) {
    if (set.name != std::string(name)) continue;
    napi_value result;
    napi_create_double(env, fmaGflops(set, threads, seconds), &result);
    return result;
  }
  return fail(env, "fmaPeak: this processor does not have that instruction set");
}

// readBandwidth(threads: number, bytes: number, prefetch: number): GB/s, over `bytes` bytes of memory
napi_value readBandwidth(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  int32_t threads;
  int64_t bytes, prefetch;
  if (!readArguments(env, info, 3, argv) || napi_get_value_int32(env, argv[0], &threads) != napi_ok ||
      napi_get_value_int64(env, argv[1], &bytes) != napi_ok ||
      napi_get_value_int64(env, argv[2], &prefetch) != napi_ok || threads < 1 || bytes < threads * kBandwidthAlign ||
      bytes % kBandwidthAlign != 0) {
    return fail(env, "readBandwidth(threads, bytes, prefetch): bytes is a multiple of 4096");
  }
  if (!reserveArena(bytes)) return fail(env, "readBandwidth: not enough memory");
  napi_value result;
  napi_create_double(env, readGigabytesPerSecond(threads, prefetch), &result);
  return result;
}

// instructionSets(): string[], best first
napi_value listInstructionSets(napi_env env, napi_callback_info) {
  napi_value list;
  napi_create_array(env, &list);
  uint32_t i = 0;
  for (const auto& set : instructionSets()) {
    napi_value name;
    napi_create_string_utf8(env, set.name, NAPI_AUTO_LENGTH, &name);
    napi_set_element(env, list, i++, name);
  }
  return list;
}

}  // namespace

NAPI_MODULE_INIT() {
  const struct {
    const char* name;
    napi_callback call;
  } functions[] = {{"fmaPeak", fmaPeak}, {"readBandwidth", readBandwidth}, {"instructionSets", listInstructionSets}};
  for (const auto& f : functions) {
    napi_value value;
    if (napi_create_function(env, f.name, NAPI_AUTO_LENGTH, f.call, nullptr, &value) != napi_ok) return nullptr;
    napi_set_named_property(env, exports, f.name, value);
  }
  return exports;
}
