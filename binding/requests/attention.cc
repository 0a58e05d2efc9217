// Unpacking with checks; see request.h. Reader: someone who adds a field.

#include "request.h"

#include <string>

#include "pattern.h"
#include "reading.h"

namespace tilewise {
namespace {

ScoreOperand readScores(const Numbers& numbers, const char* name, size_t base, const View& view,
                        const AttentionProblem& p, DType type, int64_t elementSize) {
  ScoreOperand operand;
  if (!view.isPresent) return operand;
  const int64_t offset = numbers.whole(base, "an offset", 0, kMaxExact);
  operand.dtype = type;
  operand.batch = numbers.stride(base + 1);
  operand.head = numbers.stride(base + 2);
  operand.query = numbers.stride(base + 3);
  operand.key = numbers.stride(base + 4);
  const Axis axes[] = {
      {p.batch, operand.batch}, {p.outputHeads(), operand.head}, {p.queries, operand.query}, {p.keys, operand.key}};
  operand.data = locate(numbers.env(), name, view, offset, axes, elementSize);
  operand.isOnDevice = view.isOnDevice();
  return operand;
}

// The four fields of an lse from `base` on: offset, then strides by batch, head, token.
struct Rows {
  Placed<float> data;
  int64_t batch, head, token;
};
Rows readRows(const Numbers& numbers, size_t base, const View& view, int64_t batch, int64_t heads, int64_t tokens) {
  const int64_t offset = numbers.whole(base, "an offset", 0, kMaxExact);
  Rows rows{{}, numbers.stride(base + 1), numbers.stride(base + 2), numbers.stride(base + 3)};
  const Axis axes[] = {{batch, rows.batch}, {heads, rows.head}, {tokens, rows.token}};
  rows.data = locate(numbers.env(), "lse", view, offset, axes, sizeof(float)).as<float>();
  return rows;
}

void requireRunningTotals(Napi::Env env, const std::vector<int32_t>& totals, int32_t sequences, Token rows) {
  if (totals.size() != size_t(sequences) + 1 || totals.front() != 0 || totals.back() > rows) {
    refuse(env, "running totals must go from 0 to the number of rows");
  }
  for (size_t i = 1; i < totals.size(); ++i) {
    if (totals[i] < totals[i - 1]) refuse(env, "running totals must not fall");
  }
}

// How keys are kept, as far as reading them needs it.
KeyStore readStore(const Numbers& n) {
  KeyStore store;
  const Token pageSize = n.count(size_t(Field::pageSize), "pageSize");
  if (pageSize == 0) return store;
  store.kind = StoreKind::paged;
  store.paged.pages = n.count(size_t(Field::pages), "pages");
  store.paged.pageSize = pageSize;
  return store;
}

void readSizes(const Numbers& n, AttentionRequest& request) {
  const auto count = [&](Field f, int32_t least) { return n.count(size_t(f), kFieldNames[size_t(f)], least); };
  AttentionProblem& p = request.problem;
  request.device = count(Field::device, 0);
  p.batch = count(Field::batch, 0);
  p.queryHeads = count(Field::queryHeads, 1);
  p.kvHeads = count(Field::kvHeads, 1);
  p.queries = count(Field::queries, 0);
  p.keys = count(Field::keys, 0);
  p.headDim = count(Field::headDim, 1);
  p.valueDim = count(Field::valueDim, 1);
  p.dtype = n.type(size_t(Field::type));
  p.sequences = count(Field::sequences, 0);
  p.scale = static_cast<float>(n.at(size_t(Field::scale)));
  p.softcap = static_cast<float>(n.at(size_t(Field::softcap)));
  p.window.left = count(Field::left, 0);
  p.window.right = count(Field::right, 0);
  p.window.sinkTokens = count(Field::sinkTokens, 0);
  p.window.align = static_cast<Align>(n.whole(size_t(Field::align), "align", 0, int32_t(Align::explicitOffset)));
  p.window.offset = count(Field::alignOffset, -kMaxTokens);
  p.pairing = static_cast<Pairing>(n.whole(size_t(Field::pairing), "pairing", 0, int32_t(Pairing::interleave)));
  p.store = readStore(n);
  readPattern(n, request);
}

// The page table, once lengths are known: entries of pages in use must name pages, the others may be anything.
void readPageTable(const Views& views, Napi::Env env, AttentionRequest& request) {
  AttentionProblem& p = request.problem;
  PagedKeys& paged = p.store.paged;
  request.pageTable = copyOf(env, views.at(Slot::pageTable));
  const std::vector<int32_t>& table = request.pageTable;
  const int64_t perSequence = p.keys / paged.pageSize;
  if (p.keys % paged.pageSize != 0 || !p.keyLengths || int64_t(table.size()) != p.batch * perSequence) {
    refuse(env, "pages need lengths, and a table with a row of them for each batch entry");
  }
  for (int32_t b = 0; b < p.batch; ++b) {
    for (int64_t i = 0; i < ceilDiv<int64_t>(p.keyLengths[b], paged.pageSize); ++i) {
      const int32_t page = table[size_t(b * perSequence + i)];
      if (page < 0 || page >= paged.pages) refuse(env, "the page table names a page that does not exist");
    }
  }
  paged.table = table.data();
  paged.tableBatch = perSequence;
}

}  // namespace

AttentionRequest readShape(const Napi::CallbackInfo& info) {
  AttentionRequest request;
  const Numbers n(info, size_t(Field::count));
  readSizes(n, request);
  if (request.problem.pattern == PatternKind::blocks) {
    readPatternViews(n, Views(info, size_t(Slot::count), request.device, request.held), request);
  }
  if (request.problem.sequences != request.problem.batch) refuse(info.Env(), "one sequence per batch entry");
  return request;
}

AttentionRequest readAttention(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Numbers n(info, size_t(Field::count));
  AttentionRequest request;
  readSizes(n, request);
  const Views views(info, size_t(Slot::count), request.device, request.held);
  AttentionProblem& p = request.problem;
  const int32_t heads = p.outputHeads();
  if (heads % p.queryHeads != 0 || heads % p.kvHeads != 0) refuse(env, "the numbers of heads must divide");

  const auto operand = [&](const char* name, Field base, Slot slot, int64_t tokens, int64_t count, int64_t dim) {
    return readOperand(n, name, size_t(base), views.at(slot), p.batch, tokens, count, dim, p.dtype);
  };
  p.query = operand("q", Field::queryOffset, Slot::query, p.queries, p.queryHeads, p.headDim);
  const KeyStore::Shape stored = p.store.shape(p.batch, p.keys);
  const auto ofKeys = [&](const char* name, Field base, Slot slot, int64_t dim) {
    return readOperand(n, name, size_t(base), views.at(slot), stored.batch, stored.tokens, p.kvHeads, dim, p.dtype);
  };
  p.key = ofKeys("k", Field::keyOffset, Slot::key, p.headDim);
  p.value = ofKeys("v", Field::valueOffset, Slot::value, p.valueDim);
  p.out = operand("out", Field::outOffset, Slot::out, p.queries, heads, p.valueDim);
  p.extraKeys = n.count(size_t(Field::extraKeys), "extraKeys");
  p.extraKey = operand("extraKeys", Field::extraKeyOffset, Slot::extraKey, p.extraKeys, p.kvHeads, p.headDim);
  p.extraValue = operand("extraValues", Field::extraValueOffset, Slot::extraValue, p.extraKeys, p.kvHeads, p.valueDim);
  if (const View lse = views.at(Slot::lse); lse.isPresent) {
    const Rows rows = readRows(n, size_t(Field::lseOffset), lse, p.batch, heads, p.queries);
    p.lse = rows.data;
    p.lseBatch = rows.batch;
    p.lseHead = rows.head;
    p.lseToken = rows.token;
  }

  const DType biasType = n.type(size_t(Field::biasType));
  p.bias = readScores(n, "bias", size_t(Field::biasOffset), views.at(Slot::bias), p, biasType, sizeOf(biasType));
  p.mask = readScores(n, "mask", size_t(Field::maskOffset), views.at(Slot::mask), p, DType::float32, 1);
  if (const View slopes = views.at(Slot::slopes); slopes.isPresent) {
    p.slopesBatch = n.stride(size_t(Field::slopesByBatch));
    p.slopesHead = n.stride(size_t(Field::slopesByHead));
    const Axis axes[] = {{p.batch, p.slopesBatch}, {heads, p.slopesHead}};
    const int64_t offset = n.whole(size_t(Field::slopesOffset), "an offset", 0, kMaxExact);
    p.slopes = locate(env, "alibiSlopes", slopes, offset, axes, sizeof(float)).as<const float>();
  }
  if (const View sinks = views.at(Slot::sinks); sinks.isPresent) {
    p.sinksHead = n.stride(size_t(Field::sinksByHead));
    const Axis axes[] = {{heads, p.sinksHead}};
    const int64_t offset = n.whole(size_t(Field::sinksOffset), "an offset", 0, kMaxExact);
    p.sinks = locate(env, "sinks", sinks, offset, axes, sizeof(float)).as<const float>();
  }

  readPatternViews(n, views, request);

  if (const View cuQueries = views.at(Slot::cuSeqlensQ); cuQueries.isPresent) {
    if (p.batch != 1) refuse(env, "packed sequences have a batch of 1");
    request.cuQueries = copyOf(env, cuQueries);
    request.cuKeys = copyOf(env, views.at(Slot::cuSeqlensK));
    requireRunningTotals(env, request.cuQueries, p.sequences, p.queries);
    requireRunningTotals(env, request.cuKeys, p.sequences, p.keys);
    p.cuQueries = request.cuQueries.data();
    p.cuKeys = request.cuKeys.data();
  } else {
    if (p.sequences != p.batch) refuse(env, "one sequence per batch entry");
    if (const View keyLengths = views.at(Slot::keyLengths); keyLengths.isPresent) {
      request.keyLengths = copyOf(env, keyLengths);
      if (request.keyLengths.size() != size_t(p.batch)) refuse(env, "one key length per batch entry");
      for (int32_t length : request.keyLengths) {
        if (length < 0 || length > p.keys) refuse(env, "key lengths must be from 0 to the number of keys");
      }
      p.keyLengths = request.keyLengths.data();
    }
  }
  if (p.pattern == PatternKind::neighborhood && (p.cuQueries || p.keyLengths)) refuse(env, "a grid is one sequence");
  if (!p.store.isDense()) readPageTable(views, env, request);
  if (p.pattern == PatternKind::blocks && p.cuQueries) refuse(env, "lists are for one sequence per batch entry");
  return request;
}

MergeRequest readMerge(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  constexpr size_t head = size_t(MergeField::count), perPart = size_t(MergePartField::count);
  const Numbers n(info, head);
  const auto count = [&](MergeField f, int32_t least) {
    return n.count(size_t(f), kMergeFieldNames[size_t(f)], least);
  };
  MergeRequest request;
  MergeProblem& p = request.problem;
  request.device = count(MergeField::device, 0);
  p.batch = count(MergeField::batch, 0);
  p.heads = count(MergeField::heads, 1);
  p.queries = count(MergeField::queries, 0);
  p.valueDim = count(MergeField::valueDim, 1);
  p.dtype = n.type(size_t(MergeField::type));
  const size_t parts = count(MergeField::parts, 1);
  if (n.size() < head + parts * perPart) refuse(env, "the request lacks fields");
  const Views views(info, 2 * (1 + parts), request.device, request.held);

  const auto operand = [&](const char* name, size_t base, size_t slot) {
    return readOperand(n, name, base, views.at(slot), p.batch, p.queries, p.heads, p.valueDim, p.dtype);
  };
  const auto rows = [&](size_t base, size_t slot) {
    return readRows(n, base, views.at(slot), p.batch, p.heads, p.queries);
  };
  p.out = operand("out", size_t(MergeField::outOffset), 0);
  const Rows lse = rows(size_t(MergeField::lseOffset), 1);
  p.lse = lse.data;
  p.lseBatch = lse.batch;
  p.lseHead = lse.head;
  p.lseToken = lse.token;
  p.parts.reserve(parts);
  for (size_t i = 0; i < parts; ++i) {
    const size_t base = head + i * perPart, slot = 2 * (1 + i);
    MergePart part;
    part.out = operand("a part's out", base + size_t(MergePartField::outOffset), slot);
    const Rows partLse = rows(base + size_t(MergePartField::lseOffset), slot + 1);
    part.lse = partLse.data.as<const float>();
    part.lseBatch = partLse.batch;
    part.lseHead = partLse.head;
    part.lseToken = partLse.token;
    p.parts.push_back(part);
  }
  return request;
}

void refuseResizable(const Napi::Env& env, const Napi::Value& views) {
  const Napi::Array array = views.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value view = array.Get(i);
    if (!view.IsObject()) continue;
    const Napi::Value buffer = view.As<Napi::Object>().Get("buffer");
    if (buffer.IsObject() && buffer.As<Napi::Object>().Get("resizable").ToBoolean()) {
      refuse(env, "a view lies in a resizable buffer");
    }
  }
}

}  // namespace tilewise
