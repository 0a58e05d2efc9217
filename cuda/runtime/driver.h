// The process's CUDA driver, found when it is first asked for, and what its errors mean to a user.
// Reader: someone who asks why there is no GPU, or what a code means.
#pragma once

#include <string>

#include "abi.h"

namespace tilewise::cuda {

struct Driver {
  Api api;
  int devices = 0;
  // Why it cannot be used: a stable code and a sentence. Null and empty when it can.
  const char* code = nullptr;
  std::string reason;
};

// Loads the library with the first call, never unloads it, and is never destroyed: threads may outlive main().
const Driver& driver();

// The stable code of a failed call.
const char* codeOf(Result result);
// After these the context is gone, and with it everything on the device.
bool isSticky(Result result);
// "cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY (2), out of memory. <what to do>"
std::string describe(const Api& api, Result result, const char* call, const std::string& detail = {});
// Throws BackendError unless the result is success.
void check(const Api& api, Result result, const char* call, const std::string& detail = {});

}  // namespace tilewise::cuda
