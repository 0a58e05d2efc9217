// GpuBackend: core's Backend over any machine with kernels: stages what is on the host, runs cuda/operations.h on a
// queue of the call's own, brings results back.
// Reader: someone who follows a call from the binding to a launch.
#pragma once

#include <string>

#include "../core/op/backend.h"
#include "machine/machine.h"
#include "machine/workers.h"

namespace tilewise::cuda {

// Every reason why a machine with these limits cannot run the problem.
std::vector<std::string> reasonsAgainst(const AnyProblem& problem, const Limits& limits);

class GpuBackend final : public Backend {
 public:
  // The machine must live as long as the backend; neither may end before the last submitted call.
  GpuBackend(std::string name, Machine& machine, std::string description = {})
      : name_(std::move(name)), description_(std::move(description)), machine_(machine), memory_(machine) {}

  const char* name() const override { return name_.c_str(); }
  Availability availability() const override { return {true, ""}; }
  std::string description() const override { return description_; }
  DeviceMemory* memory() override { return &memory_; }

  std::vector<std::string> supports(const AnyProblem& problem) const override;
  TileChoice tiles(const AttentionProblem& problem) const override;
  LinearPasses passes(const AnyProblem& problem) const override;

  void run(const AnyProblem& problem, const CancelFlag& cancel) override;
  void submit(const AnyProblem& problem, const CancelFlag& cancel, Completion done) override;

 private:
  class Memory final : public DeviceMemory {
   public:
    explicit Memory(Machine& machine) : machine_(machine) {}
    void* allocate(int64_t bytes) override { return machine_.allocate(bytes); }
    void free(void* data) noexcept override { machine_.free(data); }
    void write(void* to, const void* from, int64_t bytes) override;
    void read(void* to, const void* from, int64_t bytes) override;

   private:
    Machine& machine_;
  };

  std::string name_, description_;
  Machine& machine_;
  Memory memory_;
  Workers workers_;
};

}  // namespace tilewise::cuda
