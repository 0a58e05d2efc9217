// Statistics of attention on the emulated GPU against float64. Reader: someone who changes the kernels.
// Arguments: rounds, then the emulator's modes.
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "../../../cuda/operations.h"
#include "../check.h"
#include "operands.h"
#include "rounds.h"

using namespace tilewise;

namespace {

struct Case {
  StatsProblem problem;
  OwnOperand query, key;
  std::vector<int32_t> lengths, table;
  std::vector<float> givenLse;
  bool areTied = false;  // all keys are the same
  int32_t multiprocessors = 8;
  bool wantsTop = false, wantsSums = false, wantsBlocks = false, wantsDiagonals = false, wantsMatrices = false;
  std::string name;

  int64_t heads() const { return int64_t(problem.batch) * problem.queryHeads; }
  int64_t rows() const { return heads() * problem.queries; }
  // Element of key t.
  float keyOf(int32_t b, Token t, int32_t kvHead, int32_t d) const {
    const Token size = problem.store.paged.pageSize;
    if (table.empty()) return key.get(b, t, kvHead, d);
    return key.get(table[size_t(b * problem.store.paged.tableBatch + t / size)], t % size, kvHead, d);
  }
};

void placeOnPages(Case& c, Pick& pick) {
  StatsProblem& p = c.problem;
  PagedKeys& pages = p.store.paged;
  p.store.kind = StoreKind::paged;
  pages.pageSize = 1 + pick(40);
  pages.tableBatch = ceilDiv(p.keys, pages.pageSize);
  pages.pages = int32_t(pages.tableBatch) * p.batch;
  c.table.resize(size_t(pages.pages));
  std::iota(c.table.begin(), c.table.end(), 0);
  for (size_t i = c.table.size(); i > 1; --i) std::swap(c.table[i - 1], c.table[size_t(pick(int32_t(i)))]);
}

Case makeCase(uint32_t seed) {
  Case c;
  Pick pick(seed);
  StatsProblem& p = c.problem;
  const int32_t dims[] = {1, 5, 16, 64, 72, 130}, groups[] = {1, 2, 3};
  const Token tokens[] = {1, 2, 15, 63, 64, 65, 130, 200};
  p.batch = 1 + pick(2);
  p.kvHeads = 1 + pick(2);
  p.queryHeads = p.kvHeads * pick.of(groups);
  p.queries = pick.of(tokens);
  p.keys = pick.of(tokens);
  p.headDim = pick.of(dims);
  p.dtype = p.keyType = DType(pick(3));
  p.isCausal = pick(2);
  const bool isLong = seed % 8 == 7;  // groups of queries
  if (isLong) {
    p.batch = p.kvHeads = p.queryHeads = 1;
    p.queries = 600 + pick(100);
    p.keys = 40 + pick(60);
    p.headDim = 5;
  }
  const bool isSliced = seed % 40 == 22;  // scores of all rows do not fit at once
  if (isSliced) {
    p.batch = p.kvHeads = p.queryHeads = 1;
    c.multiprocessors = 1;
    p.queries = 257;
    p.keys = 17000;
    p.headDim = 1;
    p.dtype = p.keyType = DType::bfloat16;
  }
  p.scale = 0.25f * float(1 + pick(8)) / std::sqrt(float(p.headDim));
  const bool hasPages = pick(3) == 0 && !isSliced;
  if (hasPages || pick(3) == 0) {
    for (int32_t b = 0; b < p.batch; ++b) c.lengths.push_back(pick(p.keys + 1));
  }
  if (hasPages) placeOnPages(c, pick);
  c.areTied = pick(6) == 0;
  const auto number = [&] { return float(pick(2000) - 1000) / 512; };
  const KeyStore::Shape shape = p.store.shape(p.batch, p.keys);
  c.query = makeOperand(pick, {p.batch, p.queries, p.queryHeads, p.headDim}, p.dtype, false, number);
  c.key = makeOperand(pick, {int32_t(shape.batch), Token(shape.tokens), p.kvHeads, p.headDim}, p.dtype, false,
                      [&] { return c.areTied ? 0.5f : number(); });
  // Keys behind the last in use are not read.
  for (int32_t b = 0; !c.lengths.empty() && c.table.empty() && b < p.batch && c.key.operand.batch != 0; ++b)
    for (Token t = c.lengths[size_t(b)]; t < p.keys; ++t) c.key.set(c.key.at(b, t, pick(p.kvHeads), 0), NAN);
  if (pick(4) == 0) {
    for (int64_t i = 0; i < c.rows(); ++i) c.givenLse.push_back(pick(9) ? 2 + float(pick(400)) / 100 : -INFINITY);
  }
  c.wantsTop = pick(2) || isSliced;
  p.topK = c.wantsTop ? 1 + pick(pick(2) ? 4 : p.keys + 3) : 0;
  c.wantsSums = (pick(2) || isLong) && !isSliced;
  c.wantsBlocks = pick(3) == 0 && !isSliced;
  p.blockQueries = p.queries < 20 ? 1 + pick(10) : 10 + pick(100);  // small blocks of many queries take long here
  p.blockKeys = 1 + pick(pick(2) ? 200 : 20);
  c.wantsDiagonals = p.isCausal && pick(2) && !isSliced;
  c.wantsMatrices = pick(3) == 0 && !isSliced;
  c.name = "seed " + std::to_string(seed) + ": " + nameOf(p.dtype) + " queries " + std::to_string(p.queries) +
           " keys " + std::to_string(p.keys) + " dim " + std::to_string(p.headDim) + " heads " +
           std::to_string(p.queryHeads) + '/' + std::to_string(p.kvHeads) + (p.isCausal ? " causal" : "") +
           (c.lengths.empty() ? "" : " lengths") + (c.table.empty() ? "" : " pages") + (c.areTied ? " tied" : "") +
           (c.givenLse.empty() ? "" : " given lse") + " top " + std::to_string(p.topK) +
           (c.wantsBlocks ? " blocks " + std::to_string(p.blockQueries) + 'x' + std::to_string(p.blockKeys) : "");
  return c;
}

struct Result {
  std::vector<float> lse, topProbs, keySum, keySumOverQueries, keyMaxOverHeads, blockSum, diagSum, probs, scores;
  std::vector<int32_t> topIndices;
};

Result runOnDevice(const Case& c, const std::string& mode) {
  Device device(mode, {80, c.multiprocessors, 99 * 1024});
  StatsProblem p = c.problem;
  p.query = c.query.on(device.upload(c.query.bytes));
  p.key = c.key.on(device.upload(c.key.bytes));
  if (!c.lengths.empty()) p.keyLengths = device.upload(c.lengths);
  if (!c.table.empty()) p.store.paged.table = device.upload(c.table);
  if (!c.givenLse.empty()) p.givenLse = device.upload(c.givenLse);
  std::vector<std::pair<const void*, std::vector<float>*>> floats;
  Result result;
  const auto want = [&](bool isWanted, Placed<float>& to, std::vector<float>& here, int64_t count) {
    if (!isWanted) return;
    to = device.upload(std::vector<float>(size_t(count), 55.0f));
    here.resize(size_t(count));
    floats.emplace_back(to.data, &here);
  };
  const int64_t keys = int64_t(p.batch) * p.keys;
  want(c.givenLse.empty() && c.problem.queries % 2 == 0, p.lse, result.lse, c.rows());
  want(c.wantsTop, p.topProbs, result.topProbs, c.rows() * p.topK);
  if (c.wantsTop) p.topIndices = device.upload(std::vector<int32_t>(size_t(c.rows() * p.topK), 55));
  want(c.wantsSums, p.keySum, result.keySum, keys);
  want(c.wantsSums, p.keySumOverQueries, result.keySumOverQueries, c.heads() * p.keys);
  want(c.wantsSums, p.keyMaxOverHeads, result.keyMaxOverHeads, keys);
  want(c.wantsBlocks, p.blockSum, result.blockSum, c.heads() * p.queryBlocks() * p.keyBlocks());
  want(c.wantsDiagonals, p.diagSum, result.diagSum, c.heads() * p.keys);
  want(c.wantsMatrices, p.probs, result.probs, c.rows() * p.keys);
  want(c.wantsMatrices, p.scores, result.scores, c.rows() * p.keys);
  cuda::run(p, device.limits(), device.queue(), CancelFlag{false});
  for (const auto& [from, to] : floats) *to = device.download(static_cast<const float*>(from), to->size());
  if (c.wantsTop) result.topIndices = device.download(p.topIndices.data, size_t(c.rows() * p.topK));
  return result;
}

// Everything in float64, row by row.
class Reference {
 public:
  Reference(const Case& c, const Result& got) : c_(c), p_(c.problem), got_(got) {
    const size_t keys = size_t(p_.batch) * size_t(p_.keys), rows = size_t(c.heads()) * size_t(p_.keys);
    keySum_.resize(keys);
    most_.resize(keys);
    keySumOverQueries_.resize(rows);
    diagSum_.resize(rows);
    blockSum_.resize(size_t(c.heads()) * size_t(p_.queryBlocks()) * size_t(p_.keyBlocks()));
  }

