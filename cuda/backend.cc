// See backend.h.

#include "backend.h"

#include "operations.h"
#include "staging/staging.h"

namespace tilewise::gpu {

std::vector<std::string> GpuBackend::supports(const AttentionProblem& problem) const {
  return reasonsAgainst(problem, machine_.limits());
}
std::vector<std::string> GpuBackend::supports(const SelectionProblem& problem) const {
  return reasonsAgainst(problem, machine_.limits());
}

TileChoice GpuBackend::tiles(const AttentionProblem& problem) const { return tilesFor(problem); }

// A call whose result has no elements has no memory for it either.
void GpuBackend::run(const AttentionProblem& problem, const CancelFlag& cancel) {
  if (!problem.out.data) return;
  const auto queue = machine_.queue();
  Staging staging(machine_, *queue);
  AttentionProblem lengths;
  const AttentionProblem staged = staging.stage(problem, lengths);
  if (cancel) return;
  runAttention(staged, lengths, machine_.limits(), *queue, cancel);
  if (!cancel) staging.deliver();
}

void GpuBackend::run(const MergeProblem& problem, const CancelFlag& cancel) {
  if (!problem.out.data) return;
  const auto queue = machine_.queue();
  Staging staging(machine_, *queue);
  const MergeProblem staged = staging.stage(problem);
  if (cancel) return;
  runMerge(staged, *queue);
  staging.deliver();
}

void GpuBackend::run(const SelectionProblem& problem, const CancelFlag& cancel) {
  if (problem.batch == 0 || problem.queries == 0) return;
  const auto queue = machine_.queue();
  Staging staging(machine_, *queue);
  const SelectionProblem staged = staging.stage(problem);
  if (cancel) return;
  runSelection(staged, machine_.limits(), *queue, cancel);
  if (!cancel) staging.deliver();
}

template <class AnyProblem>
void GpuBackend::start(const AnyProblem& problem, const CancelFlag& cancel, Completion done) {
  workers_.submit([this, &problem, &cancel, done = std::move(done)] {
    std::exception_ptr error;
    try {
      if (!cancel) run(problem, cancel);
    } catch (...) {
      error = std::current_exception();
    }
    done(error);
  });
}

void GpuBackend::submit(const AttentionProblem& problem, const CancelFlag& cancel, Completion done) {
  start(problem, cancel, std::move(done));
}
void GpuBackend::submit(const MergeProblem& problem, const CancelFlag& cancel, Completion done) {
  start(problem, cancel, std::move(done));
}
void GpuBackend::submit(const SelectionProblem& problem, const CancelFlag& cancel, Completion done) {
  start(problem, cancel, std::move(done));
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

}  // namespace tilewise::gpu
