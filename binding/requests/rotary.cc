// The request of a rotary embedding. Reader: someone who adds a field.
#include "fields.h"
#include "ops.h"
#include "reading.h"

namespace tilewise {
namespace {

// clang-format off
#define TW_ROTARY_FIELDS(X) \
  X(device) X(batch) X(tokens) X(heads) X(headDim) X(pairs) X(isInterleaved) X(type) TW_OPERAND(X, in) TW_OPERAND(X, out) \
  X(positionsByBatch) X(frequenciesByHead) X(factor)
#define TW_ROTARY_VIEWS(X) X(in) X(out) X(positions) X(frequencies)
// clang-format on

enum class Field : size_t { TW_ROTARY_FIELDS(TW_ENUMERATOR) count };
enum class Slot : size_t { TW_ROTARY_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(Field::count)> kFields{TW_ROTARY_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(Slot::count)> kSlots{TW_ROTARY_VIEWS(TW_STRING)};

// Rows of float64 numbers on the host, from the start of their view.
const double* readRows(const Numbers& n, const char* name, const View& view, const Axis& outer, int64_t count) {
  if (view.isOnDevice()) refuse(n.env(), std::string(name) + " must lie in the process's memory");
  const Axis axes[] = {outer, {count, 1}};
  return static_cast<const double*>(locate(n.env(), name, view, 0, axes, sizeof(double)).data);
}

Request readRotary(Napi::Env env, const Napi::Value& numbers, const Napi::Value& objects) {
  const Numbers n(env, numbers, size_t(Field::count));
  const auto count = [&](Field f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); };
  Request request;
  RotaryProblem p;
  request.device = size_t(count(Field::device, 0));
  p.batch = count(Field::batch, 0);
  p.tokens = count(Field::tokens, 0);
  p.heads = count(Field::heads, 1);
  p.headDim = count(Field::headDim, 1);
  p.pairs = count(Field::pairs, 1);
  if (2 * int64_t(p.pairs) > p.headDim) refuse(env, "a row has fewer dims than its pairs");
  p.isInterleaved = n.whole(size_t(Field::isInterleaved), "isInterleaved", 0, 1) == 1;
  p.dtype = n.type(size_t(Field::type));
  p.factor = n.at(size_t(Field::factor));
  const Views views(env, objects, request);
  const auto operand = [&](const char* name, Field base, Slot slot) {
    return readOperand(n, name, size_t(base), views.at(slot), p.batch, p.tokens, p.heads, p.headDim, p.dtype);
  };
  p.in = operand("tensor", Field::inOffset, Slot::in);
  p.out = operand("out", Field::outOffset, Slot::out);
  p.positionsBatch = n.stride(size_t(Field::positionsByBatch));
  p.positions = readRows(n, "positions", views.at(Slot::positions), {p.batch, p.positionsBatch}, p.tokens);
  p.frequenciesHead = n.stride(size_t(Field::frequenciesByHead));
  p.frequencies = readRows(n, "frequencies", views.at(Slot::frequencies), {p.heads, p.frequenciesHead}, p.pairs);
  request.problem = p;
  return request;
}

}  // namespace

const Op kRotary{"rotary", kFields, kSlots, {}, {}, readRotary};

}  // namespace tilewise
