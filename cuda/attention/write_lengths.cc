// See write_lengths.h.
#include "write_lengths.h"

#include <string>

#include "../machine/aligned_rows.h"
#include "../machine/launch_all.h"
#include "params.h"

namespace tilewise::cuda {
namespace {

// One launch for rows of one operand. Rows of no sequence are not read.
LengthFactors write(LengthParams params, DType type, int64_t batches, Queue& queue, const CancelFlag& cancel) {
  params.count = batches * params.heads * params.tokens;
  params.factors = static_cast<float*>(queue.allocate(params.count * int64_t(sizeof(float))));
  params.isAligned = hasAlignedRows(params.rows, type);
  const std::string name = nameOf(type);
  launchAll(queue, cancel, ("attention_" + name).c_str(), "attention_lengths_" + name, kLengthThreads, params,
            params.first, params.count, kLengthThreads / kLengthLanes);
  return {params.factors, int64_t(params.heads) * params.tokens, params.tokens};
}

}  // namespace

Cosine writeLengths(const StagedAttention& staged, Queue& queue, const CancelFlag& cancel) {
  const AttentionProblem &p = staged.problem, &lengths = staged.lengths;
  Cosine cosine = p.cosine;
  if (!cosine.isUsed) return cosine;
  LengthParams queries{}, keys{}, extras{};
  queries.rows = p.query;
  queries.heads = p.queryHeads;
  queries.tokens = p.queries;
  queries.used = lengths.cuSeqlensQ ? lengths.cuSeqlensQ[p.sequences] : p.queries;
  keys.rows = p.key;
  keys.store = p.store;
  keys.heads = extras.heads = p.kvHeads;
  keys.tokens = p.keys;
  keys.used = lengths.cuSeqlensK ? lengths.cuSeqlensK[p.sequences] : p.keys;
  keys.starts = p.keyStarts;
  keys.ends = p.keyLengths;
  extras.rows = p.extraKeys;
  extras.tokens = extras.used = p.extraTokens;
  queries.dims = keys.dims = extras.dims = p.headDim;
  cosine.queries = write(queries, p.dtype, p.batch, queue, cancel);
  cosine.keys = write(keys, p.dtype, p.store.isDense() ? p.batch : p.sequences, queue, cancel);
  if (p.extraTokens > 0) cosine.extras = write(extras, p.dtype, p.batch, queue, cancel);
  return cosine;
}

}  // namespace tilewise::cuda
