// The request of linear attention. Reader: someone who adds a field.
#include "fields.h"
#include "ops.h"
#include "plan.h"
#include "reading.h"

namespace tilewise {
namespace {

// clang-format off
#define TW_LINEAR_FIELDS(X) \
  X(device) X(batch) X(queryHeads) X(kvHeads) X(queries) X(keys) X(headDim) X(valueDim) X(type) X(sequences) \
  X(featureMap) X(isCausal) X(isNormalized) X(scale) X(eps) X(chunk) \
  TW_OPERAND(X, query) TW_OPERAND(X, key) TW_OPERAND(X, value) TW_OPERAND(X, out) \
  X(decayOffset) X(decayByBatch) X(decayByToken) X(decayByHead) \
  X(stateInOffset) X(normalizerInOffset) X(stateOffset) X(normalizerOffset)
#define TW_LINEAR_VIEWS(X) \
  X(query) X(key) X(value) X(out) X(decay) X(stateIn) X(normalizerIn) X(state) X(normalizer) X(cuSeqlens)
// clang-format on

enum class Field : size_t { TW_LINEAR_FIELDS(TW_ENUMERATOR) count };
enum class Slot : size_t { TW_LINEAR_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(Field::count)> kFields{TW_LINEAR_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(Slot::count)> kSlots{TW_LINEAR_VIEWS(TW_STRING)};

void readDecay(const Numbers& n, const Views& views, LinearProblem& p) {
  const View view = views.at(Slot::decay);
  if (!view.isPresent) return;
  p.decayBatch = n.stride(size_t(Field::decayByBatch));
  p.decayToken = n.stride(size_t(Field::decayByToken));
  p.decayHead = n.stride(size_t(Field::decayByHead));
  const int64_t offset = n.whole(size_t(Field::decayOffset), "an offset", 0, kMaxExact);
  const Axis axes[] = {{p.batch, p.decayBatch}, {p.keys, p.decayToken}, {p.kvHeads, p.decayHead}};
  p.decay = locate(n.env(), "decay", view, offset, axes, sizeof(float)).as<const float>();
}

// Row-major numbers of every sequence and KV head; null where the view is absent.
Placed<float> readStates(const Numbers& n, const char* name, Field offset, const View& view, const LinearProblem& p,
                         int64_t each) {
  if (!view.isPresent) return {};
  const Axis axes[] = {{p.sequences, p.kvHeads * each}, {p.kvHeads, each}, {each, 1}};
  return locate(n.env(), name, view, n.whole(size_t(offset), "an offset", 0, kMaxExact), axes, sizeof(float))
      .as<float>();
}

void readSequences(const Numbers& n, const Views& views, LinearProblem& p) {
  const View totals = views.at(Slot::cuSeqlens);
  if (!totals.isPresent) {
    if (p.sequences != p.batch) refuse(n.env(), "one sequence per batch entry");
    return;
  }
  if (p.batch != 1 || p.queries != p.keys) refuse(n.env(), "packed sequences have a batch of 1 and a key per query");
  const std::vector<int32_t>& list = views.keep(totals);
  requireRunningTotals(n.env(), list, p.sequences, p.keys);
  p.cuSeqlens = list.data();
}

// All but operands, sequences and states.
LinearProblem readSizes(const Numbers& n) {
  const auto count = [&](Field f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); };
  const auto flag = [&](Field f) { return n.whole(size_t(f), kFields[size_t(f)], 0, 1) == 1; };
  LinearProblem p;
  p.batch = count(Field::batch, 0);
  p.queryHeads = count(Field::queryHeads, 1);
  p.kvHeads = count(Field::kvHeads, 1);
  if (p.queryHeads % p.kvHeads != 0) refuse(n.env(), "KV heads must divide the query heads");
  p.queries = count(Field::queries, 0);
  p.keys = count(Field::keys, 0);
  p.headDim = count(Field::headDim, 1);
  p.valueDim = count(Field::valueDim, 1);
  p.dtype = n.type(size_t(Field::type));
  p.sequences = count(Field::sequences, 0);
  p.featureMap = FeatureMap(n.whole(size_t(Field::featureMap), "featureMap", 0, int32_t(FeatureMap::taylor2)));
  const int32_t mostDim = p.featureMap == FeatureMap::taylor2 ? kMostTaylorDim : kMostLinearDim;
  if (p.headDim > mostDim || p.valueDim > kMostLinearDim) refuse(n.env(), "the dims are too large");
  p.isCausal = flag(Field::isCausal);
  p.isNormalized = flag(Field::isNormalized);
  if (p.isCausal && p.queries != p.keys) refuse(n.env(), "a causal call has a key per query");
  p.scale = float(n.at(size_t(Field::scale)));
  p.eps = float(n.at(size_t(Field::eps)));
  p.chunk = int32_t(n.whole(size_t(Field::chunk), "chunk", 0, kMostChunk));
  return p;
}

Request deviceOf(const Numbers& n) {
  Request request;
  request.device = size_t(n.count(size_t(Field::device), "device", 0));
  return request;
}

Request readLinear(Napi::Env env, const Napi::Value& numbers, const Napi::Value& objects) {
  const Numbers n(env, numbers, size_t(Field::count));
  Request request = deviceOf(n);
  LinearProblem p = readSizes(n);
  const Views views(env, objects, request);
  const auto operand = [&](const char* name, Field base, Slot slot, int64_t tokens, int64_t heads, int64_t dim) {
    return readOperand(n, name, size_t(base), views.at(slot), p.batch, tokens, heads, dim, p.dtype);
  };
  p.query = operand("q", Field::queryOffset, Slot::query, p.queries, p.queryHeads, p.headDim);
  p.key = operand("k", Field::keyOffset, Slot::key, p.keys, p.kvHeads, p.headDim);
  p.value = operand("v", Field::valueOffset, Slot::value, p.keys, p.kvHeads, p.valueDim);
  p.out = operand("out", Field::outOffset, Slot::out, p.queries, p.queryHeads, p.valueDim);
  readSequences(n, views, p);
  readDecay(n, views, p);
  if (p.decay && !p.isCausal) refuse(env, "a decay needs an order");
  const int64_t row = p.features(), rows = row * p.valueDim;
  const auto states = [&](const char* name, Field offset, Slot slot, int64_t each) {
    return readStates(n, name, offset, views.at(slot), p, each);
  };
  p.stateIn = states("state", Field::stateInOffset, Slot::stateIn, rows).as<const float>();
  p.state = states("the new state", Field::stateOffset, Slot::state, rows);
  if (p.isNormalized) {
    p.normalizerIn = states("normalizer", Field::normalizerInOffset, Slot::normalizerIn, row).as<const float>();
    p.normalizer = states("the new normalizer", Field::normalizerOffset, Slot::normalizer, row);
  }
  request.problem = std::move(p);
  return request;
}

}  // namespace

const Op kLinear{"linear", kFields, kSlots, {}, {}, readLinear};

Request readLinearShape(Napi::Env env, const Napi::Value& numbers) {
  const Numbers n(env, numbers, kFields.size());
  Request request = deviceOf(n);
  request.problem = readSizes(n);
  return request;
}

}  // namespace tilewise
