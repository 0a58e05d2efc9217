// The gated delta rule on the emulated GPU against its recurrence in float64. Reader: someone who changes the kernel.
// Arguments: rounds, then the emulator's modes.
#include <cmath>
#include <string>
#include <vector>

#include "../../../cuda/operations.h"
#include "../check.h"
#include "operands.h"
#include "rounds.h"

using namespace tilewise;

namespace {

struct Case {
  DeltaProblem problem;
  OwnOperand query, key, value, out;
  std::vector<float> beta, decay;  // [batch][tokens][valueHeads]; decay: empty for none
  std::vector<float> state;  // that goes in; empty: none
  std::vector<int32_t> totals;
  bool isInPlace = false, isStateWanted = false;
  std::string name;
};

Case makeCase(uint32_t seed) {
  Case c;
  Pick pick(seed);
  DeltaProblem& p = c.problem;
  const int32_t dims[] = {1, 5, 16, 64, 72, 128}, valueDims[] = {1, 5, 64, 70, 130};
  const Token tokens[] = {0, 1, 2, 15, 16, 17, 63, 64, 65, 130};
  p.batch = 1 + pick(2);
  p.keyHeads = 1 + pick(2);
  p.valueHeads = p.keyHeads * (1 + pick(2));
  const int32_t queryHeads[] = {p.keyHeads, p.valueHeads, p.valueHeads * 2};
  p.queryHeads = pick.of(queryHeads);
  p.headDim = pick.of(dims);
  p.valueDim = pick.of(valueDims);
  p.tokens = pick.of(tokens);
  p.dtype = DType(pick(3));
  p.hasUnitRows = pick(2);
  p.scale = pick(2) ? 1 : 0.25f;
  const int32_t chunks[] = {0, 0, 0, 1, 20, 64, 500};
  p.chunk = pick.of(chunks);
  p.sequences = p.batch;
  if (pick(4) == 0) {
    p.batch = 1;
    p.sequences = 3;
    const int32_t first = p.tokens > 0 ? pick(p.tokens + 1) : 0;
    c.totals = {0, first, first, p.tokens};
  }
  // Keys of length 1 or less, as models have them: longer ones make states grow without end.
  const float least = p.hasUnitRows ? 1 : 1 / std::sqrt(float(p.headDim));
  const auto number = [&] { return float(pick(2000) - 1000) / 1024; };
  c.query = makeOperand(pick, {p.batch, p.tokens, p.queryHeads, p.headDim}, p.dtype, false, number);
  c.key =
      makeOperand(pick, {p.batch, p.tokens, p.keyHeads, p.headDim}, p.dtype, false, [&] { return number() * least; });
  c.value = makeOperand(pick, {p.batch, p.tokens, p.valueHeads, p.valueDim}, p.dtype, false, number);
  c.out = makeOperand(pick, {p.batch, p.tokens, p.outHeads(), p.valueDim}, p.dtype, true, [] { return 77.0f; });
  const int64_t count = int64_t(p.batch) * p.tokens * p.valueHeads;
  for (int64_t i = 0; i < count; ++i) c.beta.push_back(float(pick(1001)) / 1000);
  const bool decays = pick(3);
  for (int64_t i = 0; i < count && decays; ++i) c.decay.push_back(pick(30) ? -float(pick(1000)) / 2000 : -INFINITY);
  c.isStateWanted = pick(2);
  c.isInPlace = c.isStateWanted && pick(2);
  const int64_t states = int64_t(p.sequences) * p.valueHeads * p.headDim * p.valueDim;
  if (pick(2)) {
    for (int64_t i = 0; i < states; ++i) c.state.push_back(number());
  }
  // A value that no earlier row may meet.
  if (pick(6) == 0 && p.tokens > 0) {
    c.value.set(c.value.at(0, pick(p.tokens), pick(p.valueHeads), pick(p.valueDim)), pick(2) ? NAN : INFINITY);
  }
  c.name = "seed " + std::to_string(seed) + ": " + nameOf(p.dtype) + " tokens " + std::to_string(p.tokens) + " dims " +
           std::to_string(p.headDim) + '/' + std::to_string(p.valueDim) + " heads " + std::to_string(p.queryHeads) +
           '/' + std::to_string(p.keyHeads) + '/' + std::to_string(p.valueHeads) + (p.hasUnitRows ? " unit" : "") +
           (c.decay.empty() ? "" : " decay") + (c.totals.empty() ? "" : " packed") +
           (c.state.empty() ? "" : " state in") +
           (c.isInPlace       ? " in place"
            : c.isStateWanted ? " state out"
                              : "");
  return c;
}

struct Result {
  OwnOperand out;
  std::vector<float> state;
};

class Reference {
 public:
  Reference(const Case& c, const Result& got) : c_(c), p_(c.problem), got_(got) {}

