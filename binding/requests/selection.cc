// The request of a selection. Reader: someone who adds a field.
#include "fields.h"
#include "ops.h"
#include "plan.h"
#include "reading.h"
#include "store.h"

namespace tilewise {
namespace {

// These fields and views once, then the stage's for every stage.
// clang-format off
#define TW_SELECTION_FIELDS(X)                                                                          \
  X(device) X(batch) X(queryHeads) X(kvHeads) X(queries) X(keys) X(headDim) X(type) X(keyType) X(pairing)          \
  TW_OPERAND(X, query) TW_OPERAND(X, key) X(pages) X(pageSize) X(sink) X(window) X(headsPerList) X(method) X(strideKeys) \
  X(firstStage) X(stages)
#define TW_SELECTION_VIEWS(X) X(query) X(key) X(keyLengths) X(pageTable)
#define TW_STAGE_FIELDS(X) X(blockQueries) X(strideQueries) X(chunk) X(keep)
#define TW_STAGE_VIEWS(X) X(starts) X(counts)
// clang-format on

enum class Field : size_t { TW_SELECTION_FIELDS(TW_ENUMERATOR) count };
enum class Slot : size_t { TW_SELECTION_VIEWS(TW_ENUMERATOR) count };
enum class StageField : size_t { TW_STAGE_FIELDS(TW_ENUMERATOR) count };
enum class StageSlot : size_t { TW_STAGE_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(Field::count)> kFields{TW_SELECTION_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(Slot::count)> kSlots{TW_SELECTION_VIEWS(TW_STRING)};
constexpr std::array<const char*, size_t(StageField::count)> kStageFields{TW_STAGE_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(StageSlot::count)> kStageSlots{TW_STAGE_VIEWS(TW_STRING)};

// A stage's lists, one after the other from the start of its views.
Placed<int32_t> readLists(Napi::Env env, const char* name, const View& view, const SelectionProblem& p, int32_t s,
                          int64_t each) {
  if (reinterpret_cast<uintptr_t>(view.data) % sizeof(int32_t) != 0) refuse(env, std::string(name) + " is not aligned");
  const int64_t room = view.bytes / int64_t(sizeof(int32_t)), blocks = p.blocks(s);
  if (blocks > 0 && p.batch > room / each / blocks / p.lists()) {
    refuse(env, std::string(name) + " has too little room for its lists");
  }
  return {reinterpret_cast<int32_t*>(view.data), view.isOnDevice()};
}

void readStage(const Numbers& n, SelectionProblem& p, int32_t s) {
  SelectionStage& stage = p.stage[s];
  const size_t base = size_t(Field::count) + size_t(s) * size_t(StageField::count);
  const auto count = [&](StageField f) { return n.count(base + size_t(f), kStageFields[size_t(f)], 1); };
  stage.blockQueries = count(StageField::blockQueries);
  stage.strideQueries = count(StageField::strideQueries);
  stage.chunk = count(StageField::chunk);
  stage.keep = count(StageField::keep);
  if (s > 0) {
    const SelectionStage& before = p.stage[s - 1];
    if (before.blockQueries % stage.blockQueries != 0 || before.chunk % stage.chunk != 0) {
      refuse(n.env(), "a stage's chunk and block of queries must divide those of the stage before");
    }
  }
}

void readStageLists(const Views& views, Napi::Env env, SelectionProblem& p, int32_t s) {
  if (s < p.firstStage - 1) return;  // neither read nor written
  SelectionStage& stage = p.stage[s];
  const size_t slot = size_t(Slot::count) + size_t(s) * size_t(StageSlot::count);
  const View starts = views.at(slot + size_t(StageSlot::starts));
  const View counts = views.at(slot + size_t(StageSlot::counts));
  stage.starts = readLists(env, "starts", starts, p, s, stage.keep);
  stage.counts = readLists(env, "counts", counts, p, s, 1);
}

// Everything but operands and lists.
SelectionProblem readSizes(const Numbers& n) {
  const auto count = [&](Field f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); };
  SelectionProblem p;
  p.batch = count(Field::batch, 0);
  p.queryHeads = count(Field::queryHeads, 1);
  p.kvHeads = count(Field::kvHeads, 1);
  p.queries = count(Field::queries, 0);
  p.keys = count(Field::keys, 0);
  p.headDim = count(Field::headDim, 1);
  p.dtype = n.type(size_t(Field::type));
  p.keyType = readKeyType(n, size_t(Field::keyType), p.dtype);
  p.pairing = static_cast<Pairing>(n.whole(size_t(Field::pairing), "pairing", 0, int32_t(Pairing::interleave)));
  p.store = readStore(n, size_t(Field::pages), size_t(Field::pageSize));
  p.sink = count(Field::sink, 0);
  p.window = count(Field::window, 1);
  p.headsPerList = count(Field::headsPerList, 1);
  p.method = static_cast<SelectionMethod>(n.whole(size_t(Field::method), "method", 0, int32_t(SelectionMethod::tree)));
  p.strideKeys = count(Field::strideKeys, 1);
  p.stages = int32_t(n.whole(size_t(Field::stages), "stages", 1, kMaxSelectionStages));
  p.firstStage = int32_t(n.whole(size_t(Field::firstStage), "firstStage", 0, p.stages));
  const int32_t heads = p.outputHeads();
  if (heads % p.queryHeads != 0 || heads % p.kvHeads != 0 || heads % p.headsPerList != 0) {
    refuse(n.env(), "the numbers of heads must divide");
  }
  if (p.method == SelectionMethod::tree && p.stages != 1) refuse(n.env(), "a tree has one stage");
  if (n.size() < size_t(Field::count) + size_t(p.stages) * size_t(StageField::count)) {
    refuse(n.env(), "the request lacks fields");
  }
  for (int32_t s = 0; s < p.stages; ++s) readStage(n, p, s);
  return p;
}

Request readSelection(Napi::Env env, const Napi::Value& numbers, const Napi::Value& objects) {
  const Numbers n(env, numbers, size_t(Field::count));
  Request request;
  request.device = size_t(n.count(size_t(Field::device), "device"));
  SelectionProblem p = readSizes(n);
  const Views views(env, objects, request);
  p.query = readOperand(n, "q", size_t(Field::queryOffset), views.at(Slot::query), p.batch, p.queries, p.queryHeads,
                        p.headDim, p.dtype);
  const KeyStore::Shape stored = p.store.shape(p.batch, p.keys);
  p.key = readOperand(n, "k", size_t(Field::keyOffset), views.at(Slot::key), stored.batch, stored.tokens, p.kvHeads,
                      p.headDim, p.keyType);
  for (int32_t s = 0; s < p.stages; ++s) readStageLists(views, env, p, s);
  p.keyLengths = readKeyLengths(env, views, views.at(Slot::keyLengths), p.batch, p.keys);
  readPageTable(views, env, views.at(Slot::pageTable), {nullptr, p.keyLengths}, p.batch, p.keys, p.store);
  request.problem = p;
  return request;
}

}  // namespace

const Op kSelection{"selection", kFields, kSlots, kStageFields, kStageSlots, readSelection};

SelectionProblem readSelectionShape(Napi::Env env, const Napi::Value& numbers) {
  return readSizes(Numbers(env, numbers, kFields.size()));
}

}  // namespace tilewise
