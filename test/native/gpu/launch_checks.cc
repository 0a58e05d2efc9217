// Every launch that the host side can ask of a machine is one that a GPU takes: checked by problems of any size, of
// which nothing runs. Reader: someone who changes a launch plan. Usage: launch_checks, or launch_checks largest
// <compute capability> <multiprocessors> <bytes of shared memory per block>: every kernel's largest launch on such a
// GPU, as JSON, which scripts/launch-limits.mjs holds against the machine code.
#include <cstdlib>
#include <cstring>
#include <map>

#include "../../../cuda/attention/launch_plan.h"
#include "../../../cuda/append/params.h"
#include "../../../cuda/linear/plan.h"
#include "../../../cuda/merge/params.h"
#include "../../../cuda/rotary/params.h"
#include "../../../cuda/operations.h"
#include "../check.h"
#include "../pick.h"
#include "noting_queue.h"

using namespace tilewise;

namespace {

constexpr cuda::Limits kSmallest{86, 16, 99 << 10};
constexpr DType kTypes[] = {DType::float32, DType::float16, DType::bfloat16};

// The largest launch of each kernel.
class Largest {
 public:
  void add(const std::vector<NotedLaunch>& launches) {
    for (const NotedLaunch& l : launches) {
      NotedLaunch& most = launches_.try_emplace(l.module + "/" + l.kernel, l).first->second;
      CHECK(most.threads == l.threads && most.params.size() == l.params.size(), "%s has two forms", l.kernel.c_str());
      most.blocks = larger(most.blocks, l.blocks);
      most.sharedBytes = larger(most.sharedBytes, l.sharedBytes);
    }
  }
  size_t kernels() const { return launches_.size(); }
  void print() const {
    const char* separator = "[";
    for (const auto& [name, l] : launches_) {
      std::printf(
          "%s\n{\"module\":\"%s\",\"kernel\":\"%s\",\"blocks\":%u,\"threads\":%u,\"sharedBytes\":%u,"
          "\"paramBytes\":%zu}",
          separator, l.module.c_str(), l.kernel.c_str(), l.blocks, l.threads, l.sharedBytes, l.params.size());
      separator = ",";
    }
    std::printf("\n]\n");
  }

