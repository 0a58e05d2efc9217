// Linear attention on the emulated GPU against the recurrence in float64. Reader: someone who changes the kernels or
// their plan. Arguments: rounds, then the emulator's modes.
#include <cmath>
#include <string>
#include <vector>

#include "../../../cuda/linear/plan.h"
#include "../../../cuda/operations.h"
#include "../check.h"
#include "operands.h"
#include "rounds.h"

using namespace tilewise;

namespace {

struct Case {
  LinearProblem problem;
  OwnOperand query, key, value, out;
  std::vector<float> decay;  // [batch or 1][tokens or 1][kvHeads]; empty: none
  std::vector<float> state, normalizer;  // that go in; empty: none
  std::vector<int32_t> totals;
  bool isInPlace = false, isStateWanted = false;
  cuda::Limits limits{80, 8, 163 * 1024};
  std::string name;
};

// What the problem says, without memory: sizes and options.
void drawSizes(Pick& pick, LinearProblem& p) {
  const int32_t dims[] = {1, 5, 16, 24, 64, 72, 128, 160}, taylorDims[] = {1, 4, 16, 20};
  const FeatureMap maps[] = {FeatureMap::identity, FeatureMap::identity, FeatureMap::elu1, FeatureMap::relu,
                             FeatureMap::taylor2};
  const Token tokens[] = {0, 1, 2, 17, 63, 64, 65, 130, 200};
  p.batch = 1 + pick(2);
  p.kvHeads = 1 + pick(2);
  p.queryHeads = p.kvHeads * (1 + pick(3));
  p.featureMap = pick.of(maps);
  p.headDim = p.featureMap == FeatureMap::taylor2 ? pick.of(taylorDims) : pick.of(dims);
  p.valueDim = pick.of(dims);
  p.dtype = DType(pick(3));
  p.isCausal = pick(5) != 0;
  p.isNormalized = pick(3) == 0;
  p.queries = p.keys = pick.of(tokens);
  if (!p.isCausal) p.keys = pick.of(tokens);
  p.scale = pick(2) ? 1 : 0.25f;
  p.eps = p.isNormalized ? 0.5f : 0;
  const int32_t chunks[] = {0, 0, 0, 1, 16, 40, 500};
  p.chunk = pick.of(chunks);
  p.sequences = p.batch;
}

// More than one group of tokens.
void makeLong(Pick& pick, LinearProblem& p) {
  p.batch = p.kvHeads = 1;
  p.queryHeads = 1 + pick(2);
  p.sequences = 1;
  p.headDim = 5;
  p.valueDim = 1 + pick(20);
  p.queries = p.keys = 2050 + pick(200);
  p.chunk = 0;
}

Case makeCase(uint32_t seed) {
  Case c;
  Pick pick(seed);
  LinearProblem& p = c.problem;
  drawSizes(pick, p);
  const bool isLong = seed % 10 == 9;
  if (isLong) makeLong(pick, p);
  if (pick(4) == 0 && p.isCausal) {
    p.batch = 1;
    p.sequences = 3;
    const int32_t first = p.keys > 0 ? pick(p.keys + 1) : 0;
    c.totals = {0, first, first, p.keys};
  }
  // Positive features keep denominators away from 0.
  const bool isPositive = p.isNormalized && p.featureMap == FeatureMap::identity;
  const auto number = [&] { return (isPositive ? float(pick(1000)) : float(pick(2000) - 1000)) / 1024; };
  c.query = makeOperand(pick, {p.batch, p.queries, p.queryHeads, p.headDim}, p.dtype, false, number);
  c.key = makeOperand(pick, {p.batch, p.keys, p.kvHeads, p.headDim}, p.dtype, false, number);
  c.value = makeOperand(pick, {p.batch, p.keys, p.kvHeads, p.valueDim}, p.dtype, false, number);
  c.out = makeOperand(pick, {p.batch, p.queries, p.queryHeads, p.valueDim}, p.dtype, true, [] { return 77.0f; });
  if (p.isCausal && pick(3)) {
    const bool isByToken = pick(2);
    p.decayHead = 1;
    p.decayToken = isByToken ? p.kvHeads : 0;
    p.decayBatch = isByToken ? int64_t(p.kvHeads) * p.keys : 0;
    const int64_t count = isByToken ? int64_t(p.batch) * p.keys * p.kvHeads : p.kvHeads;
    for (int64_t i = 0; i < count; ++i)
      c.decay.push_back(pick(isLong ? 100000 : 30) ? -float(pick(1000)) / (isLong ? 1e6f : 2e3f) : -INFINITY);
  }
  const size_t states = size_t(p.sequences) * size_t(p.kvHeads) * size_t(p.features());
  c.isStateWanted = pick(2);
  c.isInPlace = c.isStateWanted && pick(2);
  if (pick(2)) {
    for (size_t i = 0; i < states * size_t(p.valueDim); ++i) c.state.push_back(float(pick(2000) - 1000) / 512);
    for (size_t i = 0; i < (p.isNormalized ? states : 0); ++i) c.normalizer.push_back(float(pick(1000)) / 512);
  }
  // Some machines are full with one head and some have no room for a state.
  if (pick(3) == 0) c.limits.multiprocessors = 1;
  if (pick(3) == 0) c.limits.sharedBytesPerBlock = 99 * 1024;
  // A value that no earlier row may meet.
  if (pick(5) == 0 && p.keys > 0) {
    c.value.set(c.value.at(0, pick(p.keys), pick(p.kvHeads), pick(p.valueDim)), pick(2) ? NAN : INFINITY);
  }
  c.name = "seed " + std::to_string(seed) + ": " + nameOf(p.dtype) + " tokens " + std::to_string(p.queries) + '/' +
           std::to_string(p.keys) + " dims " + std::to_string(p.headDim) + '/' + std::to_string(p.valueDim) +
           " heads " + std::to_string(p.queryHeads) + '/' + std::to_string(p.kvHeads) + " map " +
           std::to_string(int(p.featureMap)) + (p.isCausal ? "" : " all keys") + (p.isNormalized ? " sum" : "") +
           (c.decay.empty() ? "" : " decay") + (c.totals.empty() ? "" : " packed") +
           (c.state.empty() ? "" : " state in") +
           (c.isInPlace       ? " in place"
            : c.isStateWanted ? " state out"
                              : "");
  return c;
}

std::vector<double> featuresOf(const LinearProblem& p, const OwnOperand& rows, int32_t b, int32_t t, int32_t h) {
  std::vector<double> x, y;
  for (int32_t d = 0; d < p.headDim; ++d) x.push_back(rows.get(b, t, h, d));
  if (p.featureMap != FeatureMap::taylor2) {
    for (double& number : x) {
      if (p.featureMap == FeatureMap::elu1) number = number > 0 ? number + 1 : std::exp(number);
      if (p.featureMap == FeatureMap::relu) number = std::fmax(number, 0);
    }
    return x;
  }
  const double root = std::sqrt(double(p.headDim));
  y.push_back(1);
  for (const double number : x) y.push_back(number / std::sqrt(root));
  for (int32_t a = 0; a < p.headDim; ++a)
    for (int32_t e = a; e < p.headDim; ++e)
      y.push_back(x[size_t(a)] * x[size_t(e)] / root / (a == e ? std::sqrt(2.0) : 1));
  return y;
}

// A state and what magnitudes went into it.
struct State {
  std::vector<double> rows, sizes, normalizer;  // [features][valueDim] twice, [features]
};

struct Result {
  OwnOperand out;
  std::vector<float> state, normalizer;
};

class Reference {
 public:
  Reference(const Case& c, const Result& got) : c_(c), p_(c.problem), got_(got) {}

