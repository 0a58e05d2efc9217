// Reading what crossed from lib/ with checks: numbers by field, typed arrays and device buffers by slot, operands
// inside their memory. Device memory is addressed here and never read. Reader: someone who adds a request. Typed arrays
// are read through raw Node-API: node-addon-api's classes do not take views on a SharedArrayBuffer.
#pragma once

#include <napi.h>

#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../failures.h"
#include "request.h"

namespace tilewise {

constexpr double kMaxExact = 9007199254740991.0;  // 2^53 - 1

[[noreturn]] inline void refuse(Napi::Env env, const std::string& message) {
  throw Napi::Error(env, makeError(env, "ERR_TILEWISE_OUT_OF_BOUNDS", message, napi_create_range_error));
}
[[noreturn]] inline void refuseTensor(Napi::Env env, const std::string& name, const char* problem) {
  throw Napi::Error(env, makeError(env, "ERR_TILEWISE_INVALID_TENSOR", name + " " + problem, napi_create_type_error));
}

[[noreturn]] inline void refuseGone(Napi::Env env, const char* name) {
  refuseTensor(env, name, "has no memory: its buffer was transferred");
}

// The memory of a typed array or of a device buffer. What it holds is for lib/ to say; how much of it there is, is not.
struct View {
  bool isPresent = false;
  char* data = nullptr;
  int64_t bytes = 0;
  Held held;  // null: the process's own memory
  napi_value buffer = nullptr;  // of a typed array: its ArrayBuffer or SharedArrayBuffer
  bool isDetached = false;

  bool isOnDevice() const { return held != nullptr; }
};

// Node 22 has a Float16Array behind a flag that its Node-API does not know: it leaves the type as it was.
constexpr napi_typedarray_type kUnknownType = static_cast<napi_typedarray_type>(-1);

inline int64_t elementBytes(napi_typedarray_type type) {
  switch (type) {
    case napi_int8_array:
    case napi_uint8_array:
    case napi_uint8_clamped_array: return 1;
    case napi_int32_array:
    case napi_uint32_array:
    case napi_float32_array: return 4;
    case napi_float64_array:
    case napi_bigint64_array:
    case napi_biguint64_array: return 8;
    default: return 2;  // 16-bit integers, Float16Array by whatever name
  }
}

inline View readView(Napi::Env env, napi_value value) {
  napi_valuetype type;
  if (napi_typeof(env, value, &type) != napi_ok) throw Napi::Error::New(env);
  if (type == napi_undefined) return {};
  napi_typedarray_type elements = kUnknownType;
  size_t length = 0;
  void* data = nullptr;
  napi_value buffer = nullptr;
  bool isDetached = false;
  if (napi_get_typedarray_info(env, value, &elements, &length, &data, &buffer, nullptr) != napi_ok) {
    if (!isHandle(env, value)) {
      throw Napi::TypeError::New(env, "a view must be a typed array, a device buffer or undefined");
    }
    Held held = heldBy(env, value);
    return {true, held->data(), held->bytes(), held};
  }
  napi_is_detached_arraybuffer(env, buffer, &isDetached);  // false for a SharedArrayBuffer
  const int64_t bytes = static_cast<int64_t>(length) * elementBytes(elements);
  return {true, static_cast<char*>(data), bytes, nullptr, buffer, isDetached};
}

// The numbers of a request, by field; every one is checked when it is read.
class Numbers {
 public:
  Numbers(Napi::Env env, const Napi::Value& value, size_t least) : env_(env) {
    size_t length = 0;
    void* data = nullptr;
    napi_typedarray_type type{};
    const bool isView = napi_get_typedarray_info(env_, value, &type, &length, &data, nullptr, nullptr) == napi_ok;
    if (!isView || type != napi_float64_array || length < least) refuse(env_, "the request lacks fields");
    values_ = static_cast<double*>(data);
    size_ = length;
  }

  Napi::Env env() const { return env_; }
  size_t size() const { return size_; }