  void check(int32_t sequence, int32_t head) {
    const size_t dim = size_t(p_.valueDim), size = size_t(p_.headDim) * dim;
    const size_t at = size_t(p_.stateAt(sequence, head));
    std::vector<double> state(size);
    for (size_t i = 0; i < size && !c_.state.empty(); ++i) state[i] = c_.state[at + i];
    const int32_t b = c_.totals.empty() ? sequence : 0;
    const Token begin = c_.totals.empty() ? 0 : c_.totals[size_t(sequence)];
    const Token end = c_.totals.empty() ? p_.tokens : c_.totals[size_t(sequence) + 1];
    for (Token t = begin; t < end; ++t) {
      advance(state, b, t, head);
      const int32_t heads = p_.headsPerState();
      for (int32_t h = head * heads; h < (head + 1) * heads; ++h) checkRow(state, b, t, h);
    }
    for (size_t i = 0; i < size && c_.isStateWanted; ++i)
      expectNear(got_.state[at + i], state[i], 1, 0, "state", begin);
  }

 private:
  std::vector<double> rowOf(const OwnOperand& rows, int32_t b, Token t, int32_t h) const {
    std::vector<double> x;
    double sum = 0;
    for (int32_t d = 0; d < p_.headDim; ++d) {
      x.push_back(rows.get(b, t, h, d));
      sum += x.back() * x.back();
    }
    for (double& number : x) number /= p_.hasUnitRows ? std::sqrt(sum + 1e-6) : 1;
    return x;
  }
  void advance(std::vector<double>& state, int32_t b, Token t, int32_t head) const {
    const size_t dim = size_t(p_.valueDim), number = size_t((b * p_.tokens + t) * p_.valueHeads + head);
    const double kept = c_.decay.empty() ? 1 : std::exp(double(c_.decay[number])), beta = c_.beta[number];
    const std::vector<double> key = rowOf(c_.key, b, t, p_.keyHead(head));
    for (size_t e = 0; e < dim; ++e) {
      double seen = 0;
      for (size_t d = 0; d < key.size(); ++d) seen += key[d] * (state[d * dim + e] *= kept);
      const double taken = beta * (c_.value.get(b, t, head, int32_t(e)) - seen);
      for (size_t d = 0; d < key.size(); ++d) state[d * dim + e] += key[d] * taken;
    }
  }
  void checkRow(const std::vector<double>& state, int32_t b, Token t, int32_t head) const {
    const std::vector<double> query = rowOf(c_.query, b, t, p_.queryHead(head));
    double length = 0;
    for (const double x : query) length += x * x;
    const double rounding = p_.dtype == DType::float32 ? 1e-6 : p_.dtype == DType::float16 ? 0x1p-11 : 0x1p-8;
    for (int32_t e = 0; e < p_.valueDim; ++e) {
      double expected = 0;
      for (size_t d = 0; d < query.size(); ++d) expected += query[d] * state[d * size_t(p_.valueDim) + size_t(e)];
      expectNear(got_.out.get(b, t, head, e), expected * p_.scale, std::sqrt(length), rounding, "out", t);
    }
  }
  // `size`: about what was summed.
  void expectNear(double got, double expected, double size, double rounding, const char* what, Token t) const {
    const double arithmetic = p_.dtype == DType::float32 ? 2e-5 : 3e-4;
    if (!std::isfinite(expected)) {
      CHECK(!std::isfinite(got), "%s: a finite %s of token %d", c_.name.c_str(), what, t);
      return;
    }
    CHECK(std::fabs(got - expected) <= arithmetic * std::fmax(1, size) + rounding * std::fabs(expected),
          "%s: %s of token %d is %g, not %g", c_.name.c_str(), what, t, got, expected);
  }

  const Case& c_;
  const DeltaProblem& p_;
  const Result& got_;
};

Result runOnDevice(const Case& c, const std::string& mode) {
  Device device(mode, {80, 8, 99 * 1024});
  DeltaProblem p = c.problem;
  p.query = c.query.on(device.upload(c.query.bytes));
  p.key = c.key.on(device.upload(c.key.bytes));
  p.value = c.value.on(device.upload(c.value.bytes));
  uint8_t* const out = device.upload(c.out.bytes);
  p.out = c.out.on(out);
  p.beta.data = device.upload(c.beta);
  if (!c.decay.empty()) p.decay.data = device.upload(c.decay);
  for (TokenNumbers* numbers : {&p.beta, &p.decay}) {
    numbers->head = 1;
    numbers->token = p.valueHeads;
    numbers->batch = int64_t(p.tokens) * p.valueHeads;
  }
  if (!c.state.empty()) p.stateIn = device.upload(c.state);
  const size_t states = size_t(p.stateAt(p.sequences, 0));
  const bool isOver = c.isInPlace && !c.state.empty();
  if (c.isStateWanted) {
    p.state = isOver ? const_cast<float*>(p.stateIn.data) : device.upload(std::vector<float>(states, 55.0f));
  }
  if (!c.totals.empty()) p.cuSeqlens = device.upload(c.totals);
  cuda::run(p, device.limits(), device.queue(), CancelFlag{false});
  Result result{c.out, {}};
  result.out.bytes = device.download(out, c.out.bytes.size());
  if (p.state) result.state = device.download(p.state.data, states);
  return result;
}

void checkCase(const Case& c, const std::string& mode) {
  const Result result = runOnDevice(c, mode);
  Reference reference(c, result);
  for (int32_t s = 0; s < c.problem.sequences; ++s)
    for (int32_t h = 0; h < c.problem.valueHeads; ++h) reference.check(s, h);
}

}  // namespace

int main(int argc, char** argv) {
  checkRounds(argc, argv, 30, makeCase, checkCase);
  return finish("the gated delta rule on the GPU");
}
