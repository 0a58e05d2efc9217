// The memory that a call in flight has from JavaScript: typed arrays, and where theirs was when the call began.
// Reader: someone who asks what happens when a buffer is transferred under a call. Node-API can hold an array, and not
// its memory: a transfer takes that away, and the collector may free it.
#pragma once

#include <napi.h>

#include <cstdint>
#include <vector>

#include "../requests/request.h"

namespace tilewise {

// Whether a buffer can lose memory at any time. Asks the getter of ArrayBuffer.prototype, which a property of the
// buffer's own cannot hide. A growable SharedArrayBuffer never loses any.
class ResizableTest {
 public:
  explicit ResizableTest(Napi::Env env);
  bool operator()(Napi::Env env, napi_value buffer) const;

 private:
  Napi::FunctionReference getter_;
};

class LentMemory {
 public:
  // `arrays`: typed arrays among `views`, an array. Throws ERR_TILEWISE_INVALID_TENSOR for those on resizable buffers.
  LentMemory(Napi::Env env, Napi::Array views, std::vector<LentArray> arrays, const ResizableTest& isResizable);

  // Whether every typed array still has the memory that it had.
  bool isUnchanged(napi_env env) const;

 private:
  Napi::ObjectReference views_;  // keeps the arrays
  std::vector<LentArray> arrays_;
};

}  // namespace tilewise
