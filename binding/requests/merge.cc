// The request of a merge. Reader: someone who adds a field.
#include "fields.h"
#include "ops.h"
#include "reading.h"

namespace tilewise {
namespace {

// These fields and views once, then the part's for every part.
// clang-format off
#define TW_MERGE_FIELDS(X) \
  X(device) X(batch) X(heads) X(queries) X(valueDim) X(type) X(parts) TW_OPERAND(X, out) TW_ROWS(X, lse) \
  X(sinksOffset) X(sinksByHead)
#define TW_MERGE_PART_FIELDS(X) TW_OPERAND(X, out) TW_ROWS(X, lse)
#define TW_MERGE_VIEWS(X) X(out) X(lse) X(sinks)
#define TW_MERGE_PART_VIEWS(X) X(out) X(lse)
// clang-format on

enum class Field : size_t { TW_MERGE_FIELDS(TW_ENUMERATOR) count };
enum class PartField : size_t { TW_MERGE_PART_FIELDS(TW_ENUMERATOR) count };
enum class Slot : size_t { TW_MERGE_VIEWS(TW_ENUMERATOR) count };
enum class PartSlot : size_t { TW_MERGE_PART_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(Field::count)> kFields{TW_MERGE_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(PartField::count)> kPartFields{TW_MERGE_PART_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(Slot::count)> kSlots{TW_MERGE_VIEWS(TW_STRING)};
constexpr std::array<const char*, size_t(PartSlot::count)> kPartSlots{TW_MERGE_PART_VIEWS(TW_STRING)};

MergePart readPart(const Numbers& n, const Views& views, const MergeProblem& p, size_t base, size_t slot) {
  MergePart part;
  part.out = readOperand(n, "a part's out", base + size_t(PartField::outOffset), views.at(slot + size_t(PartSlot::out)),
                         p.batch, p.queries, p.heads, p.valueDim, p.dtype);
  if (const View lse = views.at(slot + size_t(PartSlot::lse)); lse.isPresent) {
    readLse(n, base + size_t(PartField::lseOffset), lse, p.batch, p.heads, p.queries, part);
  }
  return part;
}

Request readMerge(Napi::Env env, const Napi::Value& numbers, const Napi::Value& objects) {
  const Numbers n(env, numbers, size_t(Field::count));
  const auto count = [&](Field f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); };
  Request request;
  MergeProblem p;
  request.device = count(Field::device, 0);
  p.batch = count(Field::batch, 0);
  p.heads = count(Field::heads, 1);
  p.queries = count(Field::queries, 0);
  p.valueDim = count(Field::valueDim, 1);
  p.dtype = n.type(size_t(Field::type));
  const size_t parts = count(Field::parts, 1);
  if (n.size() < size_t(Field::count) + parts * size_t(PartField::count)) refuse(env, "the request lacks fields");
  const Views views(env, objects, request);

  p.out = readOperand(n, "out", size_t(Field::outOffset), views.at(size_t(Slot::out)), p.batch, p.queries, p.heads,
                      p.valueDim, p.dtype);
  if (const View lse = views.at(size_t(Slot::lse)); lse.isPresent) {
    readLse(n, size_t(Field::lseOffset), lse, p.batch, p.heads, p.queries, p);
  }
  readSinks(n, size_t(Field::sinksOffset), views.at(size_t(Slot::sinks)), p.heads, p);
  p.parts.reserve(parts);
  for (size_t i = 0; i < parts; ++i) {
    const size_t base = size_t(Field::count) + i * size_t(PartField::count);
    const size_t slot = size_t(Slot::count) + i * size_t(PartSlot::count);
    p.parts.push_back(readPart(n, views, p, base, slot));
  }
  const bool haveLse = !p.parts[0].justAdds();
  for (const MergePart& part : p.parts) {
    if (part.justAdds() == haveLse) refuse(env, "parts have lse, or none has");
  }
  if (!haveLse && (p.lse || p.sinks)) refuse(env, "lse and sinks are those of softmax");
  request.problem = std::move(p);
  return request;
}

}  // namespace

const Op kMerge{"merge", kFields, kSlots, kPartFields, kPartSlots, readMerge};

}  // namespace tilewise
