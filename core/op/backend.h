// Backend: what the binding needs from a processor. cpu is always there; others join behind the same few calls.
// Reader: the binding, and whoever adds a backend.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "any_problem.h"
#include "tile_rule.h"

namespace tilewise {

// Set by the caller, polled by backends between tiles. A cancelled call leaves `out` partly written.
using CancelFlag = std::atomic<bool>;

struct Availability {
  bool isAvailable;
  std::string reason;  // why not, empty when available
  const char* code = nullptr;  // ERR_TILEWISE_..., null when available
};

// Why a backend failed, with the code that users see (ERR_TILEWISE_...).
struct BackendError : std::runtime_error {
  BackendError(const char* stableCode, const std::string& message) : std::runtime_error(message), code(stableCode) {}
  const char* code;
};

// A backend's tiles for a problem, and a sentence why.
struct TileChoice {
  TileRule rule;
  std::string why;
};

// Nanoseconds since threads began, of all together; 0 where the system does not say.
struct RunTimes {
  int64_t ran = 0;
  int64_t waited = 0;  // for a processor
};

// Called once when a submitted call is over, from any thread. `error` is null unless it failed.
using Completion = std::function<void(std::exception_ptr error)>;

// A device's own memory, for tensors that stay there between calls. Problems may point into it, operand by operand.
// Any thread may call; everything is done when a call returns. Throws BackendError.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  virtual void* allocate(int64_t bytes) = 0;
  virtual void free(void* data) noexcept = 0;
  virtual void write(void* to, const void* from, int64_t bytes) = 0;
  virtual void read(void* to, const void* from, int64_t bytes) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  virtual Availability availability() const = 0;
  virtual std::string description() const { return {}; }  // what the device calls itself, for people
  virtual DeviceMemory* memory() { return nullptr; }  // null: works in the process's own memory

  // Every reason why this backend cannot run the problem; empty when it can. Error messages and the support table in
  // the docs are printed from this function. Answers without a device, too.
  virtual std::vector<std::string> supports(const AnyProblem& problem) const = 0;

  // What the loops visit or skip as one for this problem, for explain().
  virtual TileChoice tiles(const AttentionProblem& problem) const {
    TileChoice choice;
    choice.rule.queries[0] = choice.rule.keys[0] = 64;
    const PatternTraits traits = traitsOf(problem);
    if (traits.hasQueryBlocks()) choice.rule.rowsPerBlock = traits.queryBlock;
    choice.why = "64 by 64 for comparison: this device does not say what it takes";
    return choice;
  }

  // How it divides linear attention, the delta rule or cumulative attention, for explain().
  virtual LinearPasses passes(const AnyProblem&) const { return {}; }

  // Runs the problem; the calling thread takes part. Returns when done or cancelled; throws when it failed.
  virtual void run(const AnyProblem& problem, const CancelFlag& cancel) = 0;

  // Runs a copy of the problem elsewhere. The flag and everything the problem points to must live until `done` is
  // called.
  virtual void submit(const AnyProblem& problem, const CancelFlag& cancel, Completion done) = 0;

  // Whether run() takes less than handing the problem to another thread does: some microseconds, for which an event
  // loop can be held.
  virtual bool isBrief(const AnyProblem&) const { return false; }

  // How calls use this process's processors; neutral where they do not. Changes take effect with the next call.
  virtual int threads() const { return 0; }  // that work on one call
  virtual void setThreads(int) {}
  virtual void setThreadsOnce(int) {}  // the same unless somebody has done so already
  virtual RunTimes runTimes() const { return {}; }  // of the backend's own threads
  virtual std::vector<std::string> instructionSets() const { return {}; }  // that run here, best first
  virtual std::string instructionSet() const { return {}; }
  virtual bool setInstructionSet(const std::string&) { return false; }  // false: not available here
};

}  // namespace tilewise
