// RotaryProblem: rows whose first dims are pairs, each rotated by an angle that grows with the row's position.
// Reader: backend authors. Pair i is dims (2i, 2i + 1) of interleaved rows (GPT-J), else (i, i + pairs) (NeoX); the
// dims behind the pairs stay as they are. Idea: rotary position embedding (arXiv 2104.09864).
#pragma once

#include <cmath>
#include <cstdint>

#include "../base/dtype.h"
#include "../base/operand.h"
#include "../base/rotation.h"

namespace tilewise {

struct RotaryProblem {
  int32_t batch = 0, heads = 0;
  Token tokens = 0;
  int32_t headDim = 0, pairs = 0;  // 2 * pairs <= headDim
  bool isInterleaved = false;
  DType dtype = DType::float32;
  Operand in, out;  // the same rows at the same place, or no memory in common

  // On the host. The angle of a pair is the position of its token times its frequency.
  const double* positions = nullptr;  // [batch][tokens]
  int64_t positionsBatch = 0;
  const double* frequencies = nullptr;  // [heads][pairs]
  int64_t frequenciesHead = 0;  // 0: the heads share them
  double factor = 1;  // on rotated pairs: YaRN's attention factor

  bool isEmpty() const { return out.data == nullptr; }
  bool isInPlace() const { return in.data == out.data; }
  bool headsShareRotations() const { return frequenciesHead == 0; }
};

// The rotations of a token's pairs: their cosines, then their sines, with the factor. Angles are float64, since a
// float32 angle is off by 4e-3 at position 131071; cosines and sines are float32, as the numbers that they meet.
TW_HOST_DEVICE void writeRotations(const RotaryProblem& p, int64_t b, Token t, int32_t head, float* rotations) {
  const double position = p.positions[b * p.positionsBatch + t];
  const double* const frequencies = p.frequencies + head * p.frequenciesHead;
  double largest = 0;
  for (int32_t i = 0; i < p.pairs; ++i) largest = larger(largest, std::fabs(position * frequencies[i]));
  if (largest > kLargestAngle) {
    for (int32_t i = 0; i < p.pairs; ++i) {
      rotations[i] = float(std::cos(position * frequencies[i]) * p.factor);
      rotations[p.pairs + i] = float(std::sin(position * frequencies[i]) * p.factor);
    }
    return;
  }
  for (int32_t i = 0; i < p.pairs; ++i) {
    const Rotation rotation = rotationOf(position * frequencies[i]);
    rotations[i] = float(rotation.cosine * p.factor);
    rotations[p.pairs + i] = float(rotation.sine * p.factor);
  }
}

}  // namespace tilewise
