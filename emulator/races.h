// Happens-before checking of shared memory: two accesses to the same word, one of them a write, must be ordered by
// barriers or waits. One run finds what would need luck to go wrong. In global memory, only what follows a write of the
// block is checked.
//
// Threads are agents, and so are what works for them: each thread's cp.async, each warpgroup's wgmma, and TMA. An
// agent's clock counts its steps; a view says, for every agent, up to which step its accesses are known to come before.
// TMA and wgmma see shared memory through another proxy: they also want the writer to have crossed fence_proxy_async.
// Barriers and syncwarp order memory. Shuffles, ldmatrix and mma do not: PTX promises nothing of the kind.
// Knows nothing of how threads run: both machines of this folder use it.
// Reader: whoever writes an operation that touches shared memory, or orders it.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace tilewise::emulator {

struct View {
  std::vector<uint32_t> ordered;  // per agent
  std::vector<uint32_t> fenced;  // per thread: what has crossed a proxy fence, too
  void join(const View& other);
  void meet(const View& other);
  void complete(uint32_t agent, uint32_t clock);  // the agent is waited for, up to this step
  void release(View& to, uint32_t agent);  // what the agent, whose view this is, did becomes part of another
};

// A barrier of agents: each learns what all of them know, and goes on to its next step.
template <class ViewOf>
void synchronize(const uint32_t* agents, uint32_t count, ViewOf viewOf) {
  View joined;
  for (uint32_t i = 0; i < count; ++i) joined.join(viewOf(agents[i]));
  for (uint32_t i = 0; i < count; ++i) {
    View& view = viewOf(agents[i]);
    const uint32_t own = view.ordered[agents[i]];
    view = joined;
    view.ordered[agents[i]] = own + 1;
  }
}

// Who accesses, at which step, and what is ordered before.
struct Agent {
  uint32_t id, clock;
  const View* view;
  bool isAsyncProxy;
  const char* operation;
  const void* where;
};

// The machine, which knows what a place is, and what runs.
class Reporter {
 public:
  virtual std::string placeOf(const void* where) const = 0;
  virtual std::string onBehalf(const std::string& what) const = 0;  // the message, with the thread that is checked

 protected:
  ~Reporter() = default;
};

class RaceChecker {
 public:
  void enable(uint32_t threads, uint32_t warpgroups, uint32_t sharedEnd, const Reporter& reporter);
  bool isEnabled() const { return !words_.empty(); }
  View freshView() const;

  void read(uint32_t address, uint32_t bytes, const Agent& agent);
  void write(uint32_t address, uint32_t bytes, const Agent& agent);
  // Global memory is too large to remember who reads it: no write is held against the reads before it.
  void readGlobal(uint64_t address, uint32_t bytes, const Agent& agent) const;
  void writeGlobal(uint64_t address, uint32_t bytes, const Agent& agent);

  uint32_t copyAgent(uint32_t thread) const { return threads_ + thread; }
  uint32_t wgmmaAgent(uint32_t warpgroup) const { return 2 * threads_ + warpgroup; }
  uint32_t tmaAgent(uint32_t slot) const { return 2 * threads_ + warpgroups_ + slot; }

  static constexpr uint32_t kTmaAgents = 64;  // more copies than that in flight share clocks

  struct Access {
    uint32_t agent, clock;
    const char* operation;
    const void* where;
    bool isAsyncProxy;
  };
  // The last write of every two bytes of global memory, by half their address.
  const std::unordered_map<uint64_t, Access>& writesOfGlobal() const { return writesOfGlobal_; }

 private:
  struct Word {
    Access write{~0u, 0, nullptr, nullptr, false};
    std::vector<Access> reads;  // since that write
  };
  bool isOrdered(const Access& before, const Agent& now) const;
  void checkAfterWrite(const char* kind, const char* space, uint64_t address, const Access& write,
                       const Agent& now) const;
  [[noreturn]] void failRace(const char* kind, const char* space, uint64_t address, const Access& before,
                             const Agent& now) const;
  std::string nameOf(uint32_t agent) const;

  uint32_t threads_ = 0, warpgroups_ = 0;
  const Reporter* reporter_ = nullptr;
  std::vector<Word> words_;
  std::unordered_map<uint64_t, Access> writesOfGlobal_;
};

}  // namespace tilewise::emulator
