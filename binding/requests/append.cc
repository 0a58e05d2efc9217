// The request of an append. Reader: someone who adds a field.
#include "fields.h"
#include "ops.h"
#include "reading.h"

namespace tilewise {
namespace {

// clang-format off
#define TW_APPEND_FIELDS(X) \
  X(device) X(batch) X(tokens) X(heads) X(pages) X(pageSize) X(fromType) X(toType) X(keyDim) X(valueDim) \
  TW_OPERAND(X, keys) TW_OPERAND(X, values) TW_OPERAND(X, keyPages) TW_OPERAND(X, valuePages)
#define TW_APPEND_VIEWS(X) X(keys) X(values) X(keyPages) X(valuePages) X(slots)
// clang-format on

enum class Field : size_t { TW_APPEND_FIELDS(TW_ENUMERATOR) count };
enum class Slot : size_t { TW_APPEND_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(Field::count)> kFields{TW_APPEND_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(Slot::count)> kSlots{TW_APPEND_VIEWS(TW_STRING)};

struct Kind {
  Field dim, from, to;
  Slot fromView, toView;
};
constexpr Kind kKeyRows{Field::keyDim, Field::keysOffset, Field::keyPagesOffset, Slot::keys, Slot::keyPages};
constexpr Kind kValueRows{Field::valueDim, Field::valuesOffset, Field::valuePagesOffset, Slot::values,
                          Slot::valuePages};

AppendedRows readRows(const Numbers& n, const Views& views, const AppendProblem& p, const Kind& kind) {
  AppendedRows rows;
  rows.dim = n.count(size_t(kind.dim), kFields[size_t(kind.dim)]);
  if (rows.dim == 0) return rows;
  rows.from = readOperand(n, "the rows", size_t(kind.from), views.at(kind.fromView), p.batch, p.tokens, p.heads,
                          rows.dim, p.from);
  rows.to = readOperand(n, "the pages", size_t(kind.to), views.at(kind.toView), p.slots.pages, p.slots.pageSize,
                        p.heads, rows.dim, p.to);
  return rows;
}

const int32_t* readSlots(Napi::Env env, const Views& views, const AppendProblem& p) {
  const std::vector<int32_t>& slots = views.keep(views.at(Slot::slots));
  if (int64_t(slots.size()) != p.rows()) refuse(env, "one slot per row");
  const int64_t count = int64_t(p.slots.pages) * p.slots.pageSize;
  for (const int32_t slot : slots) {
    if (slot >= count) refuse(env, "slots must be less than pages * pageSize");
  }
  return slots.data();
}

Request readAppend(Napi::Env env, const Napi::Value& numbers, const Napi::Value& objects) {
  const Numbers n(env, numbers, size_t(Field::count));
  const auto count = [&](Field f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); };
  Request request;
  AppendProblem p;
  request.device = count(Field::device, 0);
  p.batch = count(Field::batch, 0);
  p.tokens = count(Field::tokens, 0);
  p.heads = count(Field::heads, 1);
  p.slots.pages = count(Field::pages, 0);
  p.slots.pageSize = count(Field::pageSize, 1);
  p.from = n.type(size_t(Field::fromType));
  p.to = n.type(size_t(Field::toType));
  const Views views(env, objects, request);
  p.keys = readRows(n, views, p, kKeyRows);
  p.values = readRows(n, views, p, kValueRows);
  p.slots.list = readSlots(env, views, p);
  request.problem = std::move(p);
  return request;
}

}  // namespace

const Op kAppend{"append", kFields, kSlots, {}, {}, readAppend};

}  // namespace tilewise