  void check() {
    for (int32_t b = 0; b < p_.batch; ++b)
      for (int32_t h = 0; h < p_.queryHeads; ++h)
        for (Token q = 0; q < p_.queries; ++q) checkRow(b, h, q);
    expectAll(got_.keySum, keySum_, "keySum");
    expectAll(got_.keySumOverQueries, keySumOverQueries_, "keySumOverQueries");
    expectAll(got_.keyMaxOverHeads, most_, "keyMaxOverHeads");
    expectAll(got_.blockSum, blockSum_, "blockSum");
    expectAll(got_.diagSum, diagSum_, "diagSum");
  }

 private:
  void checkRow(int32_t b, int32_t h, Token q) {
    const Token used = c_.lengths.empty() ? p_.keys : c_.lengths[size_t(b)];
    const Token seen = p_.isCausal ? clamp<Token>(q + used - p_.queries + 1, 0, used) : used;
    const int64_t head = int64_t(b) * p_.queryHeads + h, row = head * p_.queries + q;
    std::vector<double> score(size_t(p_.keys), -INFINITY), prob(size_t(p_.keys));
    double most = -INFINITY;
    size_ = 1;
    for (Token k = 0; k < seen; ++k) {
      double sum = 0, size = 0;
      for (int32_t d = 0; d < p_.headDim; ++d) {
        const double x = double(c_.query.get(b, q, h, d)) * double(c_.keyOf(b, k, h / p_.headsPerKey(), d));
        sum += x;
        size += std::fabs(x);
      }
      score[size_t(k)] = sum * double(p_.scale);
      size_ = std::fmax(size_, size * double(p_.scale));
      most = std::fmax(most, score[size_t(k)]);
    }
    double sum = 0;
    for (Token k = 0; k < seen; ++k) sum += std::exp(score[size_t(k)] - most);
    const double lse = !c_.givenLse.empty() ? double(c_.givenLse[size_t(row)])
                       : seen > 0           ? most + std::log(sum)
                                            : -INFINITY;
    for (Token k = 0; k < seen && lse > -INFINITY; ++k) prob[size_t(k)] = std::exp(score[size_t(k)] - lse);
    if (!got_.lse.empty()) expect(got_.lse[size_t(row)], lse, 4e-6 * size_, "lse", row);
    for (Token k = 0; k < p_.keys; ++k) {
      const size_t i = size_t(k);
      const double x = prob[i];
      if (c_.wantsMatrices) {
        expect(got_.scores[size_t(row * p_.keys) + i], score[i], 2e-6 * size_, "score", row);
        expect(got_.probs[size_t(row * p_.keys) + i], x, tolerance(x), "prob", row);
      }
      keySum_[size_t(b) * size_t(p_.keys) + i] += x;
      keySumOverQueries_[size_t(head) * size_t(p_.keys) + i] += x;
      double& largest = most_[size_t(b) * size_t(p_.keys) + i];
      largest = std::fmax(largest, x);
      blockSum_[size_t((head * p_.queryBlocks() + q / p_.blockQueries) * p_.keyBlocks() + k / p_.blockKeys)] += x;
      const Token distance = q + used - p_.queries - k;
      if (k < seen && p_.isCausal) diagSum_[size_t(head * p_.keys + distance)] += x;
    }
    if (c_.wantsTop) checkTop(row, seen, score, prob);
  }

