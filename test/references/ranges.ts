// Ranges: for every query a few ranges of keys, which are all it sees. Reader: someone who wants to know what they hide.

export type KeyRange = readonly [begin: number, end: number];

export interface Ranges {
  kind: 'ranges';
  /** By [batch or 1][heads, KV heads or 1][query]. */
  tables: KeyRange[][][][];
}

/** Does a head of a batch entry see the key? Queries and keys are rows of their tensors. */
export function rangesRule(
  { tables }: Ranges,
  batch: number,
  head: number,
  heads: number,
): (query: number, key: number) => boolean {
  const ofBatch = tables[tables.length === 1 ? 0 : batch];
  const rows = ofBatch[Math.floor(head / (heads / ofBatch.length))];
  return (query, key) => rows[query].some(([begin, end]) => begin <= key && key < end);
}