  void check(int32_t sequence, int32_t head) {
    const LinearSequence s = tokensOf(sequence);
    State state = begin(sequence, head);
    if (!p_.isCausal) {
      for (Token t = s.keys.begin; t < s.keys.end; ++t) advance(state, int32_t(s.batch), t, head);
    }
    for (Token t = s.queries.begin; t < s.queries.end; ++t) {
      if (p_.isCausal) advance(state, int32_t(s.batch), t, head);
      for (int32_t h = 0; h < p_.headsPerState(); ++h)
        checkRow(state, int32_t(s.batch), t, head * p_.headsPerState() + h);
    }
    if (c_.isStateWanted) checkState(state, sequence, head);
  }

 private:
  LinearSequence tokensOf(int32_t sequence) const {
    if (c_.totals.empty()) return {sequence, sequence, {0, p_.queries}, {0, p_.keys}};
    const Range tokens{c_.totals[size_t(sequence)], c_.totals[size_t(sequence) + 1]};
    return {sequence, 0, tokens, tokens};
  }
  State begin(int32_t sequence, int32_t head) const {
    const size_t features = size_t(p_.features()), rows = features * size_t(p_.valueDim);
    State state{std::vector<double>(rows), std::vector<double>(rows), std::vector<double>(features)};
    const size_t task = size_t(sequence) * size_t(p_.kvHeads) + size_t(head);
    for (size_t i = 0; i < rows && !c_.state.empty(); ++i) {
      state.rows[i] = c_.state[task * rows + i];
      state.sizes[i] = std::fabs(state.rows[i]);
    }
    for (size_t i = 0; i < features && !c_.normalizer.empty(); ++i)
      state.normalizer[i] = c_.normalizer[task * features + i];
    return state;
  }
  void advance(State& state, int32_t b, Token t, int32_t head) const {
    double kept = 1;
    if (!c_.decay.empty()) kept = std::exp(double(c_.decay[size_t(b * p_.decayBatch + t * p_.decayToken + head)]));
    const std::vector<double> key = featuresOf(p_, c_.key, b, t, head);
    for (size_t f = 0; f < key.size(); ++f) {
      state.normalizer[f] = kept * state.normalizer[f] + key[f];
      for (int32_t e = 0; e < p_.valueDim; ++e) {
        const double x = key[f] * c_.value.get(b, t, head, e);
        const size_t at = f * size_t(p_.valueDim) + size_t(e);
        state.rows[at] = kept * state.rows[at] + x;
        state.sizes[at] = kept * state.sizes[at] + std::fabs(x);
      }
    }
  }
  void checkRow(const State& state, int32_t b, Token t, int32_t head) const {
    const std::vector<double> query = featuresOf(p_, c_.query, b, t, head);
    double factor = p_.scale;
    if (p_.isNormalized) {
      double sum = p_.eps;
      for (size_t f = 0; f < query.size(); ++f) sum += query[f] * state.normalizer[f];
      factor /= sum;
    }
    const double rounding = p_.dtype == DType::float32 ? 1e-6 : p_.dtype == DType::float16 ? 0x1p-11 : 0x1p-8;
    const double arithmetic = p_.dtype == DType::float32 ? 4e-6 : 6e-5;
    for (int32_t e = 0; e < p_.valueDim; ++e) {
      double expected = 0, size = 0;
      for (size_t f = 0; f < query.size(); ++f) {
        expected += query[f] * state.rows[f * size_t(p_.valueDim) + size_t(e)];
        size += std::fabs(query[f]) * state.sizes[f * size_t(p_.valueDim) + size_t(e)];
      }
      expected *= factor;
      size *= std::fabs(factor);
      if (!std::isfinite(expected)) {
        CHECK(!std::isfinite(got_.out.get(b, t, head, e)), "%s: a finite number at %d %d %d %d", c_.name.c_str(), b, t,
              head, e);
        continue;
      }
      const double got = got_.out.get(b, t, head, e), most = arithmetic * size + rounding * std::fabs(expected) + 1e-7;
      CHECK(std::fabs(got - expected) <= most, "%s: %g, not %g (%g off), at %d %d %d %d", c_.name.c_str(), got,
            expected, std::fabs(got - expected) / size, b, t, head, e);
    }
  }
  void checkState(const State& state, int32_t sequence, int32_t head) const {
    const size_t task = size_t(sequence) * size_t(p_.kvHeads) + size_t(head), rows = state.rows.size();
    const double arithmetic = p_.dtype == DType::float32 ? 4e-6 : 6e-5;
    for (size_t i = 0; i < rows; ++i) {
      const double got = got_.state[task * rows + i];
      if (!std::isfinite(state.rows[i])) {
        CHECK(!std::isfinite(got), "%s: state %zu is finite", c_.name.c_str(), i);
        continue;
      }
      CHECK(std::fabs(got - state.rows[i]) <= arithmetic * state.sizes[i] + 1e-7, "%s: state %zu is %g, not %g",
            c_.name.c_str(), i, got, state.rows[i]);
    }
    for (size_t f = 0; f < state.normalizer.size() && p_.isNormalized; ++f) {
      const double got = got_.normalizer[task * state.normalizer.size() + f], expected = state.normalizer[f];
      CHECK(std::fabs(got - expected) <= arithmetic * std::fmax(1, std::fabs(expected)),
            "%s: normalizer %zu is %g, not %g", c_.name.c_str(), f, got, expected);
    }
  }

