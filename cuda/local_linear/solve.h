// LocalLinear: local linear attention of 64 queries of a head. Reader: start at run(), the order of the passes over the
// keys. Between them conjugate gradients go on per row, each the work of four threads, until all rows of the tile are
// done. Idea of the second orthogonalisation: Lanczos with full reorthogonalisation (Golub and Van Loan).
#pragma once

#include "key_passes.h"

namespace tilewise::cuda {

// The part of the first residual that counts as 0: float32 has no more digits.
constexpr float kZeroResidual = 1e-8f;

// Some of a thread's elements of a vector, which are loaded before the first is needed.
constexpr int kAtOnce = 8;
struct Elements {
  float x[kAtOnce];

  __device__ __forceinline__ Elements() : x{} {}
  __device__ __forceinline__ explicit Elements(const float* from) {
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) x[i] = from[i * kLinearThreads];
  }
  __device__ __forceinline__ void store(float* to) const {
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) st_global(to + i * kLinearThreads, x[i]);
  }
  __device__ __forceinline__ void add(float factor, const Elements& y) {
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) x[i] = fmaf(factor, y.x[i], x[i]);
  }
  __device__ __forceinline__ void scale(float factor) {
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) x[i] *= factor;
  }
  // sum + x.y
  __device__ __forceinline__ float dot(const Elements& y, float sum) const {
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) sum = fmaf(x[i], y.x[i], sum);
    return sum;
  }
};

template <class E>
class LocalLinear : KeyPasses<E> {
  using Base = KeyPasses<E>;
  using Base::a_;
  using Base::numbers_;
  using Base::ownRow;
  using Base::p_;
  using typename Base::Output;

 public:
  __device__ __forceinline__ explicit LocalLinear(const LocalLinearParams& params) : Base(params) {}

  __device__ __forceinline__ void run(int64_t item) {
    const int64_t tasks = int64_t(p_.batch) * p_.queryHeads;
    // The last queries, which may see most keys, are first.
    Base::begin(item % tasks, Token(a_.queryTiles() - 1 - item / tasks) * kChunkTokens);
    iteration_ = 0;
    direction_ = nullptr;
    Pass kind = Pass::base;
#pragma unroll 1
    for (bool isDone = false; !isDone;) {
      const bool isOutput = kind == Pass::output, isSum = kind == Pass::mean || kind == Pass::covariance;
      const int columns = isOutput ? p_.valueDim : isSum ? p_.headDim : 1;
#pragma unroll 1
      for (int first = 0; first < columns; first += kColumnStrips * kStripDims) {
        Output sums[kColumnStrips];
        Base::pass(kind, first, direction_, sums);
        if (isOutput) writeRows(sums, first);
        if (isSum) keepSums(sums, first, vectors() + (kind == Pass::mean ? kMean : kProduct) * a_.vectorFloats());
      }
      sync_block();
      isDone = isOutput;
      switch (kind) {
        case Pass::base:
          findBase();
          kind = p_.isSolved() ? Pass::mean : Pass::along;
          break;
        case Pass::mean:
          start();
          kind = next();
          break;
        case Pass::covariance:
          step();
          kind = next();
          break;
        case Pass::along:
          averageAlong();
          kind = Pass::output;
          break;
        case Pass::output: break;
      }
      sync_block();
    }
  }

 private:
  // In memory. Residuals of earlier iterations are behind them, then one over the squares of their lengths.
  enum Vector { kMean, kSolution, kResidual, kDirection, kProduct, kResiduals };
  static_assert(kResiduals == kSolverVectors, "the host makes room for as many");

  // A thread's elements of all vectors. Asked for outside of branches that ptxas does not know to be the same in all
  // lanes.
  struct Own {
    float* first;
    int thread, row;
  };
  __device__ __forceinline__ float* vectors() const { return a_.vectors + block_index() * a_.blockFloats(); }
  __device__ __forceinline__ Own own() const {
    const int thread = ownThread();
    return {vectors() + thread, thread, thread / 4};
  }
  __device__ __forceinline__ float* of(const Own& own, int index) const {
    return own.first + index * a_.vectorFloats();
  }
  __device__ __forceinline__ float* sizeOf(const Own& own, int residual) const {
    return of(own, kResiduals + a_.keptResiduals) + residual * kLinearThreads;
  }

