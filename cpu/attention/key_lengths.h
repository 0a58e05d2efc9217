// KeyLengths: what divides the keys of a call by their lengths, extra keys too, as the first items of its job. Reader:
// someone who follows a cosine; core/score/cosine.h says what the factors are. Items that need them wait for those that
// write them: items are begun in order, so these are running then.
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
    keys_.plan(p.store.isDense() ? p.batch : p.sequences, p.kvHeads, p.keys, p.cosine.keys);
    extras_.plan(p.batch, p.kvHeads, p.extraTokens, p.cosine.extras);
  }

  int64_t items() const { return keys_.items() + extras_.items(); }

  // Some keys of a batch entry and KV head.
  void work(int64_t item, const AttentionProblem& p, const Kernels& kernels, Worker& worker) {
    float* const row = worker.floats(kernels.rowFloats(p.headDim));
    if (item < keys_.items()) {
      const auto inUse = [&](int64_t batch) { return keysInUse(p, batch); };
      write(keys_.at(item, inUse), p.key, p.store, p, kernels, row);
    } else {
      const auto all = [&](int64_t) { return Range{0, p.extraTokens}; };
      write(extras_.at(item - keys_.items(), all), p.extraKeys, KeyStore{}, p, kernels, row);
    }
    done_.fetch_add(1, std::memory_order_release);
  }

  // Until all are written. False: the call is cancelled.
  bool wait(Worker& worker) const {
    while (done_.load(std::memory_order_acquire) < items()) {
      if (!worker.pause()) return false;
      std::this_thread::yield();
    }
    return true;
  }

 private:
  // Rows that one item takes, and where their factors go.
  struct Part {
    int64_t batch, head;
    Range tokens;
    float* to;  // of token 0
  };

  // Factors of rows, [batch entries][heads][tokens].
  class Factors {
   public:
    void plan(int64_t batches, int32_t heads, Token tokens, LengthFactors& factors) {
      heads_ = heads;
      tokens_ = tokens;
      chunks_ = ceilDiv<int64_t>(tokens, kLengthKeys);
      items_ = batches * heads * chunks_;
      factors_.resize(size_t(batches) * size_t(heads) * size_t(tokens));
      factors = {factors_.data(), int64_t(heads) * tokens, tokens};
    }
    int64_t items() const { return items_; }
    template <class InUse>
    Part at(int64_t item, InUse&& inUse) {
      const int64_t chunk = item % chunks_, head = item / chunks_ % heads_, batch = item / chunks_ / heads_;
      const Range tokens = intersect(inUse(batch), {Token(chunk * kLengthKeys), Token((chunk + 1) * kLengthKeys)});
      return {batch, head, tokens, factors_.data() + (batch * heads_ + head) * tokens_};
    }

   private:
    std::vector<float> factors_;
    int64_t heads_ = 0, tokens_ = 0, chunks_ = 0, items_ = 0;
  };

  static void write(const Part& part, const Operand& keys, const KeyStore& store, const AttentionProblem& p,
                    const Kernels& kernels, float* row) {
    const StoredRows rows = store.rowsOf(keys, part.batch, 0, part.head);
    for (Token token = part.tokens.begin; token < part.tokens.end;) {
      const Token n = smaller(part.tokens.end - token, store.consecutive(token));
      const char* const first = static_cast<const char*>(keys.data) + rows.at(token) * sizeOf(p.keyType);
      kernels.lengthFactors(first, p.keyType, keys.token, keys.dim, p.headDim, n, row, part.to + token);
      token += n;
    }
  }

  // Keys of a batch entry that may be read. Packed ones are one entry.
  static Range keysInUse(const AttentionProblem& p, int64_t batch) {
    if (p.cuSeqlensK) return {0, p.cuSeqlensK[p.sequences]};
    return {p.keyStarts ? p.keyStarts[batch] : 0, p.keyLengths ? p.keyLengths[batch] : p.keys};
  }

  Factors keys_, extras_;
  std::atomic<int64_t> done_{0};
};

}  // namespace tilewise::cpu
