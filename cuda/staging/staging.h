// Staging: a problem with arrays on the host becomes one whose arrays are all on the device.
// Reader: someone who asks what is copied for a call. Arrays that say that they are on the device are used as they are.
// Copies of host operands are laid out as cuda/staging/packing.h says, with rows that begin at multiples of 16 bytes;
// results come back by deliver(), and only elements that the problem addresses and the call computes are written.
#pragma once

#include <vector>

#include "../../core/op/merge.h"
#include "../../core/op/attention.h"
#include "../../core/op/selection.h"
#include "../attention/run.h"
#include "../machine/machine.h"
#include "packing.h"

namespace tilewise::gpu {

// The operands of one call on the device. The queue owns the copies.
class Staging {
 public:
  explicit Staging(Queue& queue) : queue_(queue) {}

  StagedAttention stage(const AttentionProblem& problem);
  MergeProblem stage(const MergeProblem& problem);
  SelectionProblem stage(const SelectionProblem& problem);

  // Waits for the queue, then writes the results that belong on the host.
  void deliver();

 private:
  struct Result {
    Packing packing;
    void* host;
    const void* device;
  };

  // The axes of an array; their strides become those of the copy.
  using Axes = std::vector<OperandAxis>;
  // How the copy is laid out: rows begin at multiples of `rowAlignment` bytes; `isRowDense` as in
  // cuda/staging/packing.h.
  struct Form {
    int64_t elementBytes, rowAlignment;
    bool isRowDense;
  };

  static Packing packingOf(const Axes& axes, const Form& form);
  // The array on the device: itself, a copy, or room for a result that deliver() will bring back.
  void* input(const void* data, bool isOnDevice, const Axes& axes, const Form& form);
  void* output(void* data, bool isOnDevice, const Axes& axes, const Form& form);
  void upload(const Packing& packing, const void* host, void* device);

  template <class T>
  void stageInput(Placed<T>& array, const Axes& axes, const Form& form);
  template <class T>
  void stageOutput(Placed<T>& array, const Axes& axes, const Form& form);
  template <class T>
  void stageList(Placed<T>& list, int64_t count);
  void stageOutputList(Placed<int32_t>& list, int64_t count);
  // Lists that are always on the host.
  template <class T>
  void stageList(const T*& list, int64_t count);

  void stageOperand(Operand& operand, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, DType type);
  void stageOut(Operand& out, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, DType type);
  void stageBlocks(AttentionProblem& p);

  Queue& queue_;
  std::vector<Result> results_;
  std::vector<char> buffer_;
};

}  // namespace tilewise::gpu