  // Calls f(offset) for the offset of every kAtOnce of this thread's elements.
  template <class F>
  __device__ __forceinline__ void forEachElements(F&& f) const {
#pragma unroll 1
    for (int i = 0; i < a_.elements(); i += kAtOnce) f(i * kLinearThreads);
  }
  __device__ __forceinline__ float dot(const float* x, const float* y) const {
    float sum = 0;
    forEachElements([&](int at) { sum = Elements(x + at).dot(Elements(y + at), sum); });
    return quadSum(sum);
  }

  // From both halves of a row.
  __device__ __forceinline__ void findBase() const {
    const int row = ownThread() / 4;
    SoftmaxState state{numbers_.load(RowNumbers::kMaxima, row), numbers_.load(RowNumbers::kSums, row)};
    merge(state, {numbers_.load(RowNumbers::kMaxima + 1, row), numbers_.load(RowNumbers::kSums + 1, row)});
    if (lane_id() % 4 != 0) return;
    st_shared(numbers_.at(RowNumbers::kBase, row), subtrahend(state.max));
    st_shared(numbers_.at(RowNumbers::kInverse, row), state.sum == 0 ? 0 : reciprocal_approx(state.sum));
  }
  __device__ __forceinline__ void setAlong(int row, float along) const {
    if (lane_id() % 4 == 0) st_shared(numbers_.at(RowNumbers::kAlong, row), along);
  }
  __device__ __forceinline__ void averageAlong() const {
    const int row = ownThread() / 4;
    setAlong(row, numbers_.sumOf(row) * numbers_.load(RowNumbers::kInverse, row));
  }

