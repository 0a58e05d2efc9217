// See backend.h.

#include "backend.h"

#include "operations.h"

namespace tilewise::cuda {

std::vector<std::string> reasonsAgainst(const AnyProblem& problem, const Limits& limits) {
  Reasons reasons("the CUDA backend");
  std::visit([&](const auto& p) { addReasons(reasons, p, limits); }, problem);
  return reasons.all();
}

std::vector<std::string> GpuBackend::supports(const AnyProblem& problem) const {
  return reasonsAgainst(problem, machine_.limits());
}

TileChoice GpuBackend::tiles(const AttentionProblem& problem) const { return tilesFor(problem); }

LinearPasses GpuBackend::passes(const AnyProblem& problem) const {
  return std::visit([&](const auto& p) { return passesOf(p, machine_.limits()); }, problem);
}

void GpuBackend::run(const AnyProblem& problem, const CancelFlag& cancel) {
  std::visit(
      [&](const auto& p) {
        if (p.isEmpty()) return;
        const auto queue = machine_.queue();
        Staging staging(*queue);
        const auto staged = stage(staging, p);
        if (cancel) return;
        for (const AppendProblem& rows : staging.conversions()) cuda::run(rows, machine_.limits(), *queue, cancel);
        cuda::run(staged, machine_.limits(), *queue, cancel);
        if (!cancel) staging.deliver();
      },
      problem);
}

void GpuBackend::submit(const AnyProblem& problem, const CancelFlag& cancel, Completion done) {
  workers_.submit([this, problem, &cancel, done = std::move(done)] {
    std::exception_ptr error;
    try {
      if (!cancel) run(problem, cancel);
    } catch (...) {
      error = std::current_exception();
    }
    done(error);
  });
}

void GpuBackend::Memory::write(void* to, const void* from, int64_t bytes) {
  const auto queue = machine_.queue();
  queue->upload(to, from, bytes);
  queue->wait();
}

void GpuBackend::Memory::read(void* to, const void* from, int64_t bytes) {
  const auto queue = machine_.queue();
  queue->download(to, from, bytes);
  queue->wait();
}

}  // namespace tilewise::cuda
