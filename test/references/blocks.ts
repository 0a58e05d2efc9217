// Block lists: for every block of queries the blocks of keys it sees, as flash-attention's and FlexAttention's block
// masks hold them. Reader: someone who wants to know what a list hides.

export interface Blocks {
  kind: 'blocks';
  blockQ: number;
  blockK: number;
  /** Key blocks by [batch or 1][heads, KV heads or 1][query block]. */
  lists: number[][][][];
  /** More key blocks, which the predicate does not concern. */
  fullLists?: number[][][][];
  /** FlexAttention's mask_mod: what a listed block shows. */
  predicate?: (batch: number, head: number, query: number, key: number) => boolean;
}

function listOf<T>(lists: T[][][], batch: number, head: number, heads: number, queryBlock: number): T {
  const ofBatch = lists[lists.length === 1 ? 0 : batch];
  return ofBatch[Math.floor(head / (heads / ofBatch.length))][queryBlock];
}

/** Does a head of a batch entry see the key? Queries and keys are rows of their tensors. */
export function blocksRule(
  { blockQ, blockK, lists, fullLists, predicate }: Blocks,
  batch: number,
  head: number,
  heads: number,
): (query: number, key: number) => boolean {
  return (query, key) => {
    const queryBlock = Math.floor(query / blockQ);
    const keyBlock = Math.floor(key / blockK);
    if (fullLists && listOf(fullLists, batch, head, heads, queryBlock).includes(keyBlock)) return true;
    if (!listOf(lists, batch, head, heads, queryBlock).includes(keyBlock)) return false;
    return predicate?.(batch, head, query, key) ?? true;
  };
}
