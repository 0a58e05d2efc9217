// The request of local linear attention. Reader: someone who adds a field.
#include "fields.h"
#include "ops.h"
#include "reading.h"

namespace tilewise {
namespace {

// clang-format off
#define TW_LOCAL_LINEAR_FIELDS(X) \
  X(device) X(batch) X(queryHeads) X(kvHeads) X(queries) X(keys) X(headDim) X(valueDim) X(type) \
  X(isCausal) X(scale) X(lambda) X(iterations) X(tolerance) \
  TW_OPERAND(X, query) TW_OPERAND(X, key) TW_OPERAND(X, value) TW_OPERAND(X, correction) TW_OPERAND(X, out)
#define TW_LOCAL_LINEAR_VIEWS(X) X(query) X(key) X(value) X(correction) X(out)
// clang-format on

enum class Field : size_t { TW_LOCAL_LINEAR_FIELDS(TW_ENUMERATOR) count };
enum class Slot : size_t { TW_LOCAL_LINEAR_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(Field::count)> kFields{TW_LOCAL_LINEAR_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(Slot::count)> kSlots{TW_LOCAL_LINEAR_VIEWS(TW_STRING)};

Request readLocalLinear(Napi::Env env, const Napi::Value& numbers, const Napi::Value& objects) {
  const Numbers n(env, numbers, size_t(Field::count));
  const auto count = [&](Field f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); };
  Request request;
  LocalLinearProblem p;
  request.device = size_t(count(Field::device, 0));
  p.batch = count(Field::batch, 0);
  p.queryHeads = count(Field::queryHeads, 1);
  p.kvHeads = count(Field::kvHeads, 1);
  if (p.queryHeads % p.kvHeads != 0) refuse(env, "KV heads must divide the query heads");
  p.queries = count(Field::queries, 0);
  p.keys = count(Field::keys, 0);
  p.headDim = count(Field::headDim, 1);
  p.valueDim = count(Field::valueDim, 1);
  if (larger(p.headDim, p.valueDim) > kMostLocalLinearDim) refuse(env, "the dims are too large");
  p.dtype = n.type(size_t(Field::type));
  p.isCausal = n.whole(size_t(Field::isCausal), "isCausal", 0, 1) == 1;
  p.scale = float(n.at(size_t(Field::scale)));
  p.lambda = float(n.at(size_t(Field::lambda)));
  p.iterations = count(Field::iterations, 0);
  p.tolerance = float(n.at(size_t(Field::tolerance)));
  const Views views(env, objects, request);
  const auto operand = [&](const char* name, Field base, Slot slot, int64_t tokens, int64_t heads, int64_t dim) {
    return readOperand(n, name, size_t(base), views.at(slot), p.batch, tokens, heads, dim, p.dtype);
  };
  p.query = operand("q", Field::queryOffset, Slot::query, p.queries, p.queryHeads, p.headDim);
  p.key = operand("k", Field::keyOffset, Slot::key, p.keys, p.kvHeads, p.headDim);
  p.value = operand("v", Field::valueOffset, Slot::value, p.keys, p.kvHeads, p.valueDim);
  p.out = operand("out", Field::outOffset, Slot::out, p.queries, p.queryHeads, p.valueDim);
  if (views.at(Slot::correction).isPresent) {
    p.correction = operand("r", Field::correctionOffset, Slot::correction, p.queries, p.queryHeads, p.headDim);
  }
  request.problem = std::move(p);
  return request;
}

}  // namespace

const Op kLocalLinear{"localLinear", kFields, kSlots, {}, {}, readLocalLinear};

}  // namespace tilewise
