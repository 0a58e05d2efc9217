// Problems of selection: random ones by seed, and those made for one purpose. Operands are small integers, whose sums
// are exact, with ties. Reader: someone who reads selection_checks.cc.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../../../cuda/machine/aligned_rows.h"
#include "../../../cuda/operations.h"
#include "operands.h"

namespace tilewise {

struct SelectionCase {
  SelectionProblem problem;
  OwnOperand query, key;
  std::vector<int32_t> lengths;
  std::vector<std::vector<int32_t>> starts, counts;  // before the call
  cuda::Limits limits;
  std::string name;
};

inline int64_t listsOf(const SelectionProblem& p, int32_t s) { return int64_t(p.batch) * p.lists() * p.blocks(s); }

// What the caller holds where a list is expected that was never written, or was for other keys.
inline void fillWithAnything(Pick& pick, const SelectionProblem& p, int32_t s, SelectionCase& c) {
  const int32_t kind = pick(3);  // as they are written; overlapping; anything
  for (size_t list = 0; list < c.counts[size_t(s)].size(); ++list) {
    c.counts[size_t(s)][list] = kind == 2 ? pick(90) - 5 : pick(p.stage[s].keep + 1);
    int32_t start = p.sink;
    for (Token e = 0; e < p.stage[s].keep; ++e) {
      c.starts[size_t(s)][list * size_t(p.stage[s].keep) + size_t(e)] = kind < 2        ? start
                                                                        : pick(10) == 0 ? kNoEntry
                                                                                        : pick(p.keys + 20) - 10;
      start += kind == 0 ? p.stage[s].chunk * (1 + pick(3)) : 1 + pick(2 * p.stage[s].chunk);
    }
  }
}

// Null, before any number is drawn, where the shape is not one that is looked for.
template <class IsAsked>
std::unique_ptr<SelectionCase> makeCaseIf(uint32_t seed, IsAsked isAsked) {
  auto made = std::make_unique<SelectionCase>();
  SelectionCase& c = *made;
  Pick pick(seed);
  SelectionProblem& p = c.problem;
  const int32_t dims[] = {1, 7, 16, 24, 40, 64, 64, 128, 200, 512}, ratios[] = {1, 1, 2, 3, 4};
  p.batch = 1 + pick(2);
  const int32_t fewer = 1 + pick(2), more = fewer * pick.of(ratios);
  const bool isReverse = pick(4) == 0;
  p.queryHeads = isReverse ? fewer : more;
  p.kvHeads = isReverse ? more : fewer;
  p.pairing = Pairing(pick(2));
  const int32_t scopes[] = {1, p.outputHeads() / p.kvHeads, p.outputHeads()};
  p.headsPerList = pick.of(scopes);
  p.headDim = pick(4) ? pick.of(dims) : 1 + pick(200);  // a part of any piece of a row may be full
  p.dtype = p.keyType = DType(pick(3));
  p.method = SelectionMethod(pick(4) == 0);
  const bool isTree = p.method == SelectionMethod::tree;
  p.queries = 1 + pick(pick(2) ? 4 : 90);
  p.keys = p.queries + pick(pick(3) ? 300 : 900);
  p.sink = pick(20);
  p.stages = isTree ? 1 : 1 + pick(3);
  p.strideKeys = 1 + pick(3);
  const Token treeBlocks[] = {1, 2, 3, 8}, chunks[] = {1, 6, 8, 16, 32, 64, 256}, blocks[] = {1, 4, 16, 40, 64};
  Token queries = pick.of(blocks), chunk = isTree ? pick.of(treeBlocks) : pick.of(chunks);
  p.window = queries + pick(60);
  c.starts.resize(size_t(p.stages));
  c.counts.resize(size_t(p.stages));
  for (int32_t s = 0; s < p.stages; ++s) {
    p.stage[s].blockQueries = queries;
    p.stage[s].strideQueries = 1 + pick(4);
    p.stage[s].chunk = chunk;
    p.stage[s].keep = 1 + pick(pick(isTree ? 4 : 2) ? 12 : 300);
    c.starts[size_t(s)].assign(size_t(listsOf(p, s) * p.stage[s].keep), -1);
    c.counts[size_t(s)].assign(size_t(listsOf(p, s)), -1);
    if (queries % 2 == 0 && pick(2)) queries /= 2;
    for (const Token divisor : {8, 2}) {
      if (chunk % divisor == 0 && pick(2)) chunk /= divisor;
    }
  }
  p.firstStage = pick(2) ? pick(p.stages) : 0;
  if (!isAsked(p)) return nullptr;
  if (p.firstStage > 0) fillWithAnything(pick, p, p.firstStage - 1, c);
  if (pick(4) == 0) {
    for (int32_t b = 0; b < p.batch; ++b) c.lengths.push_back(pick(p.keys + 1));
  }
  // Few values make ties; a NaN or an infinity now and then.
  const int32_t most = 1 + pick(8);
  const bool isWild = pick(6) == 0;
  const auto number = [&]() -> float {
    if (isWild && pick(60) == 0) return pick(2) ? NAN : pick(2) ? INFINITY : -INFINITY;
    return float(pick(2 * most + 1) - most);
  };
  c.query = makeOperand(pick, {p.batch, p.queries, p.queryHeads, p.headDim}, p.dtype, false, number);
  c.key = makeOperand(pick, {p.batch, p.keys, p.kvHeads, p.headDim}, p.dtype, false, number);
  const int32_t processors[] = {1, 8, 132};
  const int64_t shared[] = {12 * 1024, 99 * 1024, 163 * 1024, 227 * 1024};  // of 12 KiB, query rows come in batches
  c.limits = {80, pick.of(processors), pick.of(shared)};
  c.name = "seed " + std::to_string(seed) + ": " + nameOf(p.dtype) + (isTree ? ", tree" : ", staged") + ", heads " +
           std::to_string(p.queryHeads) + "/" + std::to_string(p.kvHeads) + " by " + std::to_string(p.headsPerList) +
           ", queries " + std::to_string(p.queries) + ", keys " + std::to_string(p.keys) + ", dim " +
           std::to_string(p.headDim);
  return made;
}

// A problem of one list for all heads and one stage: room for its lists, small integers for its operands, with ties.
inline SelectionCase oneStage(const SelectionProblem& problem, uint32_t seed) {
  SelectionCase c;
  SelectionProblem& p = c.problem = problem;
  p.batch = p.kvHeads = p.stages = 1;
  p.headsPerList = p.queryHeads;
  const size_t lists = size_t(listsOf(p, 0));
  c.starts = {std::vector<int32_t>(lists * size_t(p.stage[0].keep), -1)};
  c.counts = {std::vector<int32_t>(lists, -1)};
  Pick pick(seed);
  const auto number = [&] { return float(pick(9) - 4); };
  c.query = makeOperand(pick, {1, p.queries, p.queryHeads, p.headDim}, p.dtype, false, number);
  c.key = makeOperand(pick, {1, p.keys, 1, p.headDim}, p.dtype, false, number);
  c.limits = {80, 1, 99 * 1024};
  return c;
}

// More candidates than four passes of a thread block take, as loops are unrolled so far: with and without passes
// left over, with ties, and without, where one that is counted twice, or missed, costs another its place.
inline SelectionCase manyCandidates(SelectionMethod method, Token keys, Token keep, bool hasTies, Token chunk = 1) {
  SelectionProblem p;
  p.sink = chunk - 1;
  p.queryHeads = 2;
  p.headDim = 8;
  p.method = method;
  p.queries = p.window = 8;
  p.keys = keys;
  p.stage[0] = {4, 1, chunk, keep};
  SelectionCase c = oneStage(p, 1);
  for (int32_t t = 0, score = 0; !hasTies && t < keys; ++t) {
    score = (score + 1201) % keys;
    for (int32_t d = 0; d < p.headDim; ++d) c.key.set(c.key.at(0, t, 0, d), d == 0 ? float(score) : 0);
  }
  for (int32_t t = 0; !hasTies && t < p.queries; ++t)
    for (int32_t h = 0; h < p.queryHeads; ++h) c.query.set(c.query.at(0, t, h, 0), float(1 + t + h));
  c.name = std::to_string(keys) + " candidates, " + std::to_string(keep) + " to keep";
  return c;
}

// Every row of several tiles of queries, and every dim, decides which half of the chunks is kept.
inline SelectionCase manyRows(SelectionMethod method, Token chunk, DType dtype, int32_t dim) {
  const Token keep = chunk == 1 ? 100 : 15;
  SelectionProblem p;
  p.queryHeads = 2;
  p.headDim = dim;
  p.dtype = p.keyType = dtype;
  p.method = method;
  p.queries = p.window = 12 + dim;  // with dims, tiles of 16 that are searched together are full and not
  p.keys = p.window + 2 * keep * chunk;
  p.stage[0] = {p.queries, 1, chunk, keep};
  SelectionCase c = oneStage(p, uint32_t(dim));
  c.name = std::string("many rows, ") + nameOf(dtype) + ", dim " + std::to_string(dim);
  return c;
}

// Rows that are copied by themselves and whose last piece is not full: NaN follows it, in queries and keys.
inline SelectionCase partOfAPiece(SelectionMethod method, DType dtype, int32_t dim) {
  SelectionProblem p;
  p.queryHeads = 2;
  p.headDim = dim;
  p.dtype = p.keyType = dtype;
  p.method = method;
  p.queries = p.window = 12;
  p.keys = 100;
  p.stage[0] = {4, 1, 4, 5};
  const auto hasGaps = [](OwnOperand& o) { return o.operand.batch != 0 && cuda::hasAlignedRows(o.here(), o.dtype); };
  uint32_t seed = 0;
  SelectionCase c = oneStage(p, seed);
  while (!hasGaps(c.query) || !hasGaps(c.key)) c = oneStage(p, ++seed);
  c.name = std::string("rows with gaps, ") + nameOf(dtype) + ", dim " + std::to_string(dim);
  return c;
}

// More heads in a list than shared memory holds queries of: they come in batches, into places that are used again.
inline SelectionCase manyBatches(SelectionMethod method, DType dtype) {
  SelectionProblem p;
  p.queryHeads = 13;  // the last batch is not full
  p.headDim = 64;
  p.dtype = p.keyType = dtype;
  p.method = method;
  p.queries = p.window = 16;
  p.keys = 300;
  p.stage[0] = {16, 1, 8, 5};
  SelectionCase c = oneStage(p, 1);
  c.limits = {80, 1, 20 * 1024};
  c.name = std::string("batches, ") + nameOf(dtype);
  return c;
}

// Longer lists of the caller's than a warp splits at once, whose chunks overlap: one of three is taken, and with its
// place every lane.
inline SelectionCase overlappingChunks() {
  SelectionProblem p;
  p.queryHeads = 1;
  p.headDim = 8;
  p.queries = p.window = 8;
  p.keys = 600;
  p.stage[0] = {8, 1, 8, 96};
  SelectionCase c = oneStage(p, 1);
  for (int32_t e = 0; e < 96; ++e) c.starts[0][size_t(e)] = 3 * e;
  c.counts[0][0] = 96;
  c.problem.stages = 2;
  c.problem.firstStage = 1;
  c.problem.stage[1] = {8, 1, 4, 60};
  c.starts.push_back(std::vector<int32_t>(60, -1));
  c.counts.push_back({-1});
  c.name = "overlapping chunks";
  return c;
}

// What random problems come to too seldom, for the kernels that score and for those that make lists.
inline std::vector<SelectionCase> casesOfScores() {
  std::vector<SelectionCase> cases;
  for (const SelectionMethod method : {SelectionMethod::staged, SelectionMethod::tree})
    for (const DType dtype : {DType::float32, DType::float16, DType::bfloat16}) {
      for (const int32_t dim : {5, 30, 67}) cases.push_back(partOfAPiece(method, dtype, dim));
      cases.push_back(manyBatches(method, dtype));
    }
  for (const DType dtype : {DType::float32, DType::float16, DType::bfloat16})
    for (const int32_t dim : {8, 24, 40, 56, 72}) {
      cases.push_back(manyRows(SelectionMethod::tree, 1, dtype, dim));
      for (const Token chunk : {1, 64}) cases.push_back(manyRows(SelectionMethod::staged, chunk, dtype, dim));
    }
  return cases;
}
inline std::vector<SelectionCase> casesOfLists() {
  std::vector<SelectionCase> cases;
  for (const SelectionMethod method : {SelectionMethod::staged, SelectionMethod::tree}) {
    const Token few = method == SelectionMethod::tree ? 1200 : 100;
    cases.push_back(manyCandidates(method, 3000, few, true));
    cases.push_back(manyCandidates(method, 2700, few, true));
    cases.push_back(manyCandidates(method, 2700, 1300, false));
    cases.push_back(manyCandidates(method, 2700, 2800, false));
    cases.push_back(manyCandidates(method, 7000, few, true, 3));
  }
  cases.push_back(overlappingChunks());
  return cases;
}

}  // namespace tilewise
