// Reasons: the sentences of Backend::supports(), and the reasons that every backend has against a problem.
// Reader: someone who adds a limit. Error messages and the table of docs/reference/support.md print these sentences.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "attention.h"

namespace tilewise {

class Reasons {
 public:
  // `backend`: as sentences name it, "the CPU backend".
  explicit Reasons(std::string backend) : backend_(std::move(backend)) {}

  void add(std::string sentence) { all_.push_back(std::move(sentence)); }

  // `where` ends the sentence: " on this device".
  void range(const std::string& what, int64_t value, int64_t least, int64_t most, const std::string& where = {}) {
    if (value >= least && value <= most) return;
    add(what + " is " + std::to_string(value) + ", " + backend_ + " takes " + std::to_string(least) + " to " +
        std::to_string(most) + where);
  }

  const std::vector<std::string>& all() const { return all_; }

 private:
  std::string backend_;
  std::vector<std::string> all_;
};

// What every backend refuses, given the most elements that rows of it may have.
inline void addReasons(Reasons& reasons, const AttentionProblem& p, int32_t mostHeadDim, int32_t mostValueDim) {
  reasons.range("headDim", p.headDim, 1, mostHeadDim);
  reasons.range("valueDim", p.valueDim, 1, mostValueDim);
  reasons.range("queries", p.queries, 0, kMaxTokens);
  reasons.range("keys", p.keys, 0, kMaxTokens);
  if (!p.store.isDense() && traitsOf(p).isGrid) reasons.add("pages go with sequences, not with grids");
}

}  // namespace tilewise
