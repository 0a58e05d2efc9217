// Codes as work items: a run of rows, or a block of codes of more bits, of one head. Reader: see core/op/encode.h for
// the rule. Rows are read twice, for the ranges of groups and for codes: the second time they are near.
#include "job.h"

#include <algorithm>

namespace tilewise::cpu {
namespace {

// One head's rows of a run: reads them as float32.
class Rows {
 public:
  Rows(const EncodeProblem& p, bool areKeys, const EncodedRun& run, int32_t head, const Kernels& kernels)
      : p_(p),
        rows_(areKeys ? p.keys : p.values),
        dim_((areKeys ? p.to.keys : p.to.values).dim),
        run_(run),
        head_(head),
        kernels_(kernels) {}

  void read(Token i, float* to) const {
    const int64_t at = p_.slots.offset(rows_, run_.slot + i, head_);
    kernels_.readRow(static_cast<const char*>(rows_.data) + at * sizeOf(p_.type), p_.type, rows_.dim, dim_, to);
  }

 private:
  const EncodeProblem& p_;
  const Operand& rows_;
  const int32_t dim_;
  const EncodedRun& run_;
  const int32_t head_;
  const Kernels& kernels_;
};

template <int Bits>
void packRow(const uint8_t* codes, int32_t bytes, uint8_t* to) {
  constexpr int kFields = 8 / Bits, kChunk = CodeForm::kChunk;
  for (int32_t byte = 0; byte < bytes; byte += kChunk, codes += kFields * kChunk) {
    for (int i = 0; i < kChunk; ++i) {
      unsigned packed = 0;
      for (int f = 0; f < kFields; ++f) packed |= unsigned(codes[f * kChunk + i]) << (f * Bits);
      to[byte + i] = uint8_t(packed);
    }
  }
}

template <int Bits>
void unpackRow(const uint8_t* row, int32_t bytes, uint8_t* codes) {
  constexpr int kFields = 8 / Bits, kChunk = CodeForm::kChunk;
  for (int32_t byte = 0; byte < bytes; byte += kChunk, codes += kFields * kChunk) {
    for (int f = 0; f < kFields; ++f)
      for (int i = 0; i < kChunk; ++i)
        codes[f * kChunk + i] = uint8_t((row[byte + i] >> (f * Bits)) & ((1 << Bits) - 1));
  }
}

// A byte has channels that are a chunk apart, the first in its lowest bits.
void pack(const uint8_t* codes, const CodeForm& form, uint8_t* to) {
  if (form.bits == 8) return packRow<8>(codes, form.rowBytes, to);
  if (form.bits == 4) return packRow<4>(codes, form.rowBytes, to);
  packRow<2>(codes, form.rowBytes, to);
}
void unpack(const uint8_t* row, const CodeForm& form, uint8_t* codes) {
  if (form.bits == 8) return unpackRow<8>(row, form.rowBytes, codes);
  if (form.bits == 4) return unpackRow<4>(row, form.rowBytes, codes);
  unpackRow<2>(row, form.rowBytes, codes);
}

// Rows whose groups are tokens of a channel. `memory`: five rows of floats.
void encodeChannels(const Rows& rows, const EncodedRun& run, const CodeBlock& block, float* memory, uint8_t* codes) {
  const CodeForm& form = *block.form;
  const int32_t dim = form.dim;
  const float levels = codeLevels(form.bits);
  float *const x = memory, *const least = x + dim, *const most = least + dim, *const flaw = most + dim,
               *const steps = flaw + dim;
  for (int32_t begin = 0; begin < run.count; begin += form.group) {
    for (int32_t i = 0; i < form.group; ++i) {
      rows.read(begin + i, x);
      for (int32_t d = 0; i == 0 && d < dim; ++d) {
        least[d] = most[d] = x[d];
        flaw[d] = 0;
      }
      for (int32_t d = 0; d < dim; ++d) {
        least[d] = smaller(least[d], x[d]);
        most[d] = larger(most[d], x[d]);
        flaw[d] += x[d] * 0;
      }
    }
    const int64_t at = form.scaleAt(run.first + begin, 0);
    float *const scales = block.scales() + at, *const mins = block.mins() + at;
    for (int32_t d = 0; d < dim; ++d) {
      const GroupScale group = GroupScale::between(least[d], most[d], flaw[d], form.bits);
      scales[d] = group.scale;
      mins[d] = group.min;
      steps[d] = group.step;
    }
    for (int32_t i = 0; i < form.group; ++i) {
      rows.read(begin + i, x);
      for (int32_t d = 0; d < dim; ++d) codes[d] = uint8_t(codeAt(x[d] - mins[d], steps[d], 0, levels));
      pack(codes, form, block.row(run.first + begin + i));
    }
  }
}

GroupScale scaleOf(const float* x, int32_t count, bool isSymmetric, int32_t bits) {
  // Lanes of their own, so that compilers see vectors.
  constexpr int kLanes = 8;
  float least[kLanes], most[kLanes], flaw[kLanes] = {};
  for (int i = 0; i < kLanes; ++i) least[i] = most[i] = x[0];
  const auto take = [&](float number, int lane) {
    least[lane] = smaller(least[lane], number);
    most[lane] = larger(most[lane], number);
    flaw[lane] += number * 0;
  };
  int32_t first = 0;
  for (; first + kLanes <= count; first += kLanes)
    for (int i = 0; i < kLanes; ++i) take(x[first + i], i);
  for (; first < count; ++first) take(x[first], 0);
  for (int i = 1; i < kLanes; ++i) {
    least[0] = smaller(least[0], least[i]);
    most[0] = larger(most[0], most[i]);
    flaw[0] += flaw[i];
  }
  return isSymmetric ? GroupScale::symmetric(larger(-least[0], most[0]), flaw[0])
                     : GroupScale::between(least[0], most[0], flaw[0], bits);
}

// Rows whose groups are channels of a token. `x`: a row of floats.
void encodeTokens(const Rows& rows, const EncodedRun& run, bool isSymmetric, const CodeBlock& block, float* x,
                  uint8_t* codes) {
  const CodeForm& form = *block.form;
  const float levels = codeLevels(form.bits);
  for (int32_t i = 0; i < run.count; ++i) {
    rows.read(i, x);
    for (int32_t begin = 0; begin < form.dim; begin += form.group) {
      const GroupScale group = scaleOf(x + begin, form.group, isSymmetric, form.bits);
      const int64_t at = form.scaleAt(run.first + i, begin);
      block.scales()[at] = group.scale;
      block.mins()[at] = group.min;
      const float origin = group.origin, step = group.step, zero = group.zero;
      const int32_t end = begin + form.group;
      for (int32_t d = begin; d < end; ++d) codes[d] = uint8_t(codeAt(x[d] - origin, step, zero, levels));
    }
    pack(codes, form, block.row(run.first + i));
  }
}

// A block of codes as one of fewer bits: codes are divided, no number is made anew.
void narrow(const CodeBlock& from, const CodeBlock& to, uint8_t* codes) {
  const CodeForm &wide = *from.form, &form = *to.form;
  for (Token row = 0; row < form.tokens; ++row) {
    unpack(from.row(row), wide, codes);
    for (int32_t d = 0; d < form.dim; ++d) codes[d] = uint8_t(narrowedCode(codes[d], wide.bits, form.bits));
    pack(codes, form, to.row(row));
  }
  const int64_t count = to.scaleCount();
  for (int64_t i = 0; i < count; ++i) {
    to.scales()[i] = narrowedScale(from.scales()[i], wide.bits, form.bits);
    to.mins()[i] = from.mins()[i];
  }
}

// Codes of a row, those that fill it up included; these stay 0.
int32_t codesOf(const EncodeProblem& p) {
  return larger(larger(p.to.keys.channels, p.to.values.channels), larger(p.wide.keys.channels, p.wide.values.channels));
}

}  // namespace

void addReasons(Reasons&, const EncodeProblem&) {}

// About the time of as many.
double flopsOf(const EncodeProblem& p) {
  const auto numbers = [](const EncodedRun* runs, int64_t count, int32_t dim) {
    double rows = 0;
    for (int64_t i = 0; i < count; ++i) rows += runs[i].count;
    return rows * dim;
  };
  const double made = numbers(p.keyRuns, p.keyRunCount, p.to.keys.dim) +
                      numbers(p.valueRuns, p.valueRunCount, p.to.values.dim) +
                      double(p.narrowedCount) * p.to.keys.tokens * (p.to.keys.dim + p.to.values.dim);
  return 16.0 * p.heads * made;
}

int32_t jobsOf(const EncodeProblem&) { return 1; }

std::shared_ptr<Job> jobOf(const EncodeProblem& problem, int32_t, const Kernels& kernels, int) {
  const auto job = std::make_shared<Job>();
  job->items = problem.heads * (problem.keyRunCount + problem.valueRunCount + 2 * problem.narrowedCount);
  job->work = [problem, &kernels](int64_t item, Worker& worker) {
    const EncodeProblem& p = problem;
    const int32_t head = int32_t(item % p.heads), codeBytes = codesOf(p);
    const int64_t rowFloats = larger(p.to.keys.dim, p.to.values.dim);
    float* const memory = worker.floats(5 * rowFloats + ceilDiv<int64_t>(codeBytes, sizeof(float)));
    uint8_t* const codes = reinterpret_cast<uint8_t*>(memory + 5 * rowFloats);
    std::fill(codes, codes + codeBytes, uint8_t(0));
    int64_t index = item / p.heads;
    const bool areRows = index < p.keyRunCount + p.valueRunCount;
    if (areRows) {
      const bool areKeys = index < p.keyRunCount;
      const EncodedRun& run = areKeys ? p.keyRuns[index] : p.valueRuns[index - p.keyRunCount];
      const Rows rows(p, areKeys, run, head, kernels);
      const CodeBlock block = p.to.at(areKeys, run.block, p.heads, head);
      if (block.form->axis == CodeAxis::channel) return encodeChannels(rows, run, block, memory, codes);
      return encodeTokens(rows, run, p.isSymmetric, block, memory, codes);
    }
    index -= p.keyRunCount + p.valueRunCount;
    const bool areKeys = index % 2 == 0;
    const NarrowedBlock& moved = p.narrowed[index / 2];
    narrow(p.wide.at(areKeys, moved.from, p.heads, head), p.to.at(areKeys, moved.to, p.heads, head), codes);
  };
  return job;
}

}  // namespace tilewise::cpu
