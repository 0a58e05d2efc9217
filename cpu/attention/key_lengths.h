// KeyLengths: what divides the keys of a call by their lengths, as the first items of its job. Reader: someone who
// follows a cosine; core/score/cosine.h says what the factors are. Items that need them wait for those that write them:
// items are begun in order, so these are running then.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "../../core/op/attention.h"
#include "../runtime/kernels.h"
#include "../runtime/worker.h"
#include "tuning.h"

namespace tilewise::cpu {

class KeyLengths {
 public:
  // Makes room, and says in the problem where it is.
  void plan(AttentionProblem& p) {
    batches_ = p.store.isDense() ? p.batch : p.sequences;
    chunks_ = ceilDiv<int64_t>(p.keys, kLengthKeys);
    factors_.resize(size_t(batches_) * size_t(p.kvHeads) * size_t(p.keys));
    p.cosine.keys = factors_.data();
    p.cosine.head = p.keys;
    p.cosine.batch = int64_t(p.kvHeads) * p.keys;
    items_ = batches_ * p.kvHeads * chunks_;
  }

  int64_t items() const { return items_; }

  // Some keys of a batch entry and KV head.
  void work(int64_t item, const AttentionProblem& p, const Kernels& kernels, Worker& worker) {
    const int64_t chunk = item % chunks_, head = item / chunks_ % p.kvHeads, batch = item / chunks_ / p.kvHeads;
    const Range used = inUse(p, batch);
    const Range keys = intersect(used, {Token(chunk * kLengthKeys), Token((chunk + 1) * kLengthKeys)});
    const StoredRows rows = p.store.rowsOf(p.key, batch, 0, head);
    float* const row = worker.floats(kernels.rowFloats(p.headDim));
    float* const to = factors_.data() + (batch * p.kvHeads + head) * p.keys;
    for (Token token = keys.begin; token < keys.end;) {
      const Token n = smaller(keys.end - token, p.store.consecutive(token));
      const char* const first = static_cast<const char*>(p.key.data) + rows.at(token) * sizeOf(p.keyType);
      kernels.lengthFactors(first, p.keyType, p.key.token, p.key.dim, p.headDim, n, row, to + token);
      token += n;
    }
    done_.fetch_add(1, std::memory_order_release);
  }

  // Until all are written. False: the call is cancelled.
  bool wait(Worker& worker) const {
    while (done_.load(std::memory_order_acquire) < items_) {
      if (!worker.pause()) return false;
      std::this_thread::yield();
    }
    return true;
  }

 private:
  // Keys of a batch entry that may be read. Packed ones are one entry.
  static Range inUse(const AttentionProblem& p, int64_t batch) {
    if (p.cuSeqlensK) return {0, p.cuSeqlensK[p.sequences]};
    return {p.keyStarts ? p.keyStarts[batch] : 0, p.keyLengths ? p.keyLengths[batch] : p.keys};
  }

  std::vector<float> factors_;  // [batches][kvHeads][keys]
  int64_t batches_ = 0, chunks_ = 0, items_ = 0;
  std::atomic<int64_t> done_{0};
};

}  // namespace tilewise::cpu
