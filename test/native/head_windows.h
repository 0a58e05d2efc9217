// Random windows that differ by head: some see everything, some sinks alone. Reader: someone who draws a problem.
#pragma once

#include <cstring>
#include <vector>

#include "../../core/op/head_windows.h"
#include "answer.h"

namespace tilewise {

// Sets the windows of a case. pick(n): a random number below n.
template <class Pick>
void drawHeadWindows(Case& c, Pick&& pick) {
  AttentionProblem& p = c.problem;
  const auto numbers = [&](auto&& number) {
    const int counts[] = {1, p.kvHeads, p.queryHeads};
    const int count = counts[pick(3)];
    std::vector<Token> list(static_cast<size_t>(count));
    for (Token& x : list) x = number();
    return list;
  };
  const bool isCausal = pick(2);
  const auto left = numbers([&] { return pick(4) == 0 ? Window::kUnbounded : pick(pick(2) ? 10 : 200) - isCausal; });
  const auto right = numbers([&] { return isCausal ? 0 : pick(9); });
  const auto sinks = numbers([&] { return pick(3) * pick(30); });
  std::vector<Token> values;
  setHeadWindows(p, left, right, sinks, values);
  if (values.empty()) return;  // all heads came out alike
  auto& kept = c.buffers.emplace_back(values.size() * sizeof(Token));
  std::memcpy(kept.data(), values.data(), kept.size());
  p.window.heads.values = reinterpret_cast<const Token*>(kept.data());
  c.name += " windows by head";
}

}  // namespace tilewise
