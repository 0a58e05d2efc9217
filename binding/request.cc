// Unpacking with checks; see request.h.
// Reader: someone who adds a field. Typed arrays are read through raw Node-API: node-addon-api's classes do not take
// views on a SharedArrayBuffer.

#include "request.h"

#include <cmath>
#include <cstring>
#include <initializer_list>
#include <string>

#include "fields.h"

namespace tilewise {
namespace {

constexpr double kMaxExact = 9007199254740991.0;  // 2^53 - 1

[[noreturn]] void refuse(Napi::Env env, const std::string& message) {
  Napi::RangeError error = Napi::RangeError::New(env, message);
  error.Value().Set("code", "ERR_TILEWISE_OUT_OF_BOUNDS");
  throw error;
}

// A typed array's memory. What it holds is for lib/ to say; how much of it there is, is not.
struct View {
  bool isPresent = false;
  char* data = nullptr;
  int64_t bytes = 0;
};

// Node 22 has a Float16Array behind a flag that its Node-API does not know: it leaves the type as it was.
constexpr napi_typedarray_type kUnknownType = static_cast<napi_typedarray_type>(-1);

int64_t elementBytes(napi_typedarray_type type) {
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

View readView(Napi::Env env, napi_value value) {
  napi_valuetype type;
  if (napi_typeof(env, value, &type) != napi_ok) throw Napi::Error::New(env);
  if (type == napi_undefined) return {};
  napi_typedarray_type elements = kUnknownType;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &elements, &length, &data, nullptr, nullptr) != napi_ok) {
    throw Napi::TypeError::New(env, "a view must be a typed array or undefined");
  }
  return {true, static_cast<char*>(data), static_cast<int64_t>(length) * elementBytes(elements)};
}

// The numbers of a request, by field; every one is checked when it is read.
class Numbers {
 public:
  Numbers(const Napi::CallbackInfo& info, size_t least) : env_(info.Env()) {
    size_t length = 0;
    void* data = nullptr;
    napi_typedarray_type type{};
    const bool isView = info.Length() > 0 &&
                        napi_get_typedarray_info(env_, info[0], &type, &length, &data, nullptr, nullptr) == napi_ok;
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

// Pointer to the element at `offset`, after proving that every element the axes reach lies inside the view; nullptr
// when they reach none.
template <size_t N>
void* locate(Napi::Env env, const char* name, const View& view, int64_t offset, const Axis (&axes)[N],
             int64_t elementSize) {
  int64_t first = offset, last = offset;
  for (const Axis& axis : axes) {
    if (axis.size == 0) return nullptr;
    if (axis.size == 1) continue;
    const int64_t steps = axis.size - 1;
    // No view is that long; past this the products and sums below cannot overflow.
    const int64_t limit = static_cast<int64_t>(kMaxExact) / steps;
    if (axis.stride > limit || axis.stride < -limit) refuse(env, std::string(name) + " reaches outside its data");
    (axis.stride < 0 ? first : last) += steps * axis.stride;
  }
  const int64_t length = view.bytes / elementSize;
  if (first < 0 || last >= length) {
    refuse(env, std::string(name) + " reaches elements " + std::to_string(first) + " to " + std::to_string(last) +
                    " of data that has " + std::to_string(length));
  }
  if (reinterpret_cast<uintptr_t>(view.data) % elementSize != 0) refuse(env, std::string(name) + " is not aligned");
  return view.data + offset * elementSize;
}

// The five fields of an operand from `base` on: offset, then strides by batch, token, head, dim.
Operand readOperand(const Numbers& numbers, const char* name, size_t base, const View& view, int64_t batch,
                    int64_t tokens, int64_t heads, int64_t dim, DType type) {
  const int64_t offset = numbers.whole(base, "an offset", 0, kMaxExact);
  Operand operand;
  operand.batch = numbers.stride(base + 1);
  operand.token = numbers.stride(base + 2);
  operand.head = numbers.stride(base + 3);
  operand.dim = numbers.stride(base + 4);
  const Axis axes[] = {{batch, operand.batch}, {tokens, operand.token}, {heads, operand.head}, {dim, operand.dim}};
  operand.data = locate(numbers.env(), name, view, offset, axes, sizeOf(type));
  return operand;
}

ScoreOperand readScores(const Numbers& numbers, const char* name, size_t base, const View& view, const Problem& p,
                        DType type, int64_t elementSize) {
  ScoreOperand operand;
  if (!view.isPresent) return operand;
  const int64_t offset = numbers.whole(base, "an offset", 0, kMaxExact);
  operand.dtype = type;
  operand.batch = numbers.stride(base + 1);
  operand.head = numbers.stride(base + 2);
  operand.query = numbers.stride(base + 3);
  operand.key = numbers.stride(base + 4);
  const Axis axes[] = {
      {p.batch, operand.batch}, {p.outputHeads(), operand.head}, {p.queries, operand.query}, {p.keys, operand.key}};
  operand.data = locate(numbers.env(), name, view, offset, axes, elementSize);
  return operand;
}

// The four fields of an lse from `base` on: offset, then strides by batch, head, token.
struct Rows {
  float* data;
  int64_t batch, head, token;
};
Rows readRows(const Numbers& numbers, size_t base, const View& view, int64_t batch, int64_t heads, int64_t tokens) {
  const int64_t offset = numbers.whole(base, "an offset", 0, kMaxExact);
  Rows rows{nullptr, numbers.stride(base + 1), numbers.stride(base + 2), numbers.stride(base + 3)};
  const Axis axes[] = {{batch, rows.batch}, {heads, rows.head}, {tokens, rows.token}};
  rows.data = static_cast<float*>(locate(numbers.env(), "lse", view, offset, axes, sizeof(float)));
  return rows;
}

std::vector<int32_t> copyOf(const View& view) {
  std::vector<int32_t> copy(view.bytes / sizeof(int32_t));
  if (!copy.empty()) std::memcpy(copy.data(), view.data, copy.size() * sizeof(int32_t));
  return copy;
}

void requireRunningTotals(Napi::Env env, const std::vector<int32_t>& totals, int32_t sequences, Token rows) {
  if (totals.size() != size_t(sequences) + 1 || totals.front() != 0 || totals.back() > rows) {
    refuse(env, "running totals must go from 0 to the number of rows");
  }
  for (size_t i = 1; i < totals.size(); ++i) {
    if (totals[i] < totals[i - 1]) refuse(env, "running totals must not fall");
  }
}

void readSizes(const Numbers& n, AttentionRequest& request) {
  const auto count = [&](Field f, int32_t least) { return n.count(size_t(f), kFieldNames[size_t(f)], least); };
  Problem& p = request.problem;
  request.device = count(Field::device, 0);
  p.batch = count(Field::batch, 0);
  p.queryHeads = count(Field::queryHeads, 1);
  p.kvHeads = count(Field::kvHeads, 1);
  p.queries = count(Field::queries, 0);
  p.keys = count(Field::keys, 0);
  p.headDim = count(Field::headDim, 1);
  p.valueDim = count(Field::valueDim, 1);
  p.dtype = n.type(size_t(Field::type));
  p.sequences = count(Field::sequences, 0);
  p.scale = static_cast<float>(n.at(size_t(Field::scale)));
  p.softcap = static_cast<float>(n.at(size_t(Field::softcap)));
  p.window.left = count(Field::left, 0);
  p.window.right = count(Field::right, 0);
  p.window.sink = count(Field::sinkTokens, 0);
  p.window.align = static_cast<Align>(n.whole(size_t(Field::align), "align", 0, int32_t(Align::explicitOffset)));
  p.window.offset = count(Field::alignOffset, -kMaxTokens);
  p.pairing = static_cast<Pairing>(n.whole(size_t(Field::pairing), "pairing", 0, int32_t(Pairing::interleave)));
}

// The views of a request, by slot.
class Views {
 public:
  Views(const Napi::CallbackInfo& info, size_t least) : env_(info.Env()), array_(info[1].As<Napi::Array>()) {
    if (!info[1].IsArray() || array_.Length() < least) refuse(env_, "the request lacks views");
  }
  View at(size_t i) const {
    napi_value value;
    if (napi_get_element(env_, array_, static_cast<uint32_t>(i), &value) != napi_ok) throw Napi::Error::New(env_);
    return readView(env_, value);
  }
  View at(Slot slot) const { return at(size_t(slot)); }

 private:
  Napi::Env env_;
  Napi::Array array_;
};

}  // namespace

AttentionRequest readShape(const Napi::CallbackInfo& info) {
  AttentionRequest request;
  readSizes(Numbers(info, size_t(Field::count)), request);
  if (request.problem.sequences != request.problem.batch) refuse(info.Env(), "one sequence per batch entry");
  return request;
}

AttentionRequest readAttention(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Numbers n(info, size_t(Field::count));
  const Views views(info, size_t(Slot::count));
  AttentionRequest request;
  readSizes(n, request);
  Problem& p = request.problem;
  const int32_t heads = p.outputHeads();
  if (heads % p.queryHeads != 0 || heads % p.kvHeads != 0) refuse(env, "the numbers of heads must divide");

  const auto operand = [&](const char* name, Field base, Slot slot, int64_t tokens, int64_t count, int64_t dim) {
    return readOperand(n, name, size_t(base), views.at(slot), p.batch, tokens, count, dim, p.dtype);
  };
  p.query = operand("q", Field::queryOffset, Slot::query, p.queries, p.queryHeads, p.headDim);
  p.key = operand("k", Field::keyOffset, Slot::key, p.keys, p.kvHeads, p.headDim);
  p.value = operand("v", Field::valueOffset, Slot::value, p.keys, p.kvHeads, p.valueDim);
  p.out = operand("out", Field::outOffset, Slot::out, p.queries, heads, p.valueDim);
  if (const View lse = views.at(Slot::lse); lse.isPresent) {
    const Rows rows = readRows(n, size_t(Field::lseOffset), lse, p.batch, heads, p.queries);
    p.lse = rows.data;
    p.lseBatch = rows.batch;
    p.lseHead = rows.head;
    p.lseToken = rows.token;
  }

  const DType biasType = n.type(size_t(Field::biasType));
  p.bias = readScores(n, "bias", size_t(Field::biasOffset), views.at(Slot::bias), p, biasType, sizeOf(biasType));
  p.mask = readScores(n, "mask", size_t(Field::maskOffset), views.at(Slot::mask), p, DType::float32, 1);
  if (const View slopes = views.at(Slot::slopes); slopes.isPresent) {
    p.slopesBatch = n.stride(size_t(Field::slopesByBatch));
    p.slopesHead = n.stride(size_t(Field::slopesByHead));
    const Axis axes[] = {{p.batch, p.slopesBatch}, {heads, p.slopesHead}};
    const int64_t offset = n.whole(size_t(Field::slopesOffset), "an offset", 0, kMaxExact);
    p.slopes = static_cast<float*>(locate(env, "alibiSlopes", slopes, offset, axes, sizeof(float)));
  }
  if (const View sinks = views.at(Slot::sinks); sinks.isPresent) {
    p.sinksHead = n.stride(size_t(Field::sinksByHead));
    const Axis axes[] = {{heads, p.sinksHead}};
    const int64_t offset = n.whole(size_t(Field::sinksOffset), "an offset", 0, kMaxExact);
    p.sinks = static_cast<float*>(locate(env, "sinks", sinks, offset, axes, sizeof(float)));
  }

  if (const View cuQueries = views.at(Slot::cuQueries); cuQueries.isPresent) {
    if (p.batch != 1) refuse(env, "packed sequences have a batch of 1");
    request.cuQueries = copyOf(cuQueries);
    request.cuKeys = copyOf(views.at(Slot::cuKeys));
    requireRunningTotals(env, request.cuQueries, p.sequences, p.queries);
    requireRunningTotals(env, request.cuKeys, p.sequences, p.keys);
    p.cuQueries = request.cuQueries.data();
    p.cuKeys = request.cuKeys.data();
  } else {
    if (p.sequences != p.batch) refuse(env, "one sequence per batch entry");
    if (const View keyLengths = views.at(Slot::keyLengths); keyLengths.isPresent) {
      request.keyLengths = copyOf(keyLengths);
      if (request.keyLengths.size() != size_t(p.batch)) refuse(env, "one key length per batch entry");
      for (int32_t length : request.keyLengths) {
        if (length < 0 || length > p.keys) refuse(env, "key lengths must be from 0 to the number of keys");
      }
      p.keyLengths = request.keyLengths.data();
    }
  }
  return request;
}

MergeRequest readMerge(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  constexpr size_t head = size_t(MergeField::count), perPart = size_t(MergePartField::count);
  const Numbers n(info, head);
  const auto count = [&](MergeField f, int32_t least) {
    return n.count(size_t(f), kMergeFieldNames[size_t(f)], least);
  };
  MergeRequest request;
  MergeProblem& p = request.problem;
  request.device = count(MergeField::device, 0);
  p.batch = count(MergeField::batch, 0);
  p.heads = count(MergeField::heads, 1);
  p.queries = count(MergeField::queries, 0);
  p.valueDim = count(MergeField::valueDim, 1);
  p.dtype = n.type(size_t(MergeField::type));
  const size_t parts = count(MergeField::parts, 1);
  if (n.size() < head + parts * perPart) refuse(env, "the request lacks fields");
  const Views views(info, 2 * (1 + parts));

  const auto operand = [&](const char* name, size_t base, size_t slot) {
    return readOperand(n, name, base, views.at(slot), p.batch, p.queries, p.heads, p.valueDim, p.dtype);
  };
  const auto rows = [&](size_t base, size_t slot) {
    return readRows(n, base, views.at(slot), p.batch, p.heads, p.queries);
  };
  p.out = operand("out", size_t(MergeField::outOffset), 0);
  const Rows lse = rows(size_t(MergeField::lseOffset), 1);
  p.lse = lse.data;
  p.lseBatch = lse.batch;
  p.lseHead = lse.head;
  p.lseToken = lse.token;
  p.parts.reserve(parts);
  for (size_t i = 0; i < parts; ++i) {
    const size_t base = head + i * perPart, slot = 2 * (1 + i);
    MergePart part;
    part.out = operand("a part's out", base + size_t(MergePartField::outOffset), slot);
    const Rows partLse = rows(base + size_t(MergePartField::lseOffset), slot + 1);
    part.lse = partLse.data;
    part.lseBatch = partLse.batch;
    part.lseHead = partLse.head;
    part.lseToken = partLse.token;
    p.parts.push_back(part);
  }
  return request;
}

void refuseResizable(const Napi::Env& env, const Napi::Value& views) {
  const Napi::Array array = views.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value view = array.Get(i);
    if (!view.IsObject()) continue;
    const Napi::Value buffer = view.As<Napi::Object>().Get("buffer");
    if (buffer.IsObject() && buffer.As<Napi::Object>().Get("resizable").ToBoolean()) {
      refuse(env, "a view lies in a resizable buffer");
    }
  }
}

}  // namespace tilewise
