// See lent_memory.h.
#include "lent_memory.h"

#include "../requests/reading.h"

namespace tilewise {

ResizableTest::ResizableTest(Napi::Env env) {
  const auto member = [](Napi::Object object, const char* name) { return object.Get(name).As<Napi::Object>(); };
  const Napi::Object prototype = member(member(env.Global(), "ArrayBuffer"), "prototype");
  const Napi::Value described = member(member(env.Global(), "Object"), "getOwnPropertyDescriptor")
                                    .As<Napi::Function>()
                                    .Call({prototype, Napi::String::New(env, "resizable")});
  getter_ = Napi::Persistent(described.As<Napi::Object>().Get("get").As<Napi::Function>());
}

bool ResizableTest::operator()(Napi::Env env, napi_value buffer) const {
  bool isPlain = false;
  if (napi_is_arraybuffer(env, buffer, &isPlain) != napi_ok) throw Napi::Error::New(env);
  return isPlain && getter_.Call(buffer, {}).ToBoolean();
}

LentMemory::LentMemory(Napi::Env env, Napi::Array views, std::vector<LentArray> arrays,
                       const ResizableTest& isResizable)
    : views_(Napi::Persistent(Napi::Object(views))), arrays_(std::move(arrays)) {
  for (const LentArray& array : arrays_) {
    if (isResizable(env, array.buffer)) refuseTensor(env, "a view", "lies in a resizable ArrayBuffer");
  }
}

// Raw Node-API: this may run in an environment that is being terminated.
bool LentMemory::isUnchanged(napi_env env) const {
  napi_value views = nullptr, view = nullptr;
  if (napi_get_reference_value(env, views_, &views) != napi_ok || views == nullptr) return false;
  for (const LentArray& array : arrays_) {
    napi_typedarray_type type = kUnknownType;
    size_t length = 0;
    void* data = nullptr;
    if (napi_get_element(env, views, array.slot, &view) != napi_ok ||
        napi_get_typedarray_info(env, view, &type, &length, &data, nullptr, nullptr) != napi_ok) {
      return false;
    }
    if (data != array.data || int64_t(length) * elementBytes(type) != array.bytes) return false;
  }
  return true;
}

}  // namespace tilewise
