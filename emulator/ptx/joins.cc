// Where lanes that a branch parts meet again: at its immediate post-dominator, the first instruction that all ways from
// it to the end lead through. Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm", on the graph reversed.
#include "parser.h"

namespace tilewise::ptx {
namespace {

class Graph {
 public:
  explicit Graph(const std::vector<Instruction>& code) : code_(code) {
    findBlocks();
    next_.resize(first_.size() + 1);
    previous_.resize(first_.size() + 1);
    for (int b = 0; b < exit(); ++b) linkBlock(b);
    number();
    findDominators();
  }

  // The first instruction of the block where the ways from this one meet; -1 where that is the end.
  int32_t joinOf(int instruction) const {
    const int dominator = dominators_[size_t(blockOf_[size_t(instruction)])];
    return dominator < 0 || dominator == exit() ? -1 : first_[size_t(dominator)];
  }

 private:
  int exit() const { return int(first_.size()); }

  void findBlocks() {
    std::vector<bool> leads(code_.size() + 1);
    leads[0] = true;
    for (size_t i = 0; i < code_.size(); ++i) {
      if (code_[i].kind == Kind::branch) leads[size_t(code_[i].target)] = true;
      if (code_[i].kind == Kind::branch || code_[i].kind == Kind::exit) leads[i + 1] = true;
    }
    for (size_t i = 0; i < code_.size(); ++i) {
      if (leads[i]) first_.push_back(int32_t(i));
      blockOf_.push_back(int(first_.size()) - 1);
    }
  }

  void linkBlock(int b) {
    const int after = b + 1 < exit() ? first_[size_t(b) + 1] : int(code_.size());
    const Instruction& last = code_[size_t(after) - 1];
    const bool alwaysLeaves = last.guard < 0 && last.kind != Kind::plain && last.kind != Kind::pause;
    if (last.kind == Kind::branch) link(b, blockOf_[size_t(last.target)]);
    if (last.kind == Kind::exit) link(b, exit());
    if (!alwaysLeaves) link(b, b + 1);
  }
  void link(int from, int to) {
    next_[size_t(from)].push_back(to);
    previous_[size_t(to)].push_back(from);
  }

  // Postorder of the reversed graph, from the end.
  void number() {
    number_.assign(next_.size(), -1);
    std::vector<bool> isSeen(next_.size());
    std::vector<std::pair<int, size_t>> path{{exit(), 0}};
    isSeen[size_t(exit())] = true;
    while (!path.empty()) {
      auto& [b, i] = path.back();
      if (i == previous_[size_t(b)].size()) {
        number_[size_t(b)] = int(order_.size());
        order_.push_back(b);
        path.pop_back();
        continue;
      }
      const int before = previous_[size_t(b)][i++];
      if (isSeen[size_t(before)]) continue;
      isSeen[size_t(before)] = true;
      path.push_back({before, 0});
    }
  }

  void findDominators() {
    dominators_.assign(next_.size(), -1);
    dominators_[size_t(exit())] = exit();
    for (bool hasChanged = true; hasChanged;) {
      hasChanged = false;
      for (size_t i = order_.size() - 1; i-- > 0;) {
        const int b = order_[i];
        int common = -1;
        for (const int after : next_[size_t(b)]) {
          if (dominators_[size_t(after)] >= 0) common = common < 0 ? after : intersect(common, after);
        }
        hasChanged = hasChanged || common != dominators_[size_t(b)];
        dominators_[size_t(b)] = common;
      }
    }
  }
  int intersect(int a, int b) const {
    while (a != b) {
      while (number_[size_t(a)] < number_[size_t(b)]) a = dominators_[size_t(a)];
      while (number_[size_t(b)] < number_[size_t(a)]) b = dominators_[size_t(b)];
    }
    return a;
  }

  const std::vector<Instruction>& code_;
  std::vector<int32_t> first_;  // instruction of each block; the end is one more block
  std::vector<int> blockOf_;  // of each instruction
  std::vector<std::vector<int>> next_, previous_;
  std::vector<int> order_, number_, dominators_;
};

}  // namespace

void findJoins(std::vector<Instruction>& code) {
  const Graph graph(code);
  for (size_t i = 0; i < code.size(); ++i) {
    if (code[i].kind == Kind::branch && code[i].guard >= 0) code[i].join = graph.joinOf(int(i));
  }
}

}  // namespace tilewise::ptx
