// Linear attention on a GPU: one pass over a sequence, or states of groups, a carry, and outputs.
// Reader: someone who asks what is launched; plan.cc says why, scan.h what a kernel does.
#include "run.h"

#include <cmath>
#include <string>

#include "../machine/aligned_rows.h"
#include "../machine/launch_all.h"
#include "params.h"
#include "plan.h"

namespace tilewise::cuda {
namespace {

LinearParams paramsOf(const StagedLinear& staged, const LinearPlan& plan) {
  const LinearProblem& problem = staged.problem;
  LinearParams p{};
  p.headDim = problem.headDim;
  p.valueDim = problem.valueDim;
  p.features = problem.features();
  p.kvHeads = problem.kvHeads;
  p.headsPerState = problem.headsPerState();
  p.featureMap = problem.featureMap;
  p.isCausal = problem.isCausal;
  p.isNormalized = problem.isNormalized;
  p.isSplit = plan.isSplit;
  p.isQueryAligned = hasAlignedRows(problem.query, problem.dtype);
  p.isKeyAligned = hasAlignedRows(problem.key, problem.dtype);
  p.isValueAligned = hasAlignedRows(problem.value, problem.dtype);
  p.scale = problem.scale;
  p.eps = problem.eps;
  const double root = 1 / std::sqrt(double(problem.headDim));
  p.taylorSingle = float(std::sqrt(root));
  p.taylorRoot = float(root);
  p.taylorSquare = float(root / std::sqrt(2.0));
  p.chunk = plan.chunk;
  p.query = problem.query;
  p.key = problem.key;
  p.value = problem.value;
  p.out = problem.out;
  p.decay = problem.decay;
  p.decayBatch = problem.decayBatch;
  p.decayToken = problem.decayToken;
  p.decayHead = problem.decayHead;
  p.stateIn = problem.stateIn;
  p.normalizerIn = problem.normalizerIn;
  p.state = problem.state;
  p.normalizer = problem.normalizer;
  p.cuSeqlens = staged.cuSeqlens;
  p.queries = problem.queries;
  p.keys = problem.keys;
  p.columnBlocks = plan.columnBlocks;
  p.groups = plan.groups;
  p.outputGroups = plan.outputGroups;
  p.groupTokens = plan.groupTokens;
  p.carried = plan.tasks * (p.slotFloats() - 1);
  p.shape = plan.shape;
  return p;
}

}  // namespace

void addReasons(Reasons& reasons, const LinearProblem& problem, const Limits& limits) {
  if (!LinearPlan(problem, limits).fits)
    reasons.add("a strip of the state needs more shared memory than this device has");
}

LinearPasses passesOf(const LinearProblem& problem, const Limits& limits) {
  const LinearPlan plan(problem, limits);
  return {plan.chunk, plan.groups, plan.isSplit, plan.bytes()};
}

void run(const StagedLinear& staged, const Limits& limits, Queue& queue, const CancelFlag& cancel) {
  const LinearPlan plan(staged.problem, limits);
  LinearParams p = paramsOf(staged, plan);
  if (plan.slotBytes() > 0) p.slots = static_cast<float*>(queue.allocate(plan.slotBytes()));
  const auto scan = [&](const char* what, int32_t groups) {
    const std::string kernel =
        std::string("linear_") + what + '_' + nameOf(staged.problem.dtype) + '_' + std::to_string(plan.columns);
    p.firstBlock = 0;
    launchAll(queue, cancel, "linear", kernel, kLinearThreads, p, p.firstBlock, plan.tasks * plan.columnBlocks * groups,
              1, plan.sharedBytes);
  };
  if (plan.isSplit) {
    scan("sums", plan.groups);
    if (!cancel)
      launchAll(queue, cancel, "linear", "linear_carry", kCarryThreads, p, p.firstCarried, p.carried, kCarryThreads);
  }
  const bool writesState = !plan.isSplit && plan.isWanted;  // without tokens, too
  if (!cancel && (staged.problem.out.data || writesState)) scan("outputs", plan.outputGroups);
}

}  // namespace tilewise::cuda
