// Staging: a problem whose arrays lie on the host, on the device or here and there becomes one that lies on the device.
// Reader: someone who asks what is copied for a call. What lies on the device already is used as it is. Copies of host
// operands are laid out as cuda/staging/packing.h says, with rows that begin at multiples of 16 bytes; results come
// back by deliver(), and only elements that the problem addresses and the call computes are written.
#pragma once

#include <deque>
#include <initializer_list>
#include <vector>

#include "../../core/op/merge.h"
#include "../../core/op/attention.h"
#include "../../core/op/selection.h"
#include "../attention/run.h"
#include "../machine/machine.h"
#include "packing.h"

namespace tilewise::gpu {

// Of one call; the queue owns the copies.
class Staging {
 public:
  Staging(const Machine& machine, Queue& queue) : machine_(machine), queue_(queue) {}

  // `lengths` is valid as long as this Staging.
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

  // An axis of an array and where its stride stands, which becomes that of the copy.
  struct Axis {
    int64_t size;
    int64_t* stride;
  };
  using Axes = std::initializer_list<Axis>;
  // How the copy is laid out: rows begin at multiples of `rowAlignment` bytes; `isRowDense` as in
  // cuda/staging/packing.h.
  struct Form {
    int64_t elementBytes, rowAlignment;
    bool isRowDense;
  };

  bool isOnHost(const void* data) const { return data && !machine_.owns(data); }
  static Packing packingOf(const Axes& axes, const Form& form);
  // What stands for the array on the device: itself, a copy, or room for a result that deliver() will bring back.
  void* input(const void* data, const Axes& axes, const Form& form);
  void* output(void* data, const Axes& axes, const Form& form);
  void upload(const Packing& packing, const void* host, void* device);

  template <class T>
  const T* list(const T* data, int64_t count);
  int32_t* outputList(int32_t* data, int64_t count);
  // The same list on the host; it is fetched when it lies on the device.
  const int32_t* onHost(const int32_t* data, int64_t count);

  void stageOperand(Operand& operand, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, DType type);
  void stageOut(Operand& out, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, DType type);
  void stageScores(ScoreOperand& scores, const AttentionProblem& p, int64_t queries, int64_t keys,
                   int64_t elementBytes);
  void stageBlocks(AttentionProblem& p);

  const Machine& machine_;
  Queue& queue_;
  std::vector<Result> results_;
  std::deque<std::vector<int32_t>> lists_;  // copies of lists that lie on the device
  std::vector<char> buffer_;
};

}  // namespace tilewise::gpu
