// StatsProblem: numbers about the attention matrix P = exp(S - lse), S = scale q.k, that are found without storing it.
// Causal: query i is at position i + keys - queries and sees the keys up to it. All results are row-major; what a query
// does not see counts as probability 0 and score -inf. Reader: backend authors. Uses: DELTA (arXiv 2510.09883),
// MInference (2407.02490), SnapKV (2404.14469), pointer networks (1506.03134), retrieval heads (2404.15574).
#pragma once

#include <memory>

#include "../base/box.h"
#include "../base/dtype.h"
#include "../base/operand.h"
#include "../base/placed.h"
#include "../store/key_store.h"

namespace tilewise {

// Elements of a row, at most.
constexpr int32_t kMostStatsDim = 8192;

// Sums of the groups of queries that work items share a problem by. Filled by the backend that runs the call.
struct StatsParts {
  std::unique_ptr<float[]> columns, maxima, diagonals;
};

// Plain data: kernels get it as it is.
struct StatsCall {
  int32_t batch = 0, queryHeads = 0, kvHeads = 0;  // query head h reads KV head h * kvHeads / queryHeads
  Token queries = 0, keys = 0;
  int32_t headDim = 0;
  DType dtype = DType::float32, keyType = DType::float32;
  bool isCausal = false;
  float scale = 1;
  Operand query, key;
  KeyStore store;  // where the rows of key are
  const int32_t* keyLengths = nullptr;  // [batch] keys in use; null: all
  Placed<const float> givenLse = nullptr;  // [batch][queryHeads][queries]; null: computed

  // Results; null: not wanted.
  Placed<float> lse = nullptr;  // [batch][queryHeads][queries]
  int32_t topK = 0;
  Placed<int32_t> topIndices = nullptr;  // [batch][queryHeads][queries][topK], falling; -1 where a row sees fewer
  Placed<float> topProbs = nullptr;
  Placed<float> keySum = nullptr;  // [batch][keys], over heads and queries
  Placed<float> keySumOverQueries = nullptr;  // [batch][queryHeads][keys]
  Placed<float> keyMaxOverHeads = nullptr;  // [batch][keys], over heads and queries
  Token blockQueries = 1, blockKeys = 1;
  Placed<float> blockSum = nullptr;  // [batch][queryHeads][blocks of queries][blocks of keys]
  Placed<float> diagSum = nullptr;  // [batch][queryHeads][keys], by the distance of a key in front of its query
  Placed<float> probs = nullptr;  // [batch][queryHeads][queries][keys]
  Placed<float> scores = nullptr;

  bool isEmpty() const { return batch == 0 || queries == 0; }
  TW_HOST_DEVICE int32_t headsPerKey() const { return queryHeads / kvHeads; }
  TW_HOST_DEVICE Token keysOf(int64_t b) const { return keyLengths ? keyLengths[b] : keys; }
  TW_HOST_DEVICE StoredRows keyRowsOf(int64_t b, int64_t kvHead) const { return store.rowsOf(key, b, 0, kvHead); }
  TW_HOST_DEVICE int64_t rowAt(int64_t b, int64_t head, int64_t query) const {
    return (b * queryHeads + head) * queries + query;
  }
  // Keys that a query sees: [0, n).
  TW_HOST_DEVICE Token seenBy(int64_t b, Token query) const {
    const Token used = keysOf(b);
    return isCausal ? clamp<Token>(query + used - queries + 1, 0, used) : used;
  }
  TW_HOST_DEVICE Token queryBlocks() const { return ceilDiv(queries, blockQueries); }
  TW_HOST_DEVICE Token keyBlocks() const { return ceilDiv(keys, blockKeys); }
  // Whether probabilities are wanted, and not scores alone.
  bool needsProbs() const { return lse || topIndices || needsSums(); }
  // Whether probabilities are read once the lse of their row is known.
  bool needsSums() const { return keySum || keySumOverQueries || keyMaxOverHeads || blockSum || diagSum || probs; }
};

struct StatsProblem : StatsCall {
  std::shared_ptr<StatsParts> parts = std::make_shared<StatsParts>();
};

}  // namespace tilewise
