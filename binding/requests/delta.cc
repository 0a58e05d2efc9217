// The request of the gated delta rule. Reader: someone who adds a field.
#include "fields.h"
#include "ops.h"
#include "plan.h"
#include "reading.h"

namespace tilewise {
namespace {

// clang-format off
#define TW_DELTA_FIELDS(X) \
  X(device) X(batch) X(queryHeads) X(keyHeads) X(valueHeads) X(tokens) X(headDim) X(valueDim) X(type) X(sequences) \
  X(hasUnitRows) X(scale) X(chunk) \
  TW_OPERAND(X, query) TW_OPERAND(X, key) TW_OPERAND(X, value) TW_OPERAND(X, out) \
  X(betaOffset) X(betaByBatch) X(betaByToken) X(betaByHead) \
  X(decayOffset) X(decayByBatch) X(decayByToken) X(decayByHead) \
  X(stateInOffset) X(stateOffset)
#define TW_DELTA_VIEWS(X) \
  X(query) X(key) X(value) X(out) X(beta) X(decay) X(stateIn) X(state) X(cuSeqlens)
// clang-format on

enum class Field : size_t { TW_DELTA_FIELDS(TW_ENUMERATOR) count };
enum class Slot : size_t { TW_DELTA_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(Field::count)> kFields{TW_DELTA_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(Slot::count)> kSlots{TW_DELTA_VIEWS(TW_STRING)};

// Offset, then strides by batch, token and head; absent where the view is.
TokenNumbers readTokenNumbers(const Numbers& n, const char* name, Field base, const View& view, const DeltaProblem& p) {
  TokenNumbers numbers;
  if (!view.isPresent) return numbers;
  const int64_t offset = n.whole(size_t(base), "an offset", 0, kMaxExact);
  numbers.batch = n.stride(size_t(base) + 1);
  numbers.token = n.stride(size_t(base) + 2);
  numbers.head = n.stride(size_t(base) + 3);
  const Axis axes[] = {{p.batch, numbers.batch}, {p.tokens, numbers.token}, {p.valueHeads, numbers.head}};
  numbers.data = locate(n.env(), name, view, offset, axes, sizeof(float)).as<const float>();
  return numbers;
}

// Row-major numbers of every sequence and value head; null where the view is absent.
Placed<float> readState(const Numbers& n, const char* name, Field offset, const View& view, const DeltaProblem& p) {
  if (!view.isPresent) return {};
  const int64_t each = int64_t(p.headDim) * p.valueDim;
  const Axis axes[] = {{p.sequences, p.valueHeads * each}, {p.valueHeads, each}, {each, 1}};
  return locate(n.env(), name, view, n.whole(size_t(offset), "an offset", 0, kMaxExact), axes, sizeof(float))
      .as<float>();
}

void readSequences(const Numbers& n, const Views& views, DeltaProblem& p) {
  const View totals = views.at(Slot::cuSeqlens);
  if (!totals.isPresent) {
    if (p.sequences != p.batch) refuse(n.env(), "one sequence per batch entry");
    return;
  }
  if (p.batch != 1) refuse(n.env(), "packed sequences have a batch of 1");
  const std::vector<int32_t>& list = views.keep(totals);
  requireRunningTotals(n.env(), list, p.sequences, p.tokens);
  p.cuSeqlens = list.data();
}

// All but operands, sequences and states.
DeltaProblem readSizes(const Numbers& n) {
  const auto count = [&](Field f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); };
  DeltaProblem p;
  p.batch = count(Field::batch, 0);
  p.queryHeads = count(Field::queryHeads, 1);
  p.keyHeads = count(Field::keyHeads, 1);
  p.valueHeads = count(Field::valueHeads, 1);
  if (p.valueHeads % p.keyHeads != 0) refuse(n.env(), "key heads must divide the value heads");
  if (p.outHeads() % p.queryHeads != 0 || p.outHeads() % p.valueHeads != 0) {
    refuse(n.env(), "of query heads and value heads one must divide the other");
  }
  p.tokens = count(Field::tokens, 0);
  p.headDim = count(Field::headDim, 1);
  p.valueDim = count(Field::valueDim, 1);
  if (larger(p.headDim, p.valueDim) > kMostDeltaDim) refuse(n.env(), "the dims are too large");
  p.dtype = n.type(size_t(Field::type));
  p.sequences = count(Field::sequences, 0);
  p.hasUnitRows = n.whole(size_t(Field::hasUnitRows), "hasUnitRows", 0, 1) == 1;
  p.scale = float(n.at(size_t(Field::scale)));
  p.chunk = int32_t(n.whole(size_t(Field::chunk), "chunk", 0, kMostDeltaChunk));
  return p;
}

Request deviceOf(const Numbers& n) {
  Request request;
  request.device = size_t(n.count(size_t(Field::device), "device", 0));
  return request;
}

Request readDelta(Napi::Env env, const Napi::Value& numbers, const Napi::Value& objects) {
  const Numbers n(env, numbers, size_t(Field::count));
  Request request = deviceOf(n);
  DeltaProblem p = readSizes(n);
  const Views views(env, objects, request);
  const auto operand = [&](const char* name, Field base, Slot slot, int64_t heads, int64_t dim) {
    return readOperand(n, name, size_t(base), views.at(slot), p.batch, p.tokens, heads, dim, p.dtype);
  };
  p.query = operand("q", Field::queryOffset, Slot::query, p.queryHeads, p.headDim);
  p.key = operand("k", Field::keyOffset, Slot::key, p.keyHeads, p.headDim);
  p.value = operand("v", Field::valueOffset, Slot::value, p.valueHeads, p.valueDim);
  p.out = operand("out", Field::outOffset, Slot::out, p.outHeads(), p.valueDim);
  readSequences(n, views, p);
  if (!views.at(Slot::beta).isPresent) refuse(env, "beta is missing");
  p.beta = readTokenNumbers(n, "beta", Field::betaOffset, views.at(Slot::beta), p);
  p.decay = readTokenNumbers(n, "decay", Field::decayOffset, views.at(Slot::decay), p);
  p.stateIn = readState(n, "state", Field::stateInOffset, views.at(Slot::stateIn), p).as<const float>();
  p.state = readState(n, "the new state", Field::stateOffset, views.at(Slot::state), p);
  request.problem = std::move(p);
  return request;
}

}  // namespace

const Op kDelta{"delta", kFields, kSlots, {}, {}, readDelta};

Request readDeltaShape(Napi::Env env, const Napi::Value& numbers) {
  const Numbers n(env, numbers, kFields.size());
  Request request = deviceOf(n);
  request.problem = readSizes(n);
  return request;
}

}  // namespace tilewise
