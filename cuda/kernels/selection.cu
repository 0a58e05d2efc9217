// Entry points of selection: what cuda/selection/run.cc launches, stage by stage.
// Reader: someone who looks for a kernel by its name. Scores are named by element type, method, and for staged by
// whether whole chunks are in shared memory.
#include "../prims/kernel.h"
#include "../selection/lists.h"
#include "../selection/search.h"

using namespace tilewise;
using namespace tilewise::cuda;

TW_KERNEL(split_lists, SelectionParams, kSplitThreads, 8) { splitLists(p); }
TW_KERNEL(keep_chunks, SelectionParams, kListThreads, 4) { keepChunks(p); }
TW_KERNEL(halve_ranges, SelectionParams, kListThreads, 4) { halveRanges(p); }

#define TW_SCORE_KERNELS(type, Element)                                                              \
  TW_KERNEL(score_fetched_##type, SelectionParams, kSearchThreads, (sizeof(Element) == 4 ? 1 : 2)) { \
    scoreCandidates<Element, StagedSearch, false>(p);                                                \
  }                                                                                                  \
  TW_KERNEL(score_resident_##type, SelectionParams, kSearchThreads, 2) {                             \
    scoreCandidates<Element, StagedSearch, true>(p);                                                 \
  }                                                                                                  \
  TW_KERNEL(score_tree_##type, SelectionParams, kSearchThreads, 2) { scoreCandidates<Element, TreeSearch, false>(p); }
TW_SCORE_KERNELS(float32, float)
TW_SCORE_KERNELS(float16, f16)
TW_SCORE_KERNELS(bfloat16, bf16)
