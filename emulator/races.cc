// Vector clocks, and per four bytes of shared memory the last write and the reads since.
#include "races.h"

#include <algorithm>

#include "emulator.h"

namespace tilewise::emulator {
namespace {

constexpr uint32_t kNobody = ~0u;

template <class Pick>
void combine(std::vector<uint32_t>& into, const std::vector<uint32_t>& other, Pick pick) {
  for (size_t i = 0; i < other.size(); ++i) into[i] = pick(into[i], other[i]);
}

}  // namespace

void View::join(const View& other) {
  ordered.resize(other.ordered.size());
  fenced.resize(other.fenced.size());
  const auto later = [](uint32_t a, uint32_t b) { return std::max(a, b); };
  combine(ordered, other.ordered, later);
  combine(fenced, other.fenced, later);
}

void View::meet(const View& other) {
  const auto earlier = [](uint32_t a, uint32_t b) { return std::min(a, b); };
  combine(ordered, other.ordered, earlier);
  combine(fenced, other.fenced, earlier);
}

void View::complete(uint32_t agent, uint32_t clock) { ordered[agent] = std::max(ordered[agent], clock); }

void View::release(View& to, uint32_t agent) {
  to.join(*this);
  ++ordered[agent];
}

void RaceChecker::enable(uint32_t threads, uint32_t warpgroups, uint32_t sharedEnd, const Reporter& reporter) {
  reporter_ = &reporter;
  threads_ = threads;
  warpgroups_ = warpgroups;
  words_.assign(sharedEnd / 4 + 1, Word());
  writesOfGlobal_.clear();
}

View RaceChecker::freshView() const {
  View view;
  view.ordered.assign(2 * threads_ + warpgroups_ + kTmaAgents, 0);
  view.fenced.assign(threads_, 0);
  return view;
}

bool RaceChecker::isOrdered(const Access& before, const Agent& now) const {
  const bool needsFence = now.isAsyncProxy && !before.isAsyncProxy && before.agent < threads_;
  return before.clock <= (needsFence ? now.view->fenced : now.view->ordered)[before.agent];
}

void RaceChecker::checkAfterWrite(const char* kind, const char* space, uint64_t address, const Access& write,
                                  const Agent& now) const {
  if (write.agent == kNobody || write.agent == now.id || isOrdered(write, now)) return;
  failRace(kind, space, address, write, now);
}

void RaceChecker::read(uint32_t address, uint32_t bytes, const Agent& agent) {
  for (uint32_t i = address / 4; i < (address + bytes + 3) / 4; ++i) {
    Word& word = words_[i];
    checkAfterWrite("read after write", "shared", 4 * i, word.write, agent);
    const Access access{agent.id, agent.clock, agent.operation, agent.where, agent.isAsyncProxy};
    const auto known = std::find_if(word.reads.begin(), word.reads.end(),
                                    [&](const Access& other) { return other.agent == agent.id; });
    if (known != word.reads.end()) {
      *known = access;
    } else {
      word.reads.push_back(access);
    }
  }
}

void RaceChecker::write(uint32_t address, uint32_t bytes, const Agent& agent) {
  for (uint32_t i = address / 4; i < (address + bytes + 3) / 4; ++i) {
    Word& word = words_[i];
    checkAfterWrite("write after write", "shared", 4 * i, word.write, agent);
    for (const Access& read : word.reads) {
      if (read.agent != agent.id && read.clock > agent.view->ordered[read.agent]) {
        failRace("write after read", "shared", 4 * i, read, agent);
      }
    }
    word.write = {agent.id, agent.clock, agent.operation, agent.where, agent.isAsyncProxy};
    word.reads.clear();
  }
}

void RaceChecker::readGlobal(uint64_t address, uint32_t bytes, const Agent& agent) const {
  if (writesOfGlobal_.empty()) return;  // as in most kernels, which write when they have read
  for (uint64_t i = address / 2; i < (address + bytes + 1) / 2; ++i) {
    const auto write = writesOfGlobal_.find(i);
    if (write != writesOfGlobal_.end()) checkAfterWrite("read after write", "global", 2 * i, write->second, agent);
  }
}

void RaceChecker::writeGlobal(uint64_t address, uint32_t bytes, const Agent& agent) {
  const Access access{agent.id, agent.clock, agent.operation, agent.where, agent.isAsyncProxy};
  for (uint64_t i = address / 2; i < (address + bytes + 1) / 2; ++i) {
    const auto [write, isFirst] = writesOfGlobal_.try_emplace(i, access);
    if (isFirst) continue;
    checkAfterWrite("write after write", "global", 2 * i, write->second, agent);
    write->second = access;
  }
}

void RaceChecker::failRace(const char* kind, const char* space, uint64_t address, const Access& before,
                           const Agent& now) const {
  const bool lacksFence =
      now.isAsyncProxy && before.agent < threads_ && before.clock <= now.view->ordered[before.agent];
  const std::string fault = lacksFence ? "missing proxy fence, " : "race, ";
  throw Error(reporter_->onBehalf(fault + kind + " at " + space + " " + std::to_string(address) + ": " +
                                  before.operation + " by " + nameOf(before.agent) + " @" +
                                  reporter_->placeOf(before.where) + " is not ordered before " + now.operation +
                                  " by " + nameOf(now.id) + " @" + reporter_->placeOf(now.where)));
}

std::string RaceChecker::nameOf(uint32_t agent) const {
  if (agent < copyAgent(0)) return "thread " + std::to_string(agent);
  if (agent < wgmmaAgent(0)) return "cp.async of thread " + std::to_string(agent - copyAgent(0));
  if (agent < tmaAgent(0)) return "wgmma of warpgroup " + std::to_string(agent - wgmmaAgent(0));
  return "TMA";
}

}  // namespace tilewise::emulator
