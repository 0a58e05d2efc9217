// What a backend threw, as JavaScript's errors: with the code of a BackendError. lib/ makes its own class of them.
// Reader: someone who follows an error from a backend to a caller.
#pragma once

#include <napi.h>

#include <exception>
#include <new>
#include <string>

#include "../../core/op/backend.h"

namespace tilewise {

inline Napi::Error errorOf(Napi::Env env, const std::exception_ptr& thrown) {
  const auto make = [&](const char* code, const std::string& message) {
    Napi::Error error = Napi::Error::New(env, message);
    error.Value().Set("code", code);
    return error;
  };
  try {
    std::rethrow_exception(thrown);
  } catch (const Napi::Error& error) {
    return error;
  } catch (const BackendError& error) {
    return make(error.code, error.what());
  } catch (const std::bad_alloc&) {
    return make("ERR_TILEWISE_OUT_OF_MEMORY", "The process has no memory left for this call");
  } catch (const std::exception& error) {
    return make("ERR_TILEWISE_FAILED", std::string("The backend failed: ") + error.what());
  }
}

// Calls a backend on the JavaScript thread.
template <class F>
auto guarded(Napi::Env env, F&& f) {
  try {
    return f();
  } catch (...) {
    throw errorOf(env, std::current_exception());
  }
}

}  // namespace tilewise
