// The request of statistics of attention. Reader: someone who adds a field.
#include "fields.h"
#include "ops.h"
#include "reading.h"
#include "store.h"

namespace tilewise {
namespace {

// clang-format off
#define TW_STATS_FIELDS(X) \
  X(device) X(batch) X(queryHeads) X(kvHeads) X(queries) X(keys) X(headDim) X(type) X(keyType) X(isCausal) X(scale) \
  X(topK) X(blockQueries) X(blockKeys) X(givenLseOffset) X(pages) X(pageSize) \
  TW_OPERAND(X, query) TW_OPERAND(X, key)
#define TW_STATS_VIEWS(X) \
  X(query) X(key) X(keyLengths) X(pageTable) X(givenLse) X(lse) X(topIndices) X(topProbs) X(keySum) \
  X(keySumOverQueries) X(keyMaxOverHeads) X(blockSum) X(diagSum) X(probs) X(scores)
// clang-format on

enum class Field : size_t { TW_STATS_FIELDS(TW_ENUMERATOR) count };
enum class Slot : size_t { TW_STATS_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(Field::count)> kFields{TW_STATS_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(Slot::count)> kSlots{TW_STATS_VIEWS(TW_STRING)};

// A row-major result of rows x columns from the start of its view; null where the view is absent.
template <class T>
Placed<T> readResult(Napi::Env env, const char* name, const View& view, int64_t rows, int64_t columns) {
  if (!view.isPresent) return {};
  const Axis axes[] = {{rows, columns}, {columns, 1}};
  return locate(env, name, view, 0, axes, sizeof(T)).template as<T>();
}

void readResults(const Numbers& n, const Views& views, StatsProblem& p) {
  const int64_t rows = int64_t(p.batch) * p.queryHeads * p.queries, heads = int64_t(p.batch) * p.queryHeads;
  const auto floats = [&](Slot slot, int64_t count, int64_t columns) {
    return readResult<float>(n.env(), kSlots[size_t(slot)], views.at(slot), count, columns);
  };
  p.lse = floats(Slot::lse, rows, 1);
  p.topIndices = readResult<int32_t>(n.env(), "topIndices", views.at(Slot::topIndices), rows, p.topK);
  p.topProbs = floats(Slot::topProbs, rows, p.topK);
  p.keySum = floats(Slot::keySum, p.batch, p.keys);
  p.keySumOverQueries = floats(Slot::keySumOverQueries, heads, p.keys);
  p.keyMaxOverHeads = floats(Slot::keyMaxOverHeads, p.batch, p.keys);
  p.blockSum = floats(Slot::blockSum, heads * p.queryBlocks(), p.keyBlocks());
  p.diagSum = floats(Slot::diagSum, heads, p.keys);
  p.probs = floats(Slot::probs, rows, p.keys);
  p.scores = floats(Slot::scores, rows, p.keys);
  if ((p.topIndices == nullptr) != (p.topProbs == nullptr)) refuse(n.env(), "keys and their probabilities go together");
  const View given = views.at(Slot::givenLse);
  if (!given.isPresent) return;
  const Axis axes[] = {{rows, 1}};
  const int64_t offset = n.whole(size_t(Field::givenLseOffset), "an offset", 0, kMaxExact);
  p.givenLse = locate(n.env(), "lse", given, offset, axes, sizeof(float)).as<const float>();
}

Request readStats(Napi::Env env, const Napi::Value& numbers, const Napi::Value& objects) {
  const Numbers n(env, numbers, size_t(Field::count));
  const auto count = [&](Field f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); };
  Request request;
  StatsProblem p;
  request.device = size_t(count(Field::device, 0));
  p.batch = count(Field::batch, 0);
  p.queryHeads = count(Field::queryHeads, 1);
  p.kvHeads = count(Field::kvHeads, 1);
  if (p.queryHeads % p.kvHeads != 0) refuse(env, "KV heads must divide the query heads");
  p.queries = count(Field::queries, 0);
  p.keys = count(Field::keys, 0);
  p.headDim = count(Field::headDim, 1);
  if (p.headDim > kMostStatsDim) refuse(env, "the dim is too large");
  p.dtype = n.type(size_t(Field::type));
  p.keyType = readKeyType(n, size_t(Field::keyType), p.dtype);
  p.isCausal = n.whole(size_t(Field::isCausal), "isCausal", 0, 1) == 1;
  p.scale = float(n.at(size_t(Field::scale)));
  p.topK = count(Field::topK, 0);
  p.blockQueries = count(Field::blockQueries, 1);
  p.blockKeys = count(Field::blockKeys, 1);
  p.store = readStore(n, size_t(Field::pages), size_t(Field::pageSize));
  const Views views(env, objects, request);
  p.query = readOperand(n, "q", size_t(Field::queryOffset), views.at(Slot::query), p.batch, p.queries, p.queryHeads,
                        p.headDim, p.dtype);
  const KeyStore::Shape stored = p.store.shape(p.batch, p.keys);
  p.key = readOperand(n, "k", size_t(Field::keyOffset), views.at(Slot::key), stored.batch, stored.tokens, p.kvHeads,
                      p.headDim, p.keyType);
  p.keyLengths = readKeyLengths(env, views, views.at(Slot::keyLengths), p.batch, p.keys);
  readPageTable(views, env, views.at(Slot::pageTable), {nullptr, p.keyLengths}, p.batch, p.keys, p.store);
  readResults(n, views, p);
  if (p.diagSum && !p.isCausal) refuse(env, "diagonals need an order");
  request.problem = std::move(p);
  return request;
}

}  // namespace

const Op kStats{"stats", kFields, kSlots, {}, {}, readStats};

}  // namespace tilewise