 private:
  std::map<std::string, NotedLaunch> launches_;
};

void checkLaunch(const NotedLaunch& l, const cuda::Limits& limits) {
  const char* const name = l.kernel.c_str();
  CHECK(l.blocks >= 1 && l.blocks <= cuda::kMaxBlocks, "%s: %u blocks", name, l.blocks);
  CHECK(l.threads >= 32 && l.threads <= 1024 && l.threads % 32 == 0, "%s: %u threads", name, l.threads);
  CHECK(l.sharedBytes <= limits.sharedBytesPerBlock, "%s: %u bytes of shared memory", name, l.sharedBytes);
}

// What a call would launch. Empty, with the code in `code`: it is refused.
template <class Problem>
std::vector<NotedLaunch> launchesOf(const Problem& problem, const cuda::Limits& limits, std::string* code = nullptr) {
  NotingQueue queue;
  try {
    if constexpr (std::is_same_v<Problem, AttentionProblem>) {
      cuda::run(cuda::StagedAttention{problem, problem}, limits, queue, queue.cancel());
    } else {
      cuda::run(problem, limits, queue, queue.cancel());
    }
  } catch (const BackendError& error) {
    CHECK(code, "refused: %s", error.what());
    CHECK(queue.launches.empty() && !queue.hasAllocated, "refused after a part of the call");
    if (code) *code = error.code;
  }
  for (const NotedLaunch& l : queue.launches) checkLaunch(l, limits);
  return queue.launches;
}

AttentionProblem plainAttention(DType type, int32_t dim, Token queries, Token keys) {
  AttentionProblem p;
  p.batch = p.sequences = 1;
  p.queryHeads = p.kvHeads = 2;
  p.queries = queries;
  p.keys = keys;
  p.headDim = p.valueDim = dim;
  p.dtype = p.keyType = type;
  return p;
}

// A problem for each kernel of attention.
std::vector<AttentionProblem> attentionProblems() {
  std::vector<AttentionProblem> all;
  for (const DType type : kTypes) {
    for (const int32_t dim : {32, 64, 96, 128, 192, 256, 1536}) {
      const AttentionProblem stream = plainAttention(type, dim, 100, 100);
      AttentionProblem gather = stream, decode = stream, split = stream;
      gather.softcap = 1;
      decode.queries = 1;
      split.queries = 64;
      split.keys = 600;
      all.insert(all.end(), {stream, gather, decode, split});
      AttentionProblem grid = plainAttention(type, dim, 64, 64), shards = stream, lists = stream;
      grid.pattern = PatternKind::neighborhood;
      grid.grid.rank = 3;
      for (int a = 0; a < 3; ++a) grid.grid.length[a] = grid.grid.kernel[a] = 4;
      shards.pattern = PatternKind::stridedShards;
      lists.pattern = PatternKind::blocks;
      lists.blocks.queries = 64;
      AttentionProblem decodeLists = lists;
      decodeLists.queries = 1;
      all.insert(all.end(), {grid, shards, lists, decodeLists});
      if (dim == 192) {
        all.push_back(stream);
        all.back().valueDim = 100;
      }
      if (dim > 32) continue;
      // What rules do is looked at first: a byte per entry and key. Nothing runs, so that any address will do.
      for (AttentionProblem masked : {stream, grid}) {
        masked.rules.mask = {{all.data(), masked.keys, 0, 0, 1}};
        all.push_back(masked);
      }
    }
  }
  return all;
}

// As many batch entries as a launch has blocks for are taken; one more is refused before anything is done.
void checkAttention(Largest& largest, const cuda::Limits& limits) {
  for (AttentionProblem p : attentionProblems()) {
    int64_t blocks = 0;
    for (const NotedLaunch& l : launchesOf(p, limits)) blocks = larger<int64_t>(blocks, l.blocks);
    p.batch = p.sequences = int32_t(cuda::kMaxBlocks / blocks);
    largest.add(launchesOf(p, limits));
    ++p.batch;
    ++p.sequences;
    std::string code;
    CHECK(launchesOf(p, limits, &code).empty() && code == "ERR_TILEWISE_UNSUPPORTED", "%d batch entries: %s", p.batch,
          code.c_str());
  }
}

// Lengths of any number of queries and keys are written, each once.
void checkLengths(Largest& largest, const cuda::Limits& limits) {
  for (const DType type : kTypes) {
    AttentionProblem p = plainAttention(type, 32, 1, 1 << 20);
    p.batch = p.sequences = 1 << 6;
    p.queryHeads = p.kvHeads = 1 << 10;
    p.cosine.isUsed = true;
    const std::vector<NotedLaunch> launches = launchesOf(p, limits);
    largest.add(launches);
    const int64_t queries = int64_t(p.batch) * p.queryHeads, keys = queries * p.keys;
    int64_t rows = 0;
    for (const NotedLaunch& l : launches) {
      if (l.kernel.find("lengths") == std::string::npos) continue;
      cuda::LengthParams params;
      std::memcpy(static_cast<void*>(&params), l.params.data(), sizeof params);
      if (params.count == keys && rows == queries) rows = 0;  // the first launch for keys
      CHECK(params.first == rows, "a launch begins at row %lld, not %lld", (long long)params.first, (long long)rows);
      rows = smaller(params.count, rows + int64_t(l.blocks) * (cuda::kLengthThreads / cuda::kLengthLanes));
    }
    CHECK(rows == keys, "%lld rows of %lld", (long long)rows, (long long)keys);
  }
}

// The last of two packed sequences needs too many blocks: nothing is done for the first either.
void checkPacked() {
  AttentionProblem p = plainAttention(DType::float16, 32, (1 << 20) + 1, 100);
  p.queryHeads = p.kvHeads = 1 << 20;
  p.sequences = 2;
  const int32_t queries[] = {0, 1, p.queries}, keys[] = {0, 50, 100};
  p.cuSeqlensQ = queries;
  p.cuSeqlensK = keys;
  std::string code;
  CHECK(launchesOf(p, kSmallest, &code).empty() && code == "ERR_TILEWISE_UNSUPPORTED", "packed: %s", code.c_str());
}

// The tiles of one list alone pass 2^32.
void checkManyTiles() {
  AttentionProblem p = plainAttention(DType::float16, 32, kMaxTokens, 64);
  p.queryHeads = 512;
  p.kvHeads = 1;
  p.pattern = PatternKind::blocks;
  p.blocks.headsPerList = 512;
  std::string code;
  CHECK(launchesOf(p, kSmallest, &code).empty() && code == "ERR_TILEWISE_UNSUPPORTED", "2^32 tiles: %s", code.c_str());
}

// Rows of any number are merged, each once.
void checkMerge(Largest& largest, const cuda::Limits& limits) {
  for (const DType type : kTypes) {
    for (const int32_t batch : {1, 1 << 16}) {
      MergeProblem p;
      p.batch = batch;
      p.heads = 1 << 10;
      p.queries = 1001;
      p.dtype = type;
      p.parts.resize(3);
      int64_t row = 0;
      const std::vector<NotedLaunch> launches = launchesOf(p, limits);
      largest.add(launches);
      for (const NotedLaunch& l : launches) {
        cuda::MergeParams params;
        std::memcpy(static_cast<void*>(&params), l.params.data(), sizeof params);
        CHECK(params.firstRow == row, "a launch begins at row %lld, not %lld", (long long)params.firstRow,
              (long long)row);
        row += int64_t(l.blocks) * cuda::kMergeWarps;
      }
      const int64_t rows = int64_t(p.batch) * p.heads * p.queries;
      CHECK(row >= rows && row < rows + cuda::kMergeWarps, "%lld rows of %lld", (long long)row, (long long)rows);
    }
  }
}

// Rows of every type go to pages of every type.
void checkAppend(Largest& largest, const cuda::Limits& limits) {
  for (const DType type : kTypes) {
    AppendProblem p;
    p.batch = 1 << 10;
    p.heads = 1 << 10;
    p.tokens = 1 << 14;
    p.to = type;
    const std::vector<NotedLaunch> launches = launchesOf(p, limits);
    largest.add(launches);
    int64_t row = 0;
    for (const NotedLaunch& l : launches) row += int64_t(l.blocks) * cuda::kAppendWarps;
    const int64_t rows = p.rows() * p.heads;
    CHECK(row >= rows && row < rows + cuda::kAppendWarps, "%lld rows of %lld", (long long)row, (long long)rows);
  }
}

// Pieces of any number of rows are rotated, each once.
void checkRotary(Largest& largest, const cuda::Limits& limits) {
  for (const DType type : kTypes) {
    for (const int32_t tokens : {1, 1 << 24}) {
      RotaryProblem p;
      p.batch = 3;
      p.heads = 1 << 8;
      p.tokens = tokens;
      p.headDim = 258;
      p.pairs = 64;
      p.dtype = type;
      p.out.data = &p;
      int64_t piece = 0;
      for (const NotedLaunch& l : launchesOf(cuda::StagedRotary{p, {}}, limits)) {
        cuda::RotaryParams params;
        std::memcpy(static_cast<void*>(&params), l.params.data(), sizeof params);
        CHECK(params.firstPiece == piece, "a launch begins at piece %lld, not %lld", (long long)params.firstPiece,
              (long long)piece);
        piece += int64_t(l.blocks) * cuda::kRotaryThreads;
      }
      largest.add(launchesOf(cuda::StagedRotary{p, {}}, limits));
      const int64_t perPiece = 16 / sizeOf(type), perRow = 64 / perPiece + ceilDiv<int64_t>(130, perPiece);
      const int64_t pieces = int64_t(p.batch) * p.heads * p.tokens * perRow;
      CHECK(piece >= pieces && piece < pieces + cuda::kRotaryThreads, "%lld pieces of %lld", (long long)piece,
            (long long)pieces);
    }
  }
}

LinearProblem linearProblem(DType type, int32_t heads, int32_t dim, Token tokens, bool isCausal) {
  LinearProblem p;
  p.batch = p.sequences = heads;
  p.queryHeads = p.kvHeads = heads;
  p.queries = p.keys = tokens;
  p.headDim = p.valueDim = dim;
  p.isCausal = isCausal;
  p.dtype = type;
  return p;
}

// Every block of a group of a task's columns, once.
void checkLinear(Largest& largest, const cuda::Limits& limits) {
  for (const DType type : kTypes)
    for (const bool isCausal : {false, true})
      for (const int32_t heads : {1, 1 << 5})
        for (const int32_t dim : {64, 128, 300, 4096})
          for (const Token tokens : {1, 5000, 1 << 22}) {
            LinearProblem p = linearProblem(type, heads, dim, tokens, isCausal);
            p.out.data = &p;
            Reasons reasons("");
            cuda::addReasons(reasons, p, limits);
            CHECK(reasons.all().empty(), "dims of %d do not fit", dim);
            const cuda::LinearPlan plan(p, limits);
            int64_t scanned = 0;
            const std::vector<NotedLaunch> launches = launchesOf(cuda::StagedLinear{p, nullptr}, limits);
            largest.add(launches);
            for (const NotedLaunch& l : launches) scanned += l.kernel == "linear_carry" ? 0 : l.blocks;
            const int64_t blocks = plan.tasks * plan.columnBlocks;
            const int64_t expected = blocks * (plan.outputGroups + (plan.isSplit ? plan.groups : 0));
            CHECK(scanned == expected, "dim %d, %d tokens: %lld blocks of %lld", dim, tokens, (long long)scanned,
                  (long long)expected);
          }
}

// What linear attention reads and writes, as a share of its operands, on a GPU whose blocks may have 163 KB.
void checkLinearTraffic() {
  const cuda::Limits limits{80, 108, 163 << 10};
  for (const DType type : kTypes)
    for (const int32_t heads : {1, 16})
      for (const int32_t dim : {64, 128})
        for (const Token tokens : {1 << 13, 1 << 16, 1 << 20}) {
          const LinearProblem p = linearProblem(type, heads, dim, tokens, true);
          const cuda::LinearPlan plan(p, limits);
          const double operands = 4.0 * double(sizeOf(type)) * p.batch * double(tokens) * p.kvHeads * dim;
          CHECK(plan.isSplit == (heads == 1), "%d heads of dim %d, %d tokens: %d groups", heads, dim, tokens,
                plan.groups);
          CHECK(plan.bytes() <= (plan.isSplit ? 1.7 : 1.2) * operands, "dim %d, %d tokens: %g times the operands", dim,
                tokens, plan.bytes() / operands);
        }
}

// Groups of tokens and columns of every task.
void checkCumulative(Largest& largest, const cuda::Limits& limits) {
  for (const DType type : kTypes)
    for (const Token tokens : {1, 5000, 1 << 24})
      for (const int32_t heads : {1, 1 << 14}) {
        CumulativeProblem p;
        p.batch = 1 << 4;
        p.heads = heads;
        p.tokens = tokens;
        p.valueDim = 300;
        p.dtype = type;
        p.out.data = &p;
        largest.add(launchesOf(p, limits));
      }
}

void checkDelta(Largest& largest, const cuda::Limits& limits) {
  for (const DType type : kTypes)
    for (const int32_t dim : {64, 128}) {
      DeltaProblem p;
      p.batch = p.sequences = 1 << 4;
      p.queryHeads = p.keyHeads = p.valueHeads = 1 << 14;
      p.tokens = 100;
      p.headDim = dim;
      p.valueDim = 4096;
      p.dtype = type;
      p.out.data = &p;
      Reasons reasons("");
      cuda::addReasons(reasons, p, limits);
      CHECK(reasons.all().empty(), "head dims of %d do not fit", dim);
      largest.add(launchesOf(p, limits));
    }
}

// One launch, whose blocks take all tiles of queries between them; those that solve are at most one per multiprocessor.
void checkLocalLinear(Largest& largest, const cuda::Limits& limits) {
  for (const DType type : kTypes)
    for (const int32_t dim : {64, 128, 300, 4096})
      for (const bool isSolved : {false, true}) {
        LocalLinearProblem p;
        p.batch = 2;
        p.queryHeads = p.kvHeads = 1 << 10;
        p.queries = p.keys = 1000;
        p.headDim = p.valueDim = dim;
        p.dtype = type;
        p.out.data = &p;
        if (!isSolved) p.correction.data = &p;
        p.iterations = 32;
        const std::vector<NotedLaunch> launches = launchesOf(p, limits);
        largest.add(launches);
        const int64_t tiles = int64_t(2) * p.queryHeads * ceilDiv(p.queries, cuda::kChunkTokens);
        CHECK(launches.size() == 1 && launches[0].blocks == (isSolved ? limits.multiprocessors : tiles),
              "%zu launches, the first of %u blocks", launches.size(), launches[0].blocks);
      }
}

// Every tile of queries of a head, once by rows, and every tile of keys by columns and along diagonals.
void checkStats(Largest& largest, const cuda::Limits& limits) {
  for (const DType type : kTypes)
    for (const int32_t dim : {64, 300, 8192})
      for (const int32_t heads : {1, 1 << 3})
        for (const Token queries : {1, 130, 5000}) {
          float numbers[1];
          int32_t indices[1];
          StatsProblem p;
          p.batch = 2;
          p.queryHeads = p.kvHeads = heads;
          p.queries = queries;
          p.keys = 700;
          p.headDim = dim;
          p.dtype = p.keyType = type;
          p.isCausal = true;
          p.topK = 5;
          p.blockQueries = 100;
          p.blockKeys = 30;
          p.topIndices = indices;
          for (Placed<float>* const result :
               {&p.lse, &p.topProbs, &p.keySum, &p.keyMaxOverHeads, &p.blockSum, &p.diagSum})
            *result = numbers;
          const std::vector<NotedLaunch> launches = launchesOf(p, limits);
          largest.add(launches);
          std::map<std::string, int64_t> blocks;
          for (const NotedLaunch& l : launches) blocks[l.kernel] += l.blocks;
          const int64_t tasks = 2 * int64_t(heads), tiles = tasks * ceilDiv(queries, 64), ofKeys = ceilDiv(p.keys, 64);
          const std::string name = nameOf(type);
          CHECK(blocks["stats_rows_" + name] == tiles && blocks["stats_top_keys"] == 64 * tiles,
                "%lld and %lld blocks of %lld tiles", (long long)blocks["stats_rows_" + name],
                (long long)blocks["stats_top_keys"], (long long)tiles);
          CHECK(blocks["stats_diagonals_" + name] == tasks * ofKeys, "%lld blocks of diagonals",
                (long long)blocks["stats_diagonals_" + name]);
          const int64_t ofBlocks = tasks * ceilDiv(queries, 100) * ceilDiv(p.keys, 60);
          const int64_t groups = (blocks["stats_columns_" + name] - ofBlocks) / (tasks * ofKeys);
          CHECK(blocks["stats_columns_" + name] == ofBlocks + groups * tasks * ofKeys && groups >= 1 && groups <= 64,
                "%lld groups", (long long)groups);
        }
}

void checkEncode(Largest& largest, const cuda::Limits& limits) {
  for (const DType type : kTypes) {
    EncodeProblem p;
    p.heads = 1 << 10;
    p.type = type;
    p.keyRunCount = p.valueRunCount = 1 << 20;
    p.narrowedCount = 1 << 20;
    std::map<std::string, int64_t> blocks;
    for (const NotedLaunch& l : launchesOf(p, limits)) blocks[l.kernel] += l.blocks;
    CHECK(blocks[std::string("encode_") + nameOf(type)] == (int64_t(1) << 31) &&
              blocks["encode_narrowed"] == (int64_t(1) << 31),
          "%lld blocks of rows, %lld of codes", (long long)blocks[std::string("encode_") + nameOf(type)],
          (long long)blocks["encode_narrowed"]);
    largest.add(launchesOf(p, limits));
  }
}

void checkSummary(Largest& largest, const cuda::Limits& limits) {
  for (const DType type : kTypes) {
    SummaryProblem p;
    p.batch = 1;
    p.heads = 1 << 10;
    p.tokens = 64;
    p.headDim = 130;
    p.type = type;
    p.runCount = 1 << 20;
    int64_t blocks = 0;
    for (const NotedLaunch& l : launchesOf(p, limits)) blocks += l.blocks;
    CHECK(blocks == p.runCount * p.heads * 3, "%lld blocks", (long long)blocks);
    largest.add(launchesOf(p, limits));
  }
}

SelectionProblem drawSelection(Pick& pick) {
  SelectionProblem p;
  const int32_t dims[] = {1, 40, 64, 128, 256, 512}, heads[] = {1, 4, 8, 48, 1024};
  const Token lengths[] = {1, 64, 5000, 1 << 20, kMaxTokens}, chunks[] = {1, 2, 8, 32, 64, 128, 256, 4096};
  const Token blocks[] = {1, 16, 64, 100, 128, 1 << 20}, keeps[] = {1, 32, 2048, 1 << 20};
  p.batch = 1 + pick(2) * 4000;
  p.kvHeads = 1 + pick(2) * 7;
  p.queryHeads = p.kvHeads * pick.of(heads);
  const int32_t scopes[] = {1, p.queryHeads / p.kvHeads, p.queryHeads};
  p.headsPerList = pick.of(scopes);
  p.headDim = pick.of(dims);
  p.dtype = p.keyType = pick.of(kTypes);
  p.queries = pick.of(lengths);
  p.keys = larger(p.queries, pick.of(lengths));
  p.method = SelectionMethod(pick(3) == 0);
  p.stages = p.method == SelectionMethod::tree ? 1 : 2;
  p.stage[0] = {pick.of(blocks), 1 + pick(100), pick.of(chunks), pick.of(keeps)};
  p.stage[1] = p.stage[0];
  if (p.stage[1].chunk % 2 == 0) p.stage[1].chunk /= 2;
  return p;
}

void checkSelection(Largest& largest, const cuda::Limits& limits) {
  Pick pick(1);
  for (int i = 0; i < 20'000; ++i) {
    const SelectionProblem p = drawSelection(pick);
    Reasons reasons("");
    cuda::addReasons(reasons, p, limits);
    if (reasons.all().empty()) largest.add(launchesOf(p, limits));
  }
}

Largest checkAll(const cuda::Limits& limits) {
  // By type, ways to meet the keys of windows in tiles of dims, those of other patterns in fewer, and patterns of more
  // dims than these; 16-bit windows over values of fewer dims; combine,
  // lengths, effects of rules on tokens and grids, merge, append and rotary by type; selection; linear and cumulative
  // attention by type, and their carries; the delta rule and local linear attention by type; statistics by type and
  // direction, parts and top keys; summaries by type; codes by type, and of codes.
  constexpr size_t kKernels = 3 * (3 * 6 + 4 * 4 - 2 + 4) + 2 + 3 + 3 + 3 + 3 + 3 + 3 + 3 + 12 + (3 * 4 + 1) +
                              (3 * 2 + 1) + 3 + 3 + (3 * 3 + 2) + 3 + 4;
  Largest largest;
  checkAttention(largest, limits);
  checkMerge(largest, limits);
  checkLengths(largest, limits);
  checkAppend(largest, limits);
  checkRotary(largest, limits);
  checkSelection(largest, limits);
  checkLinear(largest, limits);
  checkCumulative(largest, limits);
  checkDelta(largest, limits);
  checkLocalLinear(largest, limits);
  checkStats(largest, limits);
  checkSummary(largest, limits);
  checkEncode(largest, limits);
  CHECK(largest.kernels() == kKernels, "%zu kernels were launched, there are %zu", largest.kernels(), kKernels);
  return largest;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 5 && std::strcmp(argv[1], "largest") == 0) {
    const Largest largest = checkAll({std::atoi(argv[2]), std::atoi(argv[3]), std::atoll(argv[4])});
    largest.print();
    return failures == 0 ? 0 : 1;
  }
  checkAll(kSmallest);
  checkPacked();
  checkManyTiles();
  checkLinearTraffic();
  return finish("launches");
}
