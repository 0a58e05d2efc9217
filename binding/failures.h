// What went wrong in native code, as JavaScript's errors, each with a code. lib/ makes its own classes of them.
// Reader: someone who follows an error from a backend to a caller.
#pragma once

#include <napi.h>

#include <exception>
#include <new>
#include <string>

#include "../core/op/backend.h"

namespace tilewise {

// An error made by `create`, napi_create_error or one of its kin. Null when an environment that is being terminated
// makes none: node-addon-api's classes would end the process there.
inline napi_value makeError(napi_env env, const char* code, const std::string& message,
                            decltype(napi_create_error)* create = napi_create_error) {
  napi_value name = nullptr, text = nullptr, error = nullptr;
  napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &name);
  napi_create_string_utf8(env, message.data(), message.size(), &text);
  create(env, name, text, &error);
  return error;
}

inline napi_value errorOf(napi_env env, const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const BackendError& error) {
    return makeError(env, error.code, error.what());
  } catch (const std::bad_alloc&) {
    return makeError(env, "ERR_TILEWISE_OUT_OF_MEMORY", "The process has no memory left for this call");
  } catch (const std::exception& error) {
    return makeError(env, "ERR_TILEWISE_FAILED", std::string("The backend failed: ") + error.what());
  }
}

// Calls native code on the JavaScript thread.
template <class F>
auto guarded(Napi::Env env, F&& f) {
  try {
    return f();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw Napi::Error(env, errorOf(env, std::current_exception()));
  }
}

}  // namespace tilewise
