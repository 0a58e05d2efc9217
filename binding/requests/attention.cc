// The request of attention. Reader: someone who adds a field.
#include <type_traits>

#include "codes.h"
#include "fields.h"
#include "ops.h"
#include "pattern.h"
#include "plan.h"
#include "reading.h"
#include "store.h"

namespace tilewise {
namespace {

// The fields of a score rule from `base` on: type, offset, strides in the order of the rule's axes, whose its heads
// are.
template <class Rule>
void readRule(const Numbers& numbers, const char* name, size_t base, const View& view, const ScoreShape& shape,
              Rule& rule) {
  if (!view.isPresent) return;
  if constexpr (Rule::kHasType) rule.dtype = numbers.type(base);
  if constexpr (std::is_base_of_v<ScoreOperand, Rule>) rule.isOfKvHeads = numbers.at(base + 6) != 0;
  const int64_t offset = numbers.whole(base + 1, "an offset", 0, kMaxExact);
  rule.operand(shape, [&](auto& array, int64_t elementBytes, const auto& axes) {
    constexpr size_t kAxes = std::extent_v<std::remove_reference_t<decltype(axes)>>;
    static_assert(kAxes <= 4, "fields.h has four strides");
    Axis located[kAxes];
    for (size_t i = 0; i < kAxes; ++i) {
      *axes[i].stride = numbers.stride(base + 2 + i);
      located[i] = {axes[i].size, *axes[i].stride};
    }
    const Placed<void> found = locate(numbers.env(), name, view, offset, located, elementBytes);
    array = found.as<std::remove_pointer_t<decltype(array.data)>>();
  });
}

void readSizes(const Numbers& n, AttentionProblem& p) {
  const auto count = [&](Field f, int32_t least) { return n.count(size_t(f), kFieldNames[size_t(f)], least); };
  p.batch = count(Field::batch, 0);
  p.queryHeads = count(Field::queryHeads, 1);
  p.kvHeads = count(Field::kvHeads, 1);
  p.queries = count(Field::queries, 0);
  p.keys = count(Field::keys, 0);
  p.headDim = count(Field::headDim, 1);
  p.valueDim = count(Field::valueDim, 1);
  p.dtype = n.type(size_t(Field::type));
  p.keyType = readKeyType(n, size_t(Field::keyType), p.dtype);
  p.sequences = count(Field::sequences, 0);
  p.scale = static_cast<float>(n.at(size_t(Field::scale)));
  p.softcap = static_cast<float>(n.at(size_t(Field::softcap)));
  p.cosine.isUsed = n.at(size_t(Field::isCosine)) != 0;
  p.activation = {
      static_cast<ActivationKind>(n.whole(size_t(Field::activation), "activation", 0, int32_t(kLastActivation))),
      n.at(size_t(Field::isActivationBiasOfKeys)) != 0, static_cast<float>(n.at(size_t(Field::activationBias)))};
  p.window.left = count(Field::left, -1);
  p.window.right = count(Field::right, 0);
  p.window.sinkTokens = count(Field::sinkTokens, 0);
  p.window.align = static_cast<Align>(n.whole(size_t(Field::align), "align", 0, int32_t(Align::explicitOffset)));
  p.window.offset = count(Field::alignOffset, -kMaxTokens);
  p.pairing = static_cast<Pairing>(n.whole(size_t(Field::pairing), "pairing", 0, int32_t(Pairing::interleave)));
  p.store = readStore(n, size_t(Field::pages), size_t(Field::pageSize));
  readPattern(n, p);
}

void readOperands(const Numbers& n, const Views& views, AttentionProblem& p) {
  const int32_t heads = p.outputHeads();
  if (heads % p.queryHeads != 0 || heads % p.kvHeads != 0) refuse(n.env(), "the numbers of heads must divide");
  const auto operand = [&](const char* name, Field base, Slot slot, int64_t tokens, int64_t count, int64_t dim,
                           DType type) {
    return readOperand(n, name, size_t(base), views.at(slot), p.batch, tokens, count, dim, type);
  };
  p.query = operand("q", Field::queryOffset, Slot::query, p.queries, p.queryHeads, p.headDim, p.dtype);
  const KeyStore::Shape stored = p.store.shape(p.batch, p.keys);
  const auto ofKeys = [&](const char* name, Field base, Slot slot, int64_t dim) {
    return readOperand(n, name, size_t(base), views.at(slot), stored.batch, stored.tokens, p.kvHeads, dim, p.keyType);
  };
  p.key = ofKeys("k", Field::keyOffset, Slot::key, p.headDim);
  p.value = ofKeys("v", Field::valueOffset, Slot::value, p.valueDim);
  p.out = operand("out", Field::outOffset, Slot::out, p.queries, heads, p.valueDim, p.dtype);
  p.extraTokens = n.count(size_t(Field::extraTokens), "extraKeys");
  p.extraKeys =
      operand("extraKeys", Field::extraKeysOffset, Slot::extraKeys, p.extraTokens, p.kvHeads, p.headDim, p.keyType);
  p.extraValues = operand("extraValues", Field::extraValuesOffset, Slot::extraValues, p.extraTokens, p.kvHeads,
                          p.valueDim, p.keyType);
  if (const View lse = views.at(Slot::lse); lse.isPresent) {
    readLse(n, size_t(Field::lseOffset), lse, p.batch, heads, p.queries, p);
  }
}

void readRules(const Numbers& n, const Views& views, AttentionProblem& p) {
  const ScoreShape shape{p.batch, p.outputHeads(), p.kvHeads, p.queries, p.keys, p.sequences};
  readRule(n, "scoreFactor", size_t(Field::scoreFactorType), views.at(Slot::scoreFactor), shape, p.scoreFactor);
#define TW_READ_RULE(Rule, name, ...) \
  readRule(n, #name, size_t(Field::name##Type), views.at(Slot::name), shape, p.rules.name);
  TW_SCORE_RULES(TW_READ_RULE)
#undef TW_READ_RULE
  if (p.rules.relativeBias.isPresent() && p.pattern != PatternKind::neighborhood) {
    refuse(n.env(), "relativeBias belongs to a neighborhood");
  }
}

void readGate(const Numbers& n, const View& view, AttentionProblem& p) {
  if (!view.isPresent) return;
  Gate& gate = p.gate;
  gate.dtype = n.type(size_t(Field::gateType));
  gate.batch = n.stride(size_t(Field::gateByBatch));
  gate.token = n.stride(size_t(Field::gateByToken));
  gate.head = n.stride(size_t(Field::gateByHead));
  const int64_t offset = n.whole(size_t(Field::gateOffset), "an offset", 0, kMaxExact);
  const Axis axes[] = {{p.batch, gate.batch}, {p.queries, gate.token}, {p.outputHeads(), gate.head}};
  gate.data = locate(n.env(), "gate", view, offset, axes, sizeOf(gate.dtype)).as<const void>();
}

// Which rows belong to which sequence.
void readLengths(const Views& views, Napi::Env env, AttentionProblem& p) {
  const View cuSeqlensQ = views.at(Slot::cuSeqlensQ);
  p.keyLengths = readKeyLengths(env, views, views.at(Slot::keyLengths), p.sequences, p.keys);
  if (!cuSeqlensQ.isPresent) {
    if (p.sequences != p.batch) refuse(env, "one sequence per batch entry");
    p.keyStarts = readKeyLengths(env, views, views.at(Slot::keyStarts), p.sequences, p.keys);
    for (int32_t s = 0; p.keyStarts && s < p.sequences; ++s) {
      if (p.keyStarts[s] > (p.keyLengths ? p.keyLengths[s] : p.keys)) refuse(env, "keys start beyond their length");
    }
    return;
  }
  if (p.batch != 1) refuse(env, "packed sequences have a batch of 1");
  const auto runningTotals = [&](const View& view, Token rows) {
    const std::vector<int32_t>& totals = views.keep(view);
    requireRunningTotals(env, totals, p.sequences, rows);
    return totals.data();
  };
  p.cuSeqlensQ = runningTotals(cuSeqlensQ, p.queries);
  if (!p.store.isDense()) return;
  if (p.keyLengths) refuse(env, "keys are packed or have lengths");
  p.cuSeqlensK = runningTotals(views.at(Slot::cuSeqlensK), p.keys);
}

// Positions of all queries and keys, a list for every batch entry or one for all.
void readPositions(const Views& views, Napi::Env env, AttentionProblem& p) {
  const View queries = views.at(Slot::queryPositions);
  if (!queries.isPresent) return;
  const auto listOf = [&](const View& view, Token tokens, int64_t& byBatch) {
    const std::vector<int32_t>& list = views.keep(view);
    const bool isPerEntry = list.size() == size_t(p.batch) * size_t(tokens);
    if (!isPerEntry && list.size() != size_t(tokens)) refuse(env, "one position per token");
    for (const int32_t position : list) {
      if (position < -kMaxTokens || position > kMaxTokens) refuse(env, "a position is out of range");
    }
    byBatch = isPerEntry && p.batch > 1 ? tokens : 0;
    return list.data();
  };
  p.positions.ofQueries = listOf(queries, p.queries, p.positions.queriesByBatch);
  p.positions.ofKeys = listOf(views.at(Slot::keyPositions), p.keys, p.positions.keysByBatch);
  if (p.cuSeqlensQ || p.pattern == PatternKind::neighborhood) refuse(env, "positions are of tokens of a batch entry");
}

size_t readDevice(const Numbers& n) { return size_t(n.count(size_t(Field::device), "device")); }

Request readAttention(Napi::Env env, const Napi::Value& numbers, const Napi::Value& objects) {
  const Numbers n(env, numbers, kAttentionFields.size());
  Request request;
  request.device = readDevice(n);
  AttentionProblem p;
  readSizes(n, p);
  const Views views(env, objects, request);
  readOperands(n, views, p);
  readRules(n, views, p);
  readSinks(n, size_t(Field::sinksOffset), views.at(Slot::sinks), p.outputHeads(), p);
  if (!p.activation.isSoftmax() && (p.lse || p.sinks)) refuse(env, "lse and sinks are those of softmax");
  readGate(n, views.at(Slot::gate), p);
  readLengths(views, env, p);
  if (p.rules.keyMask.isPresent() && p.cuSeqlensK) refuse(env, "a key mask is not for packed keys");
  readPatternViews(n, views, p);
  readPositions(views, env, p);
  if (p.pattern == PatternKind::neighborhood && (p.cuSeqlensQ || p.keyLengths || p.keyStarts)) {
    refuse(env, "a grid is one sequence");
  }
  readPageTable(views, env, views.at(Slot::pageTable), {p.keyStarts, p.keyLengths}, p.sequences, p.keys, p.store);
  readCodes(n, views, p, request);
  if (p.pattern == PatternKind::blocks && p.cuSeqlensK) refuse(env, "lists are not for packed keys");
  if (p.pattern == PatternKind::ranges && p.cuSeqlensQ) refuse(env, "ranges are not for packed sequences");
  request.problem = p;
  return request;
}

}  // namespace

const Op kAttention{"attention", kAttentionFields, kAttentionViews, {}, {}, readAttention};

Request readShape(Napi::Env env, const Napi::Value& numbers, const Napi::Value& objects) {
  const Numbers n(env, numbers, kAttentionFields.size());
  Request request;
  request.device = readDevice(n);
  AttentionProblem p;
  readSizes(n, p);
  const Views views(env, objects, request);
  readRules(n, views, p);
  readGate(n, views.at(Slot::gate), p);
  readLengths(views, env, p);
  readPatternViews(n, views, p);
  request.problem = p;
  return request;
}

}  // namespace tilewise