  double at(size_t i) const { return values_[i]; }

  int64_t whole(size_t i, const char* name, double least, double most) const {
    const double value = values_[i];
    if (!(value >= least && value <= most) || value != std::floor(value)) {
      refuse(env_, std::string(name) + " must be a whole number from " + std::to_string(int64_t(least)) + " to " +
                       std::to_string(int64_t(most)));
    }
    return static_cast<int64_t>(value);
  }
  int64_t stride(size_t i) const { return whole(i, "a stride", -kMaxExact, kMaxExact); }
  int32_t count(size_t i, const char* name, int32_t least = 0) const {
    return static_cast<int32_t>(whole(i, name, least, kMaxTokens));
  }
  DType type(size_t i) const { return static_cast<DType>(whole(i, "a type", 0, int32_t(DType::bfloat16))); }

 private:
  Napi::Env env_;
  const double* values_ = nullptr;  // the array's own memory: no JavaScript runs while a request is read
  size_t size_ = 0;
};

struct Axis {
  int64_t size;
  int64_t stride;
};

// The element at `offset`, after proving that every element the axes reach is inside the view; null when they reach
// none.
template <size_t N>
Placed<void> locate(Napi::Env env, const char* name, const View& view, int64_t offset, const Axis (&axes)[N],
                    int64_t elementSize) {
  int64_t first = offset, last = offset;
  for (const Axis& axis : axes) {
    if (axis.size == 0) return {};
    if (axis.size == 1) continue;
    const int64_t steps = axis.size - 1;
    // No view is that long; past this the products and sums below cannot overflow.
    const int64_t limit = static_cast<int64_t>(kMaxExact) / steps;
    if (axis.stride > limit || axis.stride < -limit) refuse(env, std::string(name) + " reaches outside its data");
    (axis.stride < 0 ? first : last) += steps * axis.stride;
  }
  if (view.isDetached) refuseGone(env, name);
  const int64_t length = view.bytes / elementSize;
  if (first < 0 || last >= length) {
    refuse(env, std::string(name) + " reaches elements " + std::to_string(first) + " to " + std::to_string(last) +
                    " of data that has " + std::to_string(length));
  }
  if (reinterpret_cast<uintptr_t>(view.data) % elementSize != 0) refuse(env, std::string(name) + " is not aligned");
  return {view.data + offset * elementSize, view.isOnDevice()};
}

// The five fields of an operand from `base` on: offset, then strides by batch, token, head, dim.
inline Operand readOperand(const Numbers& numbers, const char* name, size_t base, const View& view, int64_t batch,
                           int64_t tokens, int64_t heads, int64_t dim, DType type) {
  const int64_t offset = numbers.whole(base, "an offset", 0, kMaxExact);
  Operand operand;
  operand.batch = numbers.stride(base + 1);
  operand.token = numbers.stride(base + 2);
  operand.head = numbers.stride(base + 3);
  operand.dim = numbers.stride(base + 4);
  const Axis axes[] = {{batch, operand.batch}, {tokens, operand.token}, {heads, operand.head}, {dim, operand.dim}};
  operand.data = locate(numbers.env(), name, view, offset, axes, sizeOf(type));
  operand.isOnDevice = view.isOnDevice();
  return operand;
}

// The four fields of an lse from `base` on: offset, then strides by batch, head, token; into a problem or a part.
template <class P>
void readLse(const Numbers& numbers, size_t base, const View& view, int64_t batch, int64_t heads, int64_t tokens,
             P& into) {
  const int64_t offset = numbers.whole(base, "an offset", 0, kMaxExact);
  into.lseBatch = numbers.stride(base + 1);
  into.lseHead = numbers.stride(base + 2);
  into.lseToken = numbers.stride(base + 3);
  const Axis axes[] = {{batch, into.lseBatch}, {heads, into.lseHead}, {tokens, into.lseToken}};
  using Element = std::remove_pointer_t<decltype(into.lse.data)>;
  into.lse = locate(numbers.env(), "lse", view, offset, axes, sizeof(float)).template as<Element>();
}

// The two fields of sink logits from `base` on: offset, then the stride by head.
template <class P>
void readSinks(const Numbers& numbers, size_t base, const View& view, int64_t heads, P& into) {
  if (!view.isPresent) return;
  const int64_t offset = numbers.whole(base, "an offset", 0, kMaxExact);
  into.sinksHead = numbers.stride(base + 1);
  const Axis axes[] = {{heads, into.sinksHead}};
  into.sinks = locate(numbers.env(), "sinks", view, offset, axes, sizeof(float)).template as<const float>();
}

inline std::vector<int32_t> copyOf(Napi::Env env, const View& view) {
  if (view.isDetached) refuseGone(env, "a list");
  if (view.isOnDevice()) refuse(env, "lengths and lists that are copied must lie in the process's memory");
  std::vector<int32_t> copy(view.bytes / sizeof(int32_t));
  if (!copy.empty()) std::memcpy(copy.data(), view.data, copy.size() * sizeof(int32_t));
  return copy;
}

// The views of a request, by slot; behind the last one all are absent. The request holds those on a device, which must
// be its own, once they are read.
class Views {
 public:
  Views(Napi::Env env, const Napi::Value& value, Request& request)
      : env_(env), array_(value.As<Napi::Array>()), request_(request) {
    if (!value.IsArray()) refuse(env_, "the request lacks views");
    length_ = array_.Length();
    request_.lent.reserve(length_);
  }

