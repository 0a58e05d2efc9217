// LinearPlan: how a problem of linear attention becomes launches, and what they read and write.
// Reader: someone who asks why a call takes one pass or two; the kernels' part is in params.h.
#pragma once

#include "../../core/op/linear.h"
#include "../machine/machine.h"
#include "params.h"

namespace tilewise::cuda {

struct LinearPlan {
  LinearPlan(const LinearProblem& problem, const Limits& limits);

  int64_t tasks;
  int columns;  // of a block of threads
  int32_t columnBlocks, groups, outputGroups, chunk;
  Token groupTokens;
  bool isWanted;  // the state behind the last token
  bool isSplit;  // states of groups first, then outputs
  LinearShape shape;
  int64_t sharedBytes;
  bool fits;

  int64_t slotBytes() const {
    return isSplit || !shape.isResident ? tasks * (groups + 1) * slotFloats_ * int64_t(sizeof(float)) : 0;
  }
  // What is read and written of device memory, caches aside.
  double bytes() const;

 private:
  bool shapeFor(int columnsPerBlock, int64_t room, bool isResident);
  void shapeStates(int64_t room);
  void divide(int64_t multiprocessors);

  const LinearProblem& p_;
  int64_t slotFloats_;
};

}  // namespace tilewise::cuda