  const Case& c_;
  const LinearProblem& p_;
  const Result& got_;
};

Result runOnDevice(const Case& c, const std::string& mode) {
  Device device(mode, c.limits);
  cuda::StagedLinear staged{c.problem, nullptr};
  LinearProblem& p = staged.problem;
  p.query = c.query.on(device.upload(c.query.bytes));
  p.key = c.key.on(device.upload(c.key.bytes));
  p.value = c.value.on(device.upload(c.value.bytes));
  uint8_t* const out = device.upload(c.out.bytes);
  p.out = c.out.on(out);
  if (!c.decay.empty()) p.decay = device.upload(c.decay);
  if (!c.state.empty()) p.stateIn = device.upload(c.state);
  if (!c.normalizer.empty()) p.normalizerIn = device.upload(c.normalizer);
  const size_t states = size_t(p.sequences) * size_t(p.kvHeads) * size_t(p.features());
  const std::vector<float> empty(states * size_t(p.valueDim), 55.0f);
  if (c.isStateWanted) {
    const bool isOver = c.isInPlace && !c.state.empty();
    p.state = isOver ? const_cast<float*>(p.stateIn.data) : device.upload(empty);
    if (p.isNormalized) {
      p.normalizer =
          isOver ? const_cast<float*>(p.normalizerIn.data) : device.upload(std::vector<float>(states, 55.0f));
    }
  }
  if (!c.totals.empty()) {
    p.cuSeqlens = c.totals.data();
    staged.cuSeqlens = device.upload(c.totals);
  }
  cuda::run(staged, device.limits(), device.queue(), CancelFlag{false});
  Result result{c.out, {}, {}};
  result.out.bytes = device.download(out, c.out.bytes.size());
  if (p.state) result.state = device.download(p.state.data, states * size_t(p.valueDim));
  if (p.normalizer) result.normalizer = device.download(p.normalizer.data, states);
  return result;
}

void checkCase(const Case& c, const std::string& mode) {
  const Result result = runOnDevice(c, mode);
  Reference reference(c, result);
  for (int32_t s = 0; s < c.problem.sequences; ++s)
    for (int32_t h = 0; h < c.problem.kvHeads; ++h) reference.check(s, h);
}

}  // namespace

int main(int argc, char** argv) {
  checkRounds(argc, argv, 60, makeCase, checkCase);
  return finish("linear attention on the GPU");
}