  // The keys found are those of the largest scores, as far as float32 tells them apart.
  void checkTop(int64_t row, Token seen, const std::vector<double>& score, const std::vector<double>& prob) const {
    const int32_t* const index = &got_.topIndices[size_t(row * p_.topK)];
    const float* const got = &got_.topProbs[size_t(row * p_.topK)];
    std::vector<bool> isTaken(score.size());
    double least = INFINITY;
    for (int32_t i = 0; i < p_.topK; ++i) {
      if (i >= seen) {
        CHECK(index[i] == -1 && got[i] == 0, "%s: row %d has key %d in place %d of %d that it sees", c_.name.c_str(),
              int(row), index[i], i, seen);
        continue;
      }
      const bool isKey = index[i] >= 0 && index[i] < seen && !isTaken[size_t(index[i])];
      CHECK(isKey, "%s: row %d has key %d in place %d", c_.name.c_str(), int(row), index[i], i);
      if (!isKey) return;
      const size_t key = size_t(index[i]);
      isTaken[key] = true;
      CHECK(score[key] <= least + 4e-6 * size_, "%s: row %d rises in place %d", c_.name.c_str(), int(row), i);
      CHECK(!c_.areTied || index[i] == i, "%s: row %d has key %d, not %d", c_.name.c_str(), int(row), index[i], i);
      least = std::fmin(least, score[key]);
      expect(got[i], prob[key], tolerance(prob[key]), "top prob", row);
    }
    for (size_t k = 0; k < size_t(seen); ++k) {
      CHECK(isTaken[k] || score[k] <= least + 4e-6 * size_, "%s: row %d lacks key %d", c_.name.c_str(), int(row),
            int(k));
    }
  }

  double tolerance(double prob) const { return prob * 6e-6 * (2 + size_) + 1e-9; }
  void expect(float got, double expected, double tolerance, const char* what, int64_t at) const {
    CHECK(double(got) == expected || std::fabs(double(got) - expected) <= tolerance, "%s: %s %d is %g, not %g",
          c_.name.c_str(), what, int(at), double(got), expected);
  }
  void expectAll(const std::vector<float>& got, const std::vector<double>& expected, const char* what) const {
    for (size_t i = 0; i < got.size(); ++i) expect(got[i], expected[i], expected[i] * 1e-4 + 1e-8, what, int64_t(i));
  }

  const Case& c_;
  const StatsProblem& p_;
  const Result& got_;
  double size_ = 1;  // of the products that make the row's scores
  std::vector<double> keySum_, keySumOverQueries_, most_, blockSum_, diagSum_;
};

void checkCase(const Case& c, const std::string& mode) {
  const Result result = runOnDevice(c, mode);
  Reference(c, result).check();
}

}  // namespace

int main(int argc, char** argv) {
  checkRounds(argc, argv, 23, makeCase, checkCase);
  return finish("statistics of attention on the GPU");
}
