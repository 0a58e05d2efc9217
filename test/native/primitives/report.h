// How tests make themselves known, and say how it went. Plain C++, so that main needs no CUDA compiler.
// Reader: whoever adds a test.
#pragma once

#include <string>

namespace tilewise::cuda::conformance {

void report(const std::string& name, bool isOk);

// A variable of this type runs before main, and makes the program run `cases`.
struct Registration {
  explicit Registration(void (*cases)());
};
#define CONFORMANCE(name)                                                            \
  static void name();                                                                \
  static const ::tilewise::cuda::conformance::Registration name##Registration(name); \
  static void name()

}  // namespace tilewise::cuda::conformance
