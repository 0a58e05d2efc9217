// The request of codes: rows on pages that become codes, and blocks of codes that lose bits. Reader: someone who adds a
// field.
#include "fields.h"
#include "ops.h"
#include "reading.h"

namespace tilewise {
namespace {

// clang-format off
#define TW_ENCODE_FIELDS(X) \
  X(device) X(heads) X(pages) X(pageSize) X(type) X(isSymmetric) X(blockTokens) \
  X(keyAxis) X(keyDim) X(keyGroup) X(keyBits) X(wideKeyBits) X(valueDim) X(valueGroup) X(valueBits) X(wideValueBits) \
  TW_OPERAND(X, keys) TW_OPERAND(X, values)
#define TW_ENCODE_VIEWS(X) X(blocks) X(keys) X(values) X(slots) X(keyRuns) X(valueRuns) X(wide) X(narrowed)
// clang-format on

enum class Field : size_t { TW_ENCODE_FIELDS(TW_ENUMERATOR) count };
enum class Slot : size_t { TW_ENCODE_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(Field::count)> kFields{TW_ENCODE_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(Slot::count)> kSlots{TW_ENCODE_VIEWS(TW_STRING)};

struct Kind {
  Field dim, group, bits, wideBits, operand;
  Slot rows, runs;
};
constexpr Kind kKeyKind{Field::keyDim,     Field::keyGroup, Field::keyBits, Field::wideKeyBits,
                        Field::keysOffset, Slot::keys,      Slot::keyRuns};
constexpr Kind kValueKind{Field::valueDim,     Field::valueGroup, Field::valueBits, Field::wideValueBits,
                          Field::valuesOffset, Slot::values,      Slot::valueRuns};

int32_t countOf(const Numbers& n, Field f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); }

CodeForm readForm(const Numbers& n, const Kind& kind, Field bits, CodeAxis axis, Token tokens) {
  CodeForm form;
  form.axis = axis;
  form.tokens = tokens;
  form.dim = countOf(n, kind.dim, 0);
  form.bits = countOf(n, bits, 2);
  form.group = countOf(n, kind.group, 1);
  if (form.bits != 2 && form.bits != 4 && form.bits != 8) refuse(n.env(), "codes have 2, 4 or 8 bits");
  if ((axis == CodeAxis::channel ? tokens : form.dim) % form.group != 0)
    refuse(n.env(), "groups must divide what they are of");
  form.layOut();
  return form;
}

// As many blocks as the memory has.
void readBlocks(Napi::Env env, const View& view, int32_t heads, CodeBlocks& blocks) {
  if (!view.isPresent) refuse(env, "codes need blocks");
  if (view.isDetached) refuseGone(env, "codes");
  if (reinterpret_cast<uintptr_t>(view.data) % sizeof(float) != 0) refuse(env, "codes are not aligned");
  blocks.count = int32_t(smaller<int64_t>(kMaxTokens, view.bytes / larger<int64_t>(1, blocks.headBytes() * heads)));
  blocks.data = {reinterpret_cast<uint8_t*>(view.data), view.isOnDevice()};
}

const EncodedRun* readRuns(Napi::Env env, const Views& views, Slot slot, const CodeForm& form, const EncodeProblem& p,
                           int64_t& count) {
  const std::vector<int32_t>& list = views.keep(views.at(slot));
  static_assert(sizeof(EncodedRun) == 4 * sizeof(int32_t), "runs cross as they are");
  if (list.size() % 4 != 0) refuse(env, "runs have four numbers each");
  if (!list.empty() && form.dim == 0) refuse(env, "there are no rows of this kind");
  const auto* const runs = reinterpret_cast<const EncodedRun*>(list.data());
  count = int64_t(list.size() / 4);
  for (int64_t i = 0; i < count; ++i) {
    const EncodedRun& run = runs[i];
    const bool isInside = run.block >= 0 && run.block < p.to.count && run.first >= 0 && run.count >= 1 &&
                          run.first <= form.tokens - run.count && run.slot >= 0 && run.slot <= p.slotCount - run.count;
    if (!isInside) refuse(env, "a run is outside its blocks or slots");
    if (form.axis == CodeAxis::channel && (run.first % form.group != 0 || run.count % form.group != 0))
      refuse(env, "runs of codes per channel must be whole groups");
  }
  return runs;
}

void readSlots(Napi::Env env, const Views& views, EncodeProblem& p) {
  const std::vector<int32_t>& slots = views.keep(views.at(Slot::slots));
  const int64_t count = int64_t(p.slots.pages) * p.slots.pageSize;
  for (const int32_t slot : slots) {
    if (slot < 0 || slot >= count) refuse(env, "slots must be from 0 to less than pages * pageSize");
  }
  p.slots.list = slots.data();
  p.slotCount = int64_t(slots.size());
}

void readNarrowed(const Numbers& n, const Views& views, CodeAxis axis, EncodeProblem& p) {
  const Napi::Env env = n.env();
  const std::vector<int32_t>& list = views.keep(views.at(Slot::narrowed));
  if (list.empty()) return;
  static_assert(sizeof(NarrowedBlock) == 2 * sizeof(int32_t), "pairs cross as they are");
  if (list.size() % 2 != 0) refuse(env, "moves have two numbers each");
  p.wide.keys = readForm(n, kKeyKind, Field::wideKeyBits, axis, p.to.keys.tokens);
  p.wide.values = readForm(n, kValueKind, Field::wideValueBits, CodeAxis::token, p.to.keys.tokens);
  if (p.wide.keys.bits < p.to.keys.bits || p.wide.values.bits < p.to.values.bits) refuse(env, "codes gain no bits");
  readBlocks(env, views.at(Slot::wide), p.heads, p.wide);
  p.narrowed = reinterpret_cast<const NarrowedBlock*>(list.data());
  p.narrowedCount = int64_t(list.size() / 2);
  for (int64_t i = 0; i < p.narrowedCount; ++i) {
    const NarrowedBlock& block = p.narrowed[i];
    if (block.from < 0 || block.from >= p.wide.count || block.to < 0 || block.to >= p.to.count)
      refuse(env, "a block that does not exist changes its tier");
  }
}

Operand readRows(const Numbers& n, const Views& views, const Kind& kind, const CodeForm& form, const EncodeProblem& p) {
  if (form.dim == 0 || p.slotCount == 0) return {};
  return readOperand(n, "the rows", size_t(kind.operand), views.at(kind.rows), p.slots.pages, p.slots.pageSize, p.heads,
                     form.dim, p.type);
}

Request readEncode(Napi::Env env, const Napi::Value& numbers, const Napi::Value& objects) {
  const Numbers n(env, numbers, size_t(Field::count));
  Request request;
  EncodeProblem p;
  request.device = size_t(countOf(n, Field::device, 0));
  p.heads = countOf(n, Field::heads, 1);
  p.slots.pages = countOf(n, Field::pages, 0);
  p.slots.pageSize = countOf(n, Field::pageSize, 1);
  p.type = n.type(size_t(Field::type));
  p.isSymmetric = n.whole(size_t(Field::isSymmetric), "isSymmetric", 0, 1) == 1;
  const Token tokens = countOf(n, Field::blockTokens, 1);
  const auto axis = static_cast<CodeAxis>(n.whole(size_t(Field::keyAxis), "an axis", 0, int32_t(kLastCodeAxis)));
  p.to.keys = readForm(n, kKeyKind, Field::keyBits, axis, tokens);
  p.to.values = readForm(n, kValueKind, Field::valueBits, CodeAxis::token, tokens);
  if (p.isSymmetric && (axis != CodeAxis::token || p.to.keys.bits != 8 || p.to.values.bits != 8))
    refuse(env, "symmetric codes are per token, of 8 bits");
  const Views views(env, objects, request);
  readBlocks(env, views.at(Slot::blocks), p.heads, p.to);
  readSlots(env, views, p);
  p.keys = readRows(n, views, kKeyKind, p.to.keys, p);
  p.values = readRows(n, views, kValueKind, p.to.values, p);
  p.keyRuns = readRuns(env, views, Slot::keyRuns, p.to.keys, p, p.keyRunCount);
  p.valueRuns = readRuns(env, views, Slot::valueRuns, p.to.values, p, p.valueRunCount);
  readNarrowed(n, views, axis, p);
  request.problem = std::move(p);
  return request;
}

}  // namespace

const Op kEncode{"encode", kFields, kSlots, {}, {}, readEncode};

}  // namespace tilewise