  // Sums of a pass to a vector, as they are.
  __device__ __forceinline__ void keepSums(Output (&sums)[kColumnStrips], int first, float* to) const {
#pragma unroll
    for (int strip = 0; strip < kColumnStrips; ++strip) {
      if (first + strip * kStripDims >= p_.headDim) continue;
#pragma unroll 1
      for (int block = 0; block < Base::kHalf / 8; ++block) {
#pragma unroll
        for (int slot = 0; slot < 2; ++slot)
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const int d = first + strip * kStripDims + Base::firstColumn() + Output::column(block, i);
            st_global(to + d / 4 * kLinearThreads + (ownRow() + slot * 8) * 4 + d % 4, sums[strip].at(slot, 0, i));
          }
        sums[strip].rotate();
      }
    }
  }

  __device__ __forceinline__ void writeRows(Output (&sums)[kColumnStrips], int first) const {
    using Bits = typename Element<E>::Bits;
    float factor[2];
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) factor[slot] = numbers_.load(RowNumbers::kInverse, ownRow() + slot * 8);
#pragma unroll
    for (int strip = 0; strip < kColumnStrips; ++strip) {
      const int column = first + strip * kStripDims;
      Bits* out[2];
#pragma unroll
      for (int slot = 0; slot < 2; ++slot) {
        out[slot] = static_cast<Bits*>(p_.out.data) +
                    p_.out.offset(Base::batch_, Base::query_ + ownRow() + slot * 8, Base::head_) + column * p_.out.dim;
      }
      Base::writeRows(sums[strip], out, p_.out.dim, factor, Base::rows_, p_.valueDim - column);
    }
  }

  // The first residual, kbar - q, of r = 0.
  __device__ __forceinline__ void start() {
    const Own own = this->own();
    const bool exists = own.row < Base::rows_;
    const E* const query = static_cast<const E*>(p_.query.data) +
                           p_.query.offset(Base::batch_, Base::query_ + (exists ? own.row : 0), Base::head_);
    const float inverse = numbers_.load(RowNumbers::kInverse, own.row);
    float *const mean = of(own, kMean), *const solution = of(own, kSolution), *const residual = of(own, kResidual),
                 *const direction = of(own, kDirection);
    float sum = 0;
    forEachElements([&](int at) {
      Elements x(mean + at);
      x.scale(inverse);
      x.store(mean + at);
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int d = (at / kLinearThreads + i) * 4 + own.thread % 4;
        if (exists && d < p_.headDim) x.x[i] -= RowPiece<E>::numberOf(query[d * p_.query.dim]);
      }
      Elements().store(solution + at);
      x.store(residual + at);
      x.store(direction + at);
      sum = x.dot(x, sum);
    });
    size_ = quadSum(sum);
    enough_ = larger(FLT_MIN, size_ * larger(p_.tolerance * p_.tolerance, kZeroResidual * kZeroResidual));
  }

  // Another product with the covariance, or the output where no row wants one.
  __device__ __forceinline__ Pass next() {
    const bool goesOn = sync_block_or(size_ > enough_) && iteration_ < p_.iterations;
    Base::loaded_ = 1;
    const Own own = this->own();
    direction_ = of(own, goesOn ? kDirection : kSolution);
    setAlong(own.row, dot(direction_, of(own, kMean)));
    if (!goesOn) return Pass::output;
    if (iteration_ < a_.keptResiduals) {
      const float* const residual = of(own, kResidual);
      float* const kept = of(own, kResiduals + iteration_);
      forEachElements([&](int at) { Elements(residual + at).store(kept + at); });
      st_global(sizeOf(own, iteration_), size_ < FLT_MIN ? 0 : reciprocal_approx(size_));
    }
    ++iteration_;
    return Pass::covariance;
  }

  // Along the direction, to where the residual has no part of it.
  __device__ __forceinline__ void step() {
    const Own own = this->own();
    const float inverse = numbers_.load(RowNumbers::kInverse, own.row);
    const float off = numbers_.sumOf(own.row) * inverse;  // 0 in exact arithmetic
    float *const mean = of(own, kMean), *const solution = of(own, kSolution), *const residual = of(own, kResidual),
                 *const direction = of(own, kDirection), *const product = of(own, kProduct);
    float curvature = 0;
    forEachElements([&](int at) {
      Elements x(product + at);
      const Elements along(direction + at);
      x.scale(inverse);
      x.add(-off, Elements(mean + at));
      x.add(p_.lambda, along);
      x.store(product + at);
      curvature = x.dot(along, curvature);
    });
    curvature = quadSum(curvature);
    const bool isActive = size_ > enough_;
    const float length = isActive && curvature > FLT_MIN ? size_ * reciprocal_approx(curvature) : 0;
    forEachElements([&](int at) {
      add(solution + at, length, direction + at);
      add(residual + at, -length, product + at);
    });
    // Rounding spoils that residuals are orthogonal.
#pragma unroll 1
    for (int i = 0; i < smaller(iteration_, a_.keptResiduals); ++i) {
      const float* const before = of(own, kResiduals + i);
      const float share = dot(residual, before) * *sizeOf(own, i);
      forEachElements([&](int at) { add(residual + at, -share, before + at); });
    }
    const float left = dot(residual, residual);
    const float share = length > 0 ? left * reciprocal_approx(size_) : 0;
    // A row without curvature is done: what is left of its residual is rounding.
    if (isActive) size_ = length > 0 ? left : 0;
    forEachElements([&](int at) {
      Elements x(residual + at);
      x.add(share, Elements(direction + at));
      x.store(direction + at);
    });
  }
  __device__ __forceinline__ void add(float* to, float factor, const float* from) const {
    Elements x(to);
    x.add(factor, Elements(from));
    x.store(to);
  }

  const float* direction_;
  float size_, enough_;  // squares of the residual's length, and of that at which this thread's row is done
  int32_t iteration_;
};

template <class E>
__device__ __forceinline__ void correctRows(const LocalLinearParams& p) {
  LocalLinear<E> work(p);
#pragma unroll 1
  for (int64_t item = block_index(); item < p.items; item += block_count()) work.run(item);
}

}  // namespace tilewise::cuda
