// What the rotary kernels are told. Reader: someone who reads a kernel or its launches (run.cc).
#pragma once

#include "../../core/op/rotary.h"
#include "tuning.h"

namespace tilewise::cuda {

// Rotations of a problem on the device: a row's cosines, then its sines.
struct Rotations {
  const float* data = nullptr;
  int64_t batch = 0, token = 0, head = 0;
};

struct RotaryParams {
  int32_t heads;
  Token tokens;
  int32_t headDim, pairs;
  bool isInterleaved;
  bool isAligned;  // all pieces can be read and written 16 bytes at a time
  Operand in, out;
  Rotations rotations;
  // A row is cut into pieces: those of its pairs, then those that are only copied.
  int32_t rotatedPieces, pieces;
  int64_t work;  // pieces of all rows
  int64_t firstPiece;  // of this launch
};

}  // namespace tilewise::cuda
