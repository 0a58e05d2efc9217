// The whole test framework of the native checks: a count, a message, an exit code.
#pragma once

#include <atomic>
#include <cstdio>
#include <cstdlib>

inline std::atomic<int> failures{0};
inline std::atomic<int> checks{0};

// Counts a check; prints what failed with printf arguments.
#define CHECK(condition, ...)                                     \
  do {                                                            \
    ++checks;                                                     \
    if (!(condition)) {                                           \
      ++failures;                                                 \
      std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition); \
      std::printf(__VA_ARGS__);                                   \
      std::printf("\n");                                          \
    }                                                             \
  } while (0)

inline int finish(const char* name) {
  std::printf("%s: %d passed, %d failed\n", name, checks.load() - failures.load(), failures.load());
  return failures == 0 ? 0 : 1;
}
