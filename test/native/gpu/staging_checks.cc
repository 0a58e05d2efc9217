// Staging against the CPU backend: a call through GpuBackend, whose operations are the CPU's here, gives the same bits
// and writes the same elements as the CPU does on the host's arrays, whatever their strides and wherever they are.
// Reader: someone who changes cuda/staging/staging.cc or cuda/staging/packing.cc.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>

#include "../../../cpu/backend.h"
#include "../../../cuda/backend.h"
#include "../../../cuda/staging/packing.h"
#include "../../../cuda/staging/staging.h"
#include "../check.h"
#include "../coded_keys.h"
#include "../problems.h"
#include "disturber.h"
#include "host_operations.h"
#include "staging_case.h"
#include "staging_local_linear.h"
#include "staging_statistics.h"

using namespace tilewise;

namespace {

// Keys and values on pages of a pool, in any order; entries of the table that are not in use hold what is no page.
void onPages(AttentionProblem& p, CaseMaker& maker, std::vector<int32_t>& table, std::vector<int32_t>& lengths,
             std::vector<char>& pool) {
  p.store.kind = StoreKind::paged;
  PagedKeys& paged = p.store.paged;
  paged.pageSize = 1 + maker.pick(20);
  const int32_t perSequence = ceilDiv(p.keys, paged.pageSize), used = p.sequences * perSequence;
  paged.pages = used + 2;
  for (int32_t s = 0; s < p.sequences; ++s) lengths.push_back(p.sequence(s).keys.size());
  p.keyLengths = lengths.data();
  p.cuSeqlensK = nullptr;  // packed keys are those of a row each
  for (int32_t s = 0; s < p.sequences; ++s) {
    for (int32_t i = 0; i < perSequence; ++i) {
      const bool isUsed = i < ceilDiv(lengths[size_t(s)], paged.pageSize);
      table.push_back(isUsed ? (s * perSequence + i) * 7 % used + maker.pick(3) : -1);
    }
  }
  paged.table = table.data();
  paged.tableBatch = perSequence;
  pool.assign(size_t(paged.pages) * size_t(paged.pageSize) * size_t(p.kvHeads) * size_t(p.headDim + p.valueDim) * 4,
              0x22);
  for (size_t i = 0; i < pool.size(); i += 2) pool[i] = char(maker.pick(256));
  char* at = pool.data();
  for (auto [operand, dim] : {std::pair(&p.key, p.headDim), std::pair(&p.value, p.valueDim)}) {
    *operand = {at, int64_t(paged.pageSize) * p.kvHeads * dim, int64_t(p.kvHeads) * dim, dim, 1};
    at += paged.pages * operand->batch * 4;
  }
}

void checkAttention(Backend& backend, uint32_t seed, bool toDevice) {
  CaseMaker maker{seed};
  const int32_t lengths[] = {1, 2, 7, 16, 33, 65, 100}, dims[] = {1, 3, 8, 16, 40, 64, 80};
  const int32_t queries = lengths[maker.pick(7)], keys = lengths[maker.pick(7)];
  const int32_t headDim = dims[maker.pick(7)], valueDim = dims[maker.pick(7)];
  const auto made = maker.make(queries, keys, headDim, valueDim);
  AttentionProblem& p = made->problem;
  nameOfCase = "seed " + std::to_string(seed) + (toDevice ? " mixed: " : ": ") + made->name;
  std::vector<int32_t> cuSeqlensQ, cuSeqlensK;
  const PatternTraits traits = traitsOf(p);
  const bool isSequence = !traits.isGrid && !p.blocks.begins && !p.ranges.offsets;
  if (p.batch == 1 && isSequence && !p.keyLengths && !p.keyStarts && maker.pick(2)) {
    p.sequences = 3;
    for (auto [totals, tokens] : {std::pair(&cuSeqlensQ, p.queries), std::pair(&cuSeqlensK, p.keys)}) {
      *totals = {0, maker.pick(tokens + 1), maker.pick(tokens + 1), maker.pick(tokens + 1)};
      std::sort(totals->begin(), totals->end());
    }
    p.cuSeqlensQ = cuSeqlensQ.data();
    p.cuSeqlensK = cuSeqlensK.data();
    nameOfCase += " packed";
  }
  std::vector<int32_t> pages, lengthsInUse;
  std::vector<char> pool;
  const bool isPaged = !traits.isGrid && maker.pick(3) == 0;
  if (isPaged) {
    onPages(p, maker, pages, lengthsInUse, pool);
    nameOfCase += " on pages";
  } else if (!p.cuSeqlensQ && mayHaveCodes(p) && maker.pick(3) == 0) {
    Encoder(*made, maker).encode();
    nameOfCase += " with codes";
  }
  Disturber disturber(machine, seed, toDevice);
  disturb(disturber, p);
  compare(backend, p, disturber);
}

// Pages 5, 2 and 7 of ten are in use, page 2 by both sequences; the second begins inside its second page.
void checkPagesInUse() {
  const int32_t table[] = {5, 2, -1, 9, 2, 7}, lengths[] = {20, 33}, starts[] = {0, 17};
  const PagedKeys paged{table, 3, 10, 16};
  const PagesInUse pages(paged, 2, 48, lengths, starts);
  CHECK(pages.count == 3, "%d pages in use", pages.count);
  CHECK(pages.table == (std::vector<int32_t>{0, 1, 0, 0, 1, 2}), "another table of copies");
  for (int32_t row = 0; row < 160; ++row) {
    const int32_t page = row / 16, copy = page == 5 ? 0 : page == 2 ? 1 : page == 7 ? 2 : -1;
    const int32_t slot = copy < 0 ? -1 : 16 * copy + row % 16;
    CHECK(pages.slots[size_t(row)] == slot, "row %d is copied to slot %d", row, pages.slots[size_t(row)]);
  }
}

void checkMerge(Backend& backend, uint32_t seed, bool toDevice) {
  Disturber disturber(machine, seed, toDevice);
  MergeProblem p;
  p.batch = 1 + disturber.pick(2);
  p.heads = 1 + disturber.pick(3);
  p.queries = 1 + disturber.pick(40);
  p.valueDim = 1 + disturber.pick(40);
  p.dtype = DType(disturber.pick(3));
  p.parts.resize(size_t(1 + disturber.pick(3)));
  nameOfCase = "merge, seed " + std::to_string(seed) + (toDevice ? " mixed" : "");
  const size_t rows = size_t(p.batch) * size_t(p.heads) * size_t(p.queries), count = rows * size_t(p.valueDim);
  std::deque<std::vector<float>> buffers;
  const auto fill = [&](Operand& out, auto& lse, int64_t& byBatch, int64_t& byHead, int64_t& byToken, bool isInput) {
    std::vector<float>& values = buffers.emplace_back(count, 0.5f);
    std::vector<float>& sums = buffers.emplace_back(rows, 0.0f);
    if (p.dtype == DType::float32) {
      for (float& x : values) x = float(disturber.pick(100)) / 50;
    } else {
      auto* halves = reinterpret_cast<uint16_t*>(values.data());
      for (size_t i = 0; i < count; ++i) halves[i] = uint16_t(0x3c00 + disturber.pick(256));
    }
    for (float& x : sums) x = float(disturber.pick(100)) / 50;
    out.data = values.data();
    out.head = p.valueDim;
    out.token = int64_t(p.heads) * p.valueDim;
    out.batch = p.queries * out.token;
    lse = sums.data();
    byToken = 1;
    byHead = p.queries;
    byBatch = p.heads * byHead;
    disturber(rowsOf(out, p.batch, p.queries, p.heads, p.valueDim, p.dtype), isInput);
    disturber(floatsOf(lse, {{p.batch, &byBatch}, {p.heads, &byHead}, {p.queries, &byToken}}), isInput);
  };
  for (MergePart& part : p.parts) fill(part.out, part.lse, part.lseBatch, part.lseHead, part.lseToken, true);
  fill(p.out, p.lse, p.lseBatch, p.lseHead, p.lseToken, false);
  compare(backend, p, disturber);
}

void checkRotary(Backend& backend, uint32_t seed, bool toDevice) {
  Disturber disturber(machine, seed, toDevice);
  RotaryProblem p;
  p.batch = 1 + disturber.pick(2);
  p.heads = 1 + disturber.pick(3);
  p.tokens = 1 + disturber.pick(20);
  p.headDim = 2 + disturber.pick(20);
  p.pairs = 1 + disturber.pick(p.headDim / 2);
  p.isInterleaved = disturber.pick(2);
  nameOfCase = "rotary, seed " + std::to_string(seed) + (toDevice ? " mixed" : "");
  const size_t size = size_t(p.batch) * size_t(p.heads) * size_t(p.tokens) * size_t(p.headDim);
  std::vector<float> in(size), out(size, 77);
  for (float& x : in) x = float(disturber.pick(9) - 4);
  std::vector<double> positions(size_t(p.batch) * size_t(p.tokens)), frequencies(size_t(p.heads) * size_t(p.pairs));
  for (double& x : positions) x = disturber.pick(1000);
  for (double& x : frequencies) x = disturber.pick(1000) / 1000.0;
  p.positions = positions.data();
  p.positionsBatch = disturber.pick(2) * p.tokens;
  p.frequencies = frequencies.data();
  p.frequenciesHead = disturber.pick(2) * p.pairs;
  const int64_t headDim = p.headDim, token = p.heads * headDim;
  p.in = {in.data(), p.tokens * token, token, headDim, 1};
  p.out = {out.data(), p.tokens * token, token, headDim, 1};
  disturber(rowsOf(p.in, p.batch, p.tokens, p.heads, p.headDim, p.dtype), true);
  disturber(rowsOf(p.out, p.batch, p.tokens, p.heads, p.headDim, p.dtype), false);
  compare(backend, p, disturber);
}

void checkLinear(Backend& backend, uint32_t seed, bool toDevice) {
  Disturber disturber(machine, seed, toDevice);
  LinearProblem p;
  p.batch = p.sequences = 1 + disturber.pick(2);
  p.kvHeads = 1 + disturber.pick(2);
  p.queryHeads = p.kvHeads * (1 + disturber.pick(2));
  p.queries = p.keys = 1 + disturber.pick(70);
  p.headDim = 1 + disturber.pick(20);
  p.valueDim = 1 + disturber.pick(20);
  p.isNormalized = disturber.pick(2);
  nameOfCase = "linear, seed " + std::to_string(seed) + (toDevice ? " mixed" : "");
  const std::vector<int32_t> totals{0, disturber.pick(p.keys + 1), p.keys};
  if (p.batch == 1 && disturber.pick(2)) {
    p.sequences = 2;
    p.cuSeqlens = totals.data();
  }
  Numbers numbers(disturber);
  const auto rows = [&](Operand& o, int64_t heads, int64_t dim, bool isInput) {
    o = {numbers(p.batch * p.keys * heads * dim), p.keys * heads * dim, heads * dim, dim, 1};
    disturber(rowsOf(o, p.batch, p.keys, heads, dim, p.dtype), isInput);
  };
  rows(p.query, p.queryHeads, p.headDim, true);
  rows(p.key, p.kvHeads, p.headDim, true);
  rows(p.value, p.kvHeads, p.valueDim, true);
  rows(p.out, p.queryHeads, p.valueDim, false);
  p.decayBatch = p.keys * p.kvHeads;
  p.decayToken = p.kvHeads;
  p.decayHead = 1;
  std::vector<float> decays(size_t(p.batch * p.decayBatch));
  for (float& x : decays) x = float(-disturber.pick(9)) / 4;
  p.decay = decays.data();
  disturber(floatsOf(p.decay, {{p.batch, &p.decayBatch}, {p.keys, &p.decayToken}, {p.kvHeads, &p.decayHead}}), true);
  const int64_t states = int64_t(p.sequences) * p.kvHeads * p.features();
  int64_t one = 1;
  const auto list = [&](auto& array, int64_t count) {
    array = numbers(count);
    one = 1;
    disturber.list(floatsOf(array, {{count, &one}}));
  };
  list(p.stateIn, states * p.valueDim);
  list(p.state, states * p.valueDim);
  if (p.isNormalized) {
    list(p.normalizerIn, states);
    list(p.normalizer, states);
  }
  compare(backend, p, disturber);
}

void checkCumulative(Backend& backend, uint32_t seed, bool toDevice) {
  Disturber disturber(machine, seed, toDevice);
  CumulativeProblem p;
  p.batch = 1 + disturber.pick(2);
  p.heads = 1 + disturber.pick(3);
  p.tokens = 1 + disturber.pick(100);
  p.valueDim = 1 + disturber.pick(20);
  nameOfCase = "cumulative, seed " + std::to_string(seed) + (toDevice ? " mixed" : "");
  Numbers numbers(disturber, 1);
  const int64_t tasks = int64_t(p.batch) * p.heads, row = int64_t(p.heads) * p.valueDim;
  for (Operand* const o : {&p.value, &p.out}) {
    *o = {numbers(tasks * p.tokens * p.valueDim), p.tokens * row, row, p.valueDim, 1};
    disturber(rowsOf(*o, p.batch, p.tokens, p.heads, p.valueDim, p.dtype), o == &p.value);
  }
  p.scores = numbers(tasks * p.tokens);
  p.scoreBatch = int64_t(p.tokens) * p.heads;
  p.scoreToken = p.heads;
  p.scoreHead = 1;
  disturber(floatsOf(p.scores, {{p.batch, &p.scoreBatch}, {p.heads, &p.scoreHead}, {p.tokens, &p.scoreToken}}), true);
  p.lse = numbers(tasks * p.tokens);
  p.lseBatch = int64_t(p.heads) * p.tokens;
  p.lseHead = p.tokens;
  p.lseToken = 1;
  disturber(floatsOf(p.lse, {{p.batch, &p.lseBatch}, {p.heads, &p.lseHead}, {p.tokens, &p.lseToken}}), false);
  int64_t one = 1;
  const auto list = [&](auto& array, int64_t count) {
    array = numbers(count);
    disturber.list(floatsOf(array, {{count, &one}}));
  };
  if (disturber.pick(2)) {
    list(p.before.max, tasks);
    list(p.before.sum, tasks);
    list(p.before.weighted, tasks * p.valueDim);
  }
  list(p.after.max, tasks);
  list(p.after.sum, tasks);
  list(p.after.weighted, tasks * p.valueDim);
  compare(backend, p, disturber);
}

void checkSelection(Backend& backend, uint32_t seed, bool toDevice) {
  Disturber disturber(machine, seed, toDevice);
  SelectionProblem p;
  p.batch = 1 + disturber.pick(2);
  p.kvHeads = 1 + disturber.pick(2);
  p.queryHeads = p.kvHeads * (1 + disturber.pick(2));
  p.queries = 1 + disturber.pick(50);
  p.keys = p.queries + disturber.pick(300);
  p.headDim = 1 + disturber.pick(20);
  p.sink = disturber.pick(4);
  p.window = 1 + disturber.pick(20);
  p.stages = 3;
  p.firstStage = disturber.pick(3);
  nameOfCase = "selection, seed " + std::to_string(seed) + (toDevice ? " mixed" : "");
  std::vector<float> query(size_t(p.batch) * size_t(p.queries) * size_t(p.queryHeads) * size_t(p.headDim));
  std::vector<float> key(size_t(p.batch) * size_t(p.keys) * size_t(p.kvHeads) * size_t(p.headDim));
  for (float& x : query) x = float(disturber.pick(9) - 4);
  for (float& x : key) x = float(disturber.pick(9) - 4);
  const int64_t headDim = p.headDim;
  p.query = {query.data(), p.queries * p.queryHeads * headDim, p.queryHeads * headDim, headDim, 1};
  p.key = {key.data(), p.keys * p.kvHeads * headDim, p.kvHeads * headDim, headDim, 1};
  std::vector<int32_t> lengths;
  if (disturber.pick(2)) {
    for (int32_t b = 0; b < p.batch; ++b) lengths.push_back(p.queries + disturber.pick(p.keys - p.queries + 1));
    p.keyLengths = lengths.data();
  }
  disturber(rowsOf(p.query, p.batch, p.queries, p.queryHeads, p.headDim, p.dtype), true);
  disturber(rowsOf(p.key, p.batch, p.keys, p.kvHeads, p.headDim, p.dtype), true);
  std::vector<std::vector<int32_t>> lists;
  for (int32_t s = 0; s < p.stages; ++s) {
    SelectionStage& stage = p.stage[s];
    stage.blockQueries = 64 >> s;
    stage.strideQueries = 2;
    stage.chunk = 16 >> (2 * s);
    stage.keep = 4 * (s + 1);
    const int64_t count = int64_t(p.batch) * p.lists() * p.blocks(s);
    lists.emplace_back(size_t(count * stage.keep));
    for (int64_t i = 0; i < count * stage.keep; ++i) lists.back()[size_t(i)] = p.sink + int32_t(i % stage.keep) * 16;
    stage.starts = lists.back().data();
    lists.emplace_back(size_t(count), stage.keep);
    stage.counts = lists.back().data();
    disturber.result(stage.starts, size_t(count * stage.keep));
    disturber.result(stage.counts, size_t(count));
  }
  compare(backend, p, disturber);
}

// Nothing is copied for a call whose operands are on the device.
void checkNoCopies(Backend& backend) {
  nameOfCase = "on the device";
  DeviceMemory& memory = *backend.memory();
  AttentionProblem p;
  p.batch = p.sequences = p.queryHeads = p.kvHeads = 1;
  p.queries = p.keys = 8;
  p.headDim = p.valueDim = 16;
  std::vector<float> ones(8 * 16, 1.0f), out(8 * 16);
  for (Operand* o : {&p.query, &p.key, &p.value, &p.out}) {
    *o = {memory.allocate(int64_t(sizeof(float)) * 8 * 16), 8 * 16, 16, 16, 1, true};
    memory.write(o->data, ones.data(), int64_t(sizeof(float)) * 8 * 16);
  }
  machine.uploaded = machine.downloaded = 0;
  areRowsLaidOut = true;
  backend.run(p, CancelFlag{false});
  CHECK(machine.uploaded == 0 && machine.downloaded == 0, "%d bytes went up, %d down", int(machine.uploaded),
        int(machine.downloaded));
  memory.read(out.data(), p.out.data, int64_t(sizeof(float)) * 8 * 16);
  CHECK(out == ones, "the result is wrong");
  for (Operand* o : {&p.query, &p.key, &p.value, &p.out}) memory.free(o->data);
  CHECK(machine.blocks() == 0, "%d blocks are left", int(machine.blocks()));
}

void checkPackings() {
  using cuda::PackAxis;
  using cuda::Packing;
  // [batch, token, head, dim] without gaps is one run, in either order of the middle axes.
  const PackAxis bnhd[] = {{2, 3 * 4 * 8}, {3, 4 * 8}, {4, 8}, {8, 1}},
                 bhnd[] = {{2, 3 * 4 * 8}, {3, 8}, {4, 3 * 8}, {8, 1}};
  for (const PackAxis* axes : {bnhd, bhnd}) {
    const Packing packing(axes, 4, 2, 16, true);
    CHECK(packing.runs() == 1 && packing.isCopy() && packing.bytes() == 2 * 3 * 4 * 8 * 2, "%d runs",
          int(packing.runs()));
    for (int a = 0; a < 4; ++a) CHECK(packing.stride(a) == axes[a].stride, "axis %d", a);
  }
  // Offsets pass 2^31 and 2^32 in both directions.
  const PackAxis huge[] = {{3, int64_t(1) << 40}, {2, -(int64_t(1) << 33)}, {5, 1}};
  const Packing packing(huge, 3, 4, 16, true);
  CHECK(packing.runs() == 6 && packing.bytes() == 6 * 32, "%d runs of %d bytes", int(packing.runs()),
        int(packing.bytes()));
  CHECK(packing.hostOffset(5) == 4 * ((int64_t(2) << 40) - (int64_t(1) << 33)), "an offset is cut off");
  CHECK(packing.stride(0) == 16 && packing.stride(1) == 8 && packing.stride(2) == 1, "strides");
  // Sizes, too.
  const PackAxis large[] = {{int64_t(1) << 20, 4096}, {4096, 1}};
  CHECK(Packing(large, 2, 4, 16, true).bytes() == int64_t(1) << 34, "a size is cut off");
  const PackAxis broadcast[] = {{7, 0}, {9, 0}};
  CHECK(Packing(broadcast, 2, 4, 16, false).bytes() == 16, "a broadcast is one element");
  CHECK(Packing(broadcast, 2, 4, 16, false).stride(1) == 0 && Packing(broadcast, 2, 4, 16, true).stride(1) == 1,
        "a dense row has stride 1");
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 200;
  static auto& backend = *new cuda::GpuBackend("cuda", machine);
  checkPackings();
  checkNoCopies(backend);
  checkPagesInUse();
  for (uint32_t seed = 0; seed < uint32_t(rounds); ++seed) {
    for (const bool toDevice : {false, true}) {
      checkAttention(backend, seed, toDevice);
      checkMerge(backend, seed, toDevice);
      checkRotary(backend, seed, toDevice);
      checkLinear(backend, seed, toDevice);
      checkCumulative(backend, seed, toDevice);
      checkSelection(backend, seed, toDevice);
      checkLocalLinear(backend, seed, toDevice);
      checkStats(backend, seed, toDevice);
      checkSummary(backend, seed, toDevice);
    }
  }
  return finish("staging_checks");
}