  template <class Slot>
  View at(Slot slot) const {
    if (size_t(slot) >= length_) return {};
    napi_value value;
    if (napi_get_element(env_, array_, static_cast<uint32_t>(slot), &value) != napi_ok) throw Napi::Error::New(env_);
    View view = readView(env_, value);
    if (view.isPresent && !view.held) request_.lent.push_back({uint32_t(slot), view.data, view.bytes, view.buffer});
    if (!view.held) return view;
    if (view.held->device() != request_.device) refuse(env_, "a view lies on another device than the request runs on");
    request_.held.push_back(view.held);
    return view;
  }
  // An empty list that the request keeps.
  std::vector<int32_t>& newList() const { return request_.lists.emplace_back(); }
  // A copy of a list, which the request keeps.
  const std::vector<int32_t>& keep(const View& list) const { return request_.lists.emplace_back(copyOf(env_, list)); }

 private:
  Napi::Env env_;
  Napi::Array array_;
  size_t length_ = 0;
  Request& request_;
};

inline void requireRunningTotals(Napi::Env env, const std::vector<int32_t>& totals, int32_t sequences, Token rows) {
  if (totals.size() != size_t(sequences) + 1 || totals.front() != 0 || totals.back() > rows) {
    refuse(env, "running totals must go from 0 to the number of rows");
  }
  for (size_t i = 1; i < totals.size(); ++i) {
    if (totals[i] < totals[i - 1]) refuse(env, "running totals must not fall");
  }
}

// The type of keys: that of the queries, or any under queries in float32.
inline DType readKeyType(const Numbers& numbers, size_t i, DType ofQueries) {
  const DType type = numbers.type(i);
  if (type != ofQueries && ofQueries != DType::float32)
    refuse(numbers.env(), "keys must have the type of queries that are not float32");
  return type;
}

// Keys in use per batch entry; null when the view is absent.
inline const int32_t* readKeyLengths(Napi::Env env, const Views& views, const View& view, int32_t count, Token keys) {
  if (!view.isPresent) return nullptr;
  const std::vector<int32_t>& lengths = views.keep(view);
  if (lengths.size() != size_t(count)) refuse(env, "one key length per sequence");
  for (const int32_t length : lengths) {
    if (length < 0 || length > keys) refuse(env, "key lengths must be from 0 to the number of keys");
  }
  return lengths.data();
}

}  // namespace tilewise
