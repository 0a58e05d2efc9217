// The request of summaries of keys. Reader: someone who adds a field.
#include "fields.h"
#include "ops.h"
#include "reading.h"

namespace tilewise {
namespace {

// clang-format off
#define TW_SUMMARY_FIELDS(X) \
  X(device) X(batch) X(heads) X(tokens) X(headDim) X(type) X(rows) TW_OPERAND(X, key)
#define TW_SUMMARY_VIEWS(X) X(key) X(runs) X(bounds) X(means)
// clang-format on

enum class Field : size_t { TW_SUMMARY_FIELDS(TW_ENUMERATOR) count };
enum class Slot : size_t { TW_SUMMARY_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(Field::count)> kFields{TW_SUMMARY_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(Slot::count)> kSlots{TW_SUMMARY_VIEWS(TW_STRING)};

// [batch, first key, keys, row] of every run.
void readRuns(Napi::Env env, const Views& views, SummaryProblem& p) {
  const std::vector<int32_t>& list = views.keep(views.at(Slot::runs));
  static_assert(sizeof(SummaryRun) == 4 * sizeof(int32_t), "runs cross as they are");
  if (list.size() % 4 != 0) refuse(env, "runs have four numbers each");
  p.runs = reinterpret_cast<const SummaryRun*>(list.data());
  p.runCount = int64_t(list.size() / 4);
  std::vector<bool> isTaken(size_t(p.rows), false);
  for (int64_t i = 0; i < p.runCount; ++i) {
    const SummaryRun& run = p.runs[i];
    const bool isInside =
        run.batch >= 0 && run.batch < p.batch && run.first >= 0 && run.count >= 1 && run.first <= p.tokens - run.count;
    if (!isInside || run.row < 0 || run.row >= p.rows) refuse(env, "a run is outside its keys or rows");
    if (isTaken[size_t(run.row)]) refuse(env, "two runs have one row");
    isTaken[size_t(run.row)] = true;
  }
}

Placed<void> readRows(Napi::Env env, const char* name, const View& view, const SummaryProblem& p, int64_t columns,
                      int64_t bytes) {
  if (!view.isPresent) return {};
  const Axis axes[] = {{p.rows, p.heads * columns}, {p.heads, columns}, {columns, 1}};
  return locate(env, name, view, 0, axes, bytes);
}

Request readSummary(Napi::Env env, const Napi::Value& numbers, const Napi::Value& objects) {
  const Numbers n(env, numbers, size_t(Field::count));
  const auto count = [&](Field f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); };
  Request request;
  SummaryProblem p;
  request.device = size_t(count(Field::device, 0));
  p.batch = count(Field::batch, 0);
  p.heads = count(Field::heads, 1);
  p.tokens = count(Field::tokens, 0);
  p.headDim = count(Field::headDim, 1);
  p.type = n.type(size_t(Field::type));
  p.rows = count(Field::rows, 0);
  const Views views(env, objects, request);
  p.key =
      readOperand(n, "k", size_t(Field::keyOffset), views.at(Slot::key), p.batch, p.tokens, p.heads, p.headDim, p.type);
  readRuns(env, views, p);
  p.bounds = readRows(env, "bounds", views.at(Slot::bounds), p, 2 * int64_t(p.headDim), sizeOf(p.type));
  p.means = readRows(env, "means", views.at(Slot::means), p, p.headDim, sizeof(float)).as<float>();
  request.problem = std::move(p);
  return request;
}

}  // namespace

const Op kSummary{"summary", kFields, kSlots, {}, {}, readSummary};

}  // namespace tilewise
