// Codes made on the emulated GPU against the rule in plain loops: scales, minima and codes of rows, blocks that lose
// bits, and nothing else touched. Reader: someone who changes the kernels. Arguments: rounds, then the emulator's
// modes.
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "../../../cuda/operations.h"
#include "../check.h"
#include "operands.h"
#include "rounds.h"

using namespace tilewise;

namespace {

struct Kind {
  OwnOperand rows;
  std::vector<EncodedRun> runs;
};

struct Case {
  EncodeProblem problem;
  Kind keys, values;
  std::vector<int32_t> slots;
  std::vector<uint8_t> blocks, wide;
  std::vector<NarrowedBlock> narrowed;
  std::string name;
};

CodeForm formOf(Pick& pick, CodeAxis axis, Token tokens, bool isSymmetric) {
  const int32_t dims[] = {4, 24, 64, 70, 128}, bits[] = {8, 4, 2}, groups[] = {1, 2, 4};
  CodeForm form;
  form.axis = axis;
  form.tokens = tokens;
  form.dim = pick.of(dims);
  form.bits = isSymmetric ? 8 : pick.of(bits);
  form.group = isSymmetric ? form.dim : pick.of(groups);
  if (axis == CodeAxis::token && form.dim % form.group != 0) form.group = 2;
  form.layOut();
  return form;
}

// The same rows with more bits.
CodeForm widened(Pick& pick, CodeForm form) {
  if (form.bits < 8) form.bits *= pick(2) && form.bits == 2 ? 4 : 2;
  form.layOut();
  return form;
}

// Each of the first blocks gets some of its rows, whole groups per channel.
std::vector<EncodedRun> runsOf(Pick& pick, const CodeForm& form, int32_t blocks, std::vector<int32_t>& slots,
                               const std::vector<int32_t>& tokens) {
  std::vector<EncodedRun> runs;
  const int32_t step = form.axis == CodeAxis::channel ? form.group : 1, steps = form.tokens / step;
  for (int32_t block = 0; block < blocks; ++block) {
    const int32_t first = pick(steps), count = 1 + pick(steps - first);
    runs.push_back({block, first * step, count * step, int32_t(slots.size())});
    for (int32_t i = 0; i < count * step; ++i) slots.push_back(tokens[size_t(pick(int32_t(tokens.size())))]);
  }
  return runs;
}

Case makeCase(uint32_t seed) {
  Case c;
  Pick pick(seed);
  EncodeProblem& p = c.problem;
  const int32_t pageSizes[] = {1, 4, 7, 16};
  p.heads = 1 + pick(3);
  p.isSymmetric = pick(4) == 0;
  p.type = DType(pick(3));
  p.slots.pages = 1 + pick(4);
  p.slots.pageSize = pick.of(pageSizes);
  const Token blockTokens = 4 * (1 + pick(4));
  const CodeAxis axis = CodeAxis(p.isSymmetric || pick(3) == 0);
  p.to.keys = formOf(pick, axis, blockTokens, p.isSymmetric);
  p.to.values = formOf(pick, CodeAxis::token, blockTokens, p.isSymmetric);
  p.to.count = 2 + pick(4);
  p.wide.keys = widened(pick, p.to.keys);
  p.wide.values = widened(pick, p.to.values);
  p.wide.count = 3;
  std::vector<int32_t> tokens(size_t(p.slots.pages) * p.slots.pageSize);
  std::iota(tokens.begin(), tokens.end(), 0);
  const int32_t written = pick(p.to.count);
  c.keys.runs = runsOf(pick, p.to.keys, written, c.slots, tokens);
  c.values.runs = runsOf(pick, p.to.values, written, c.slots, tokens);
  for (const bool areKeys : {true, false}) {
    const CodeForm& form = areKeys ? p.to.keys : p.to.values;
    (areKeys ? c.keys : c.values).rows =
        makeOperand(pick, {p.slots.pages, p.slots.pageSize, p.heads, form.dim}, p.type, false,
                    [&] { return pick(400) ? float(pick(20000) - 10000) / 77.0f : unusual(pick); });
  }
  for (int32_t block = written; block < p.to.count; ++block) c.narrowed.push_back({pick(p.wide.count), block});
  c.blocks.assign(size_t(p.to.bytes(p.heads)), 0x5a);
  c.wide.resize(size_t(p.wide.bytes(p.heads)));
  for (uint8_t& byte : c.wide) byte = uint8_t(pick(256));
  // Scales and minima are numbers.
  for (int32_t block = 0; block < p.wide.count; ++block)
    for (int32_t head = 0; head < p.heads; ++head)
      for (const bool areKeys : {true, false}) {
        p.wide.data = c.wide.data();
        const CodeBlock of = p.wide.at(areKeys, block, p.heads, head);
        for (int64_t i = 0; i < of.scaleCount(); ++i) {
          of.scales()[i] = float(1 + pick(1000)) / 512;
          of.mins()[i] = float(pick(1000)) / -64;
        }
      }
  c.name = "seed " + std::to_string(seed) + ": " + nameOf(p.type) + (p.isSymmetric ? " symmetric" : "") + ", keys of " +
           std::to_string(p.to.keys.bits) + " and values of " + std::to_string(p.to.values.bits) + " bits";
  return c;
}

// A code in a row: a byte has channels that are 16 apart, the first in its lowest bits.
void putCode(uint8_t* row, int32_t bits, int32_t channel, uint32_t code) {
  const int32_t fields = 8 / bits, chunk = channel / 16;
  row[chunk / fields * 16 + channel % 16] |= uint8_t(code << (chunk % fields * bits));
}
uint32_t codeOf(const uint8_t* row, int32_t bits, int32_t channel) {
  const int32_t fields = 8 / bits, chunk = channel / 16;
  return (uint32_t(row[chunk / fields * 16 + channel % 16]) >> (chunk % fields * bits)) & ((1u << bits) - 1);
}

void encodeRun(const Case& c, const Kind& kind, const EncodedRun& run, int32_t head, const CodeBlock& to) {
  const EncodeProblem& p = c.problem;
  const CodeForm& form = *to.form;
  const bool isChannel = form.axis == CodeAxis::channel;
  const auto number = [&](int32_t row, int32_t channel) {
    const int32_t slot = c.slots[size_t(run.slot + row)];
    return kind.rows.get(slot / p.slots.pageSize, slot % p.slots.pageSize, head, channel);
  };
  for (int32_t row = 0; row < run.count; ++row) std::memset(to.row(run.first + row), 0, size_t(form.rowBytes));
  for (int32_t row = 0; row < run.count; row += isChannel ? form.group : 1)
    for (int32_t channel = 0; channel < form.dim; channel += isChannel ? 1 : form.group) {
      std::vector<float> group;
      for (int32_t i = 0; i < form.group; ++i)
        group.push_back(number(row + (isChannel ? i : 0), channel + (isChannel ? 0 : i)));
      float least = group[0], most = group[0];
      bool isFinite = true;
      for (const float x : group) {
        least = std::fmin(least, x);
        most = std::fmax(most, x);
        isFinite = isFinite && std::isfinite(x);
      }
      const float levels = float((1 << form.bits) - 1);
      float scale = p.isSymmetric ? std::fmax(-least, most) / 127 : (most - least) / levels;
      isFinite = isFinite && std::isfinite(scale);
      if (!isFinite) scale = 0;
      const int64_t at = isChannel ? int64_t((run.first + row) / form.group) * form.dim + channel
                                   : int64_t(channel / form.group) * form.tokens + run.first + row;
      to.scales()[at] = scale;
      to.mins()[at] = !isFinite ? NAN : p.isSymmetric ? -128 * scale : least;
      for (int32_t i = 0; i < form.group && isFinite; ++i) {
        const double zero = p.isSymmetric ? 128 : 0;
        const float above = p.isSymmetric ? group[size_t(i)] : group[size_t(i)] - least;
        const double code = scale == 0 ? zero : std::nearbyint(double(above / scale)) + zero;
        putCode(to.row(run.first + row + (isChannel ? i : 0)), form.bits, channel + (isChannel ? 0 : i),
                uint32_t(std::fmin(std::fmax(code, 0.0), double(levels))));
      }
    }
}

void narrow(const CodeBlock& from, const CodeBlock& to) {
  const CodeForm &wide = *from.form, &form = *to.form;
  for (Token row = 0; row < form.tokens; ++row) {
    std::memset(to.row(row), 0, size_t(form.rowBytes));
    for (int32_t channel = 0; channel < form.dim; ++channel) {
      double code = codeOf(from.row(row), wide.bits, channel);
      if (wide.bits == 8 && form.bits < 8) code = std::round(code / 17);
      if (wide.bits > 2 && form.bits == 2) code = std::round(code / 5);
      putCode(to.row(row), form.bits, channel, uint32_t(code));
    }
  }
  const float factor = float((1 << wide.bits) - 1) / float((1 << form.bits) - 1);
  for (int64_t i = 0; i < from.scaleCount(); ++i) {
    to.scales()[i] = from.scales()[i] * factor;
    to.mins()[i] = from.mins()[i];
  }
}

std::vector<uint8_t> expectedOf(Case& c) {
  std::vector<uint8_t> expected = c.blocks;
  CodeBlocks to = c.problem.to, wide = c.problem.wide;
  to.data = expected.data();
  wide.data = c.wide.data();
  const int32_t heads = c.problem.heads;
  for (int32_t head = 0; head < heads; ++head) {
    for (const EncodedRun& run : c.keys.runs) encodeRun(c, c.keys, run, head, to.at(true, run.block, heads, head));
    for (const EncodedRun& run : c.values.runs) encodeRun(c, c.values, run, head, to.at(false, run.block, heads, head));
    for (const NarrowedBlock& moved : c.narrowed)
      for (const bool areKeys : {true, false})
        narrow(wide.at(areKeys, moved.from, heads, head), to.at(areKeys, moved.to, heads, head));
  }
  return expected;
}

void checkCase(Case& c, const std::string& mode) {
  Device device(mode, {80, 8, 99 * 1024});
  EncodeProblem p = c.problem;
  p.keys = c.keys.rows.on(device.upload(c.keys.rows.bytes));
  p.values = c.values.rows.on(device.upload(c.values.rows.bytes));
  p.slots.list = device.upload(c.slots);
  p.slotCount = int64_t(c.slots.size());
  p.keyRuns = device.upload(c.keys.runs);
  p.keyRunCount = int64_t(c.keys.runs.size());
  p.valueRuns = device.upload(c.values.runs);
  p.valueRunCount = int64_t(c.values.runs.size());
  p.narrowed = device.upload(c.narrowed);
  p.narrowedCount = int64_t(c.narrowed.size());
  p.wide.data = device.upload(c.wide);
  uint8_t* const blocks = device.upload(c.blocks);
  p.to.data = blocks;
  cuda::run(p, device.limits(), device.queue(), CancelFlag{false});
  std::vector<uint8_t> got = device.download(blocks, c.blocks.size()), expected = expectedOf(c);
  // NaN has many bits.
  for (std::vector<uint8_t>* bytes : {&got, &expected}) {
    CodeBlocks to = p.to;
    to.data = bytes->data();
    for (int32_t block = 0; block < to.count; ++block)
      for (int32_t head = 0; head < p.heads; ++head)
        for (const bool areKeys : {true, false}) {
          const CodeBlock of = to.at(areKeys, block, p.heads, head);
          for (int64_t i = 0; i < of.scaleCount(); ++i)
            if (std::isnan(of.mins()[i])) of.mins()[i] = NAN;
        }
  }
  size_t same = 0;
  while (same < got.size() && got[same] == expected[same]) ++same;
  CHECK(same == got.size(), "%s, %s: byte %zu of %zu is %d, not %d", c.name.c_str(), mode.c_str(), same, got.size(),
        int(got[same]), int(expected[same]));
}

}  // namespace

int main(int argc, char** argv) {
  checkRounds(argc, argv, 40, makeCase, checkCase);
  return finish("codes made on the GPU");
}
