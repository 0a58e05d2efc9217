// The request of cumulative attention. Reader: someone who adds a field.
#include "fields.h"
#include "ops.h"
#include "plan.h"
#include "reading.h"

namespace tilewise {
namespace {

// clang-format off
#define TW_CUMULATIVE_FIELDS(X) \
  X(device) X(batch) X(tokens) X(heads) X(valueDim) X(type) \
  X(scoresOffset) X(scoresByBatch) X(scoresByToken) X(scoresByHead) \
  TW_OPERAND(X, value) TW_OPERAND(X, out) TW_ROWS(X, lse) \
  X(maxBeforeOffset) X(sumBeforeOffset) X(weightedBeforeOffset)
#define TW_CUMULATIVE_VIEWS(X) \
  X(scores) X(value) X(out) X(lse) X(maxBefore) X(sumBefore) X(weightedBefore) X(max) X(sum) X(weighted)
// clang-format on

enum class Field : size_t { TW_CUMULATIVE_FIELDS(TW_ENUMERATOR) count };
enum class Slot : size_t { TW_CUMULATIVE_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(Field::count)> kFields{TW_CUMULATIVE_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(Slot::count)> kSlots{TW_CUMULATIVE_VIEWS(TW_STRING)};

// Row-major numbers of every batch entry and head; null where the view is absent.
Placed<float> readState(const Numbers& n, const char* name, const View& view, int64_t offset,
                        const CumulativeProblem& p, int64_t each) {
  if (!view.isPresent) return {};
  const Axis axes[] = {{p.batch, p.heads * each}, {p.heads, each}, {each, 1}};
  return locate(n.env(), name, view, offset, axes, sizeof(float)).as<float>();
}

void readStates(const Numbers& n, const Views& views, CumulativeProblem& p) {
  const auto offset = [&](Field field) { return n.whole(size_t(field), "an offset", 0, kMaxExact); };
  const View before = views.at(Slot::maxBefore), after = views.at(Slot::max);
  if (before.isPresent) {
    p.before.max = readState(n, "state.max", before, offset(Field::maxBeforeOffset), p, 1).as<const float>();
    p.before.sum =
        readState(n, "state.sum", views.at(Slot::sumBefore), offset(Field::sumBeforeOffset), p, 1).as<const float>();
    p.before.weighted = readState(n, "state.weighted", views.at(Slot::weightedBefore),
                                  offset(Field::weightedBeforeOffset), p, p.valueDim)
                            .as<const float>();
    if (p.batch > 0 && (!p.before.sum || !p.before.weighted)) refuse(n.env(), "a state has three parts");
  }
  if (!after.isPresent) return;
  p.after.max = readState(n, "the new state", after, 0, p, 1);
  p.after.sum = readState(n, "the new state", views.at(Slot::sum), 0, p, 1);
  p.after.weighted = readState(n, "the new state", views.at(Slot::weighted), 0, p, p.valueDim);
  if (p.batch > 0 && (!p.after.sum || !p.after.weighted)) refuse(n.env(), "a state has three parts");
}

// All but operands and states.
CumulativeProblem readSizes(const Numbers& n) {
  const auto count = [&](Field f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); };
  CumulativeProblem p;
  p.batch = count(Field::batch, 0);
  p.tokens = count(Field::tokens, 0);
  p.heads = count(Field::heads, 1);
  p.valueDim = count(Field::valueDim, 1);
  p.dtype = n.type(size_t(Field::type));
  return p;
}

Request deviceOf(const Numbers& n) {
  Request request;
  request.device = size_t(n.count(size_t(Field::device), "device", 0));
  return request;
}

Request readCumulative(Napi::Env env, const Napi::Value& numbers, const Napi::Value& objects) {
  const Numbers n(env, numbers, size_t(Field::count));
  Request request = deviceOf(n);
  CumulativeProblem p = readSizes(n);
  const Views views(env, objects, request);
  p.scoreBatch = n.stride(size_t(Field::scoresByBatch));
  p.scoreToken = n.stride(size_t(Field::scoresByToken));
  p.scoreHead = n.stride(size_t(Field::scoresByHead));
  const Axis axes[] = {{p.batch, p.scoreBatch}, {p.tokens, p.scoreToken}, {p.heads, p.scoreHead}};
  const int64_t offset = n.whole(size_t(Field::scoresOffset), "an offset", 0, kMaxExact);
  p.scores = locate(env, "scores", views.at(Slot::scores), offset, axes, sizeof(float)).as<const float>();
  p.value = readOperand(n, "v", size_t(Field::valueOffset), views.at(Slot::value), p.batch, p.tokens, p.heads,
                        p.valueDim, p.dtype);
  p.out = readOperand(n, "out", size_t(Field::outOffset), views.at(Slot::out), p.batch, p.tokens, p.heads, p.valueDim,
                      p.dtype);
  if (const View lse = views.at(Slot::lse); lse.isPresent) {
    readLse(n, size_t(Field::lseOffset), lse, p.batch, p.heads, p.tokens, p);
  }
  readStates(n, views, p);
  request.problem = p;
  return request;
}

}  // namespace

const Op kCumulative{"cumulative", kFields, kSlots, {}, {}, readCumulative};

Request readCumulativeShape(Napi::Env env, const Napi::Value& numbers) {
  const Numbers n(env, numbers, kFields.size());
  Request request = deviceOf(n);
  request.problem = readSizes(n);
  return request;
}

}  // namespace tilewise
