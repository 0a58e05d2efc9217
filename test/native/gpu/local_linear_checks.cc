// Local linear attention on the emulated GPU against float64, with the covariance formed. Reader: someone who changes
// the kernel. Arguments: rounds, then the emulator's modes.
#include <cmath>
#include <string>
#include <vector>

#include "../../../cuda/operations.h"
#include "../check.h"
#include "operands.h"
#include "rounds.h"

using namespace tilewise;

namespace {

using Row = std::vector<double>;

struct Case {
  LocalLinearProblem problem;
  OwnOperand query, key, value, correction, out;
  int64_t sharedBytes = 0;
  std::string name;
};

Case makeCase(uint32_t seed) {
  Case c;
  Pick pick(seed);
  LocalLinearProblem& p = c.problem;
  const int32_t dims[] = {1, 5, 16, 64, 72, 128, 150}, valueDims[] = {1, 5, 64, 70, 150};
  const Token tokens[] = {1, 2, 15, 63, 64, 65, 130};
  p.batch = 1 + pick(2);
  p.kvHeads = 1 + pick(2);
  p.queryHeads = p.kvHeads * (1 + pick(2));
  p.queries = pick.of(tokens);
  p.keys = pick(2) ? p.queries : pick.of(tokens);
  p.headDim = pick.of(dims);
  p.valueDim = pick.of(valueDims);
  p.dtype = DType(pick(3));
  p.isCausal = pick(3);
  const float scales[] = {1, 0.25f, -0.5f};
  p.scale = pick.of(scales);
  const bool isSolved = pick(3);
  const float lambdas[] = {0.2f, 1, 5}, tolerances[] = {0, 1e-6f, 0.3f};
  const int32_t iterations[] = {1, 2, 5, 40};
  p.lambda = pick.of(lambdas);
  p.tolerance = pick.of(tolerances);
  p.iterations = pick.of(iterations);
  // Of 99 KB rows of several strips pass, of 163 KB those of three.
  c.sharedBytes = (pick(2) ? 99 : 163) * 1024;
  const auto number = [&] { return float(pick(2000) - 1000) / 1024; };
  const auto rowsOf = [&](Token count, int32_t heads, int32_t dim) {
    return makeOperand(pick, {p.batch, count, heads, dim}, p.dtype, false, number);
  };
  c.query = rowsOf(p.queries, p.queryHeads, p.headDim);
  c.key = rowsOf(p.keys, p.kvHeads, p.headDim);
  c.value = rowsOf(p.keys, p.kvHeads, p.valueDim);
  if (!isSolved) c.correction = rowsOf(p.queries, p.queryHeads, p.headDim);
  c.out = makeOperand(pick, {p.batch, p.queries, p.queryHeads, p.valueDim}, p.dtype, true, [] { return 77.0f; });
  // Numbers that no row may meet that does not see them.
  for (OwnOperand* const rows : {&c.key, &c.value}) {
    if (pick(6)) continue;
    rows->set(rows->at(0, pick(p.keys), pick(p.kvHeads), pick(rows->shape.dim)), pick(2) ? NAN : INFINITY);
  }
  c.name = "seed " + std::to_string(seed) + ": " + nameOf(p.dtype) + " tokens " + std::to_string(p.queries) + '/' +
           std::to_string(p.keys) + " dims " + std::to_string(p.headDim) + '/' + std::to_string(p.valueDim) +
           (p.isCausal ? " causal" : "") + (isSolved ? " iterations " + std::to_string(p.iterations) : " given");
  return c;
}

double dot(const Row& a, const Row& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
void add(Row& to, double factor, const Row& from) {
  for (size_t i = 0; i < to.size(); ++i) to[i] += factor * from[i];
}

class Reference {
 public:
  explicit Reference(const Case& c) : c_(c), p_(c.problem) {}

  void check(int32_t b, Token t, int32_t h) const {
    const int32_t kvHead = h / p_.headsPerKey();
    const Row query = rowOf(c_.query, b, t, h);
    std::vector<Row> keys;
    for (Token j = 0; j < p_.end(t); ++j) keys.push_back(rowOf(c_.key, b, j, kvHead));
    Row weights;
    double most = -INFINITY, total = 0;
    for (const Row& key : keys) {
      weights.push_back(dot(query, key) * double(p_.scale));
      most = std::fmax(most, weights.back());
    }
    for (double& w : weights) total += w = std::exp(w - most);
    Row mean(query.size());
    for (size_t j = 0; j < keys.size(); ++j) add(mean, weights[j] /= total, keys[j]);
    const Row r = c_.correction.bytes.empty() ? solved(query, keys, weights, mean) : rowOf(c_.correction, b, t, h);
    Row out(size_t(p_.valueDim));
    double size = 1;
    for (size_t j = 0; j < keys.size(); ++j) {
      const double factor = 1 - (dot(r, keys[j]) - dot(r, mean));
      add(out, weights[j] * factor, rowOf(c_.value, b, Token(j), kvHead));
      size += std::fabs(weights[j] * factor);
    }
    const double arithmetic = p_.dtype == DType::float32 ? 2e-5 : 3e-4;
    const double rounding = p_.dtype == DType::float32 ? 1e-6 : p_.dtype == DType::float16 ? 0x1p-11 : 0x1p-8;
    for (int32_t e = 0; e < p_.valueDim; ++e) {
      const double got = c_.out.get(b, t, h, e), expected = out[size_t(e)];
      if (!std::isfinite(expected)) {
        CHECK(!std::isfinite(got), "%s: a finite %d,%d,%d,%d", c_.name.c_str(), b, t, h, e);
      } else {
        CHECK(std::fabs(got - expected) <= arithmetic * size + rounding * std::fabs(expected),
              "%s: %d,%d,%d,%d is %g, not %g", c_.name.c_str(), b, t, h, e, got, expected);
      }
    }
  }

 private:
  static Row rowOf(const OwnOperand& rows, int32_t b, Token t, int32_t h) {
    Row x;
    for (int32_t d = 0; d < rows.shape.dim; ++d) x.push_back(rows.get(b, t, h, d));
    return x;
  }
  Row solved(const Row& query, const std::vector<Row>& keys, const Row& weights, const Row& mean) const {
    const size_t dim = query.size();
    std::vector<Row> covariance(dim, Row(dim));
    for (size_t j = 0; j < keys.size(); ++j) {
      Row centred = keys[j];
      add(centred, -1, mean);
      for (size_t d = 0; d < dim; ++d) add(covariance[d], weights[j] * centred[d], centred);
    }
    for (size_t d = 0; d < dim; ++d) covariance[d][d] += double(p_.lambda);
    Row solution(dim), residual = mean;
    add(residual, -1, query);
    Row direction = residual;
    double size = dot(residual, residual);
    const double enough = size * std::fmax(double(p_.tolerance) * double(p_.tolerance), 1e-16);
    for (int32_t i = 0; i < p_.iterations && size > enough; ++i) {
      Row product;
      for (const Row& row : covariance) product.push_back(dot(row, direction));
      const double step = size / dot(direction, product);
      add(solution, step, direction);
      add(residual, -step, product);
      const double next = dot(residual, residual);
      for (double& x : direction) x *= next / size;
      add(direction, 1, residual);
      size = next;
    }
    return solution;
  }

  const Case& c_;
  const LocalLinearProblem& p_;
};

void checkCase(Case& c, const std::string& mode) {
  Device device(mode, {80, 2, c.sharedBytes});
  LocalLinearProblem p = c.problem;
  p.query = c.query.on(device.upload(c.query.bytes));
  p.key = c.key.on(device.upload(c.key.bytes));
  p.value = c.value.on(device.upload(c.value.bytes));
  if (!c.correction.bytes.empty()) p.correction = c.correction.on(device.upload(c.correction.bytes));
  uint8_t* const out = device.upload(c.out.bytes);
  p.out = c.out.on(out);
  cuda::run(p, device.limits(), device.queue(), CancelFlag{false});
  c.out.bytes = device.download(out, c.out.bytes.size());
  const Reference reference(c);
  for (int32_t b = 0; b < p.batch; ++b)
    for (Token t = 0; t < p.queries; ++t)
      for (int32_t h = 0; h < p.queryHeads; ++h) reference.check(b, t, h);
}

}  // namespace

int main(int argc, char** argv) {
  checkRounds(argc, argv, 30, makeCase, checkCase);
  return finish("local linear attention on the GPU");
}
