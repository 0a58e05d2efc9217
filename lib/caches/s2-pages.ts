// The lists of an S2 cache: which pages the last tokens see, and which parts of them.
// Reader: someone who reads s2-cache.ts. Pages lie anywhere in the pool, so positions become masks: the blocks that only
// some of the queries visit, and the one that is not full yet, show their tokens one by one.

import { MaskSet, type NativeLists } from '../patterns/block-lists.js';
import type { S2Layout } from './s2-layout.js';

/** Where blocks lie. */
interface Pages {
  readonly layout: S2Layout;
  /** Number of the first query head in the model. */
  readonly firstHead: number;
  /** Per KV head: the page of every block it holds. */
  readonly pageOf: readonly ReadonlyMap<number, number>[];
}

/** Lists for the last `queries` of `length` tokens, a list per head or KV head, whichever have layouts of their own. */
export function pageLists({ layout, firstHead, pageOf }: Pages, queries: number, length: number): NativeLists {
  const { blockSize } = layout;
  const group = layout.numHeads / layout.numKvHeads;
  const isShared = layout.layoutOf(firstHead) === layout.layoutOf(firstHead + group - 1);
  const headsPerList = isShared ? group : 1;
  // At most a block, so that the queries of a list stand in two blocks at most.
  const blockQueries = Math.max(1, Math.min(queries, blockSize));
  const rows = Math.ceil(queries / blockQueries);
  const masks = new MaskSet(blockQueries * blockSize);
  const begins: number[] = [];
  const counts: number[] = [];
  const entries: { start: number; mask: number }[] = [];
  for (let head = 0; head < pageOf.length * group; head += headsPerList) {
    const pages = pageOf[Math.floor(head / group)];
    const l = layout.layoutOf(firstHead + head);
    for (let m = 0; m < rows; ++m) {
      const first = length - queries + m * blockQueries;
      const end = Math.min(first + blockQueries, length);
      const own: typeof entries = [];
      for (const { block, mask } of visible(layout, l, first, end, masks)) {
        own.push({ start: (pages.get(block) as number) * blockSize, mask });
      }
      begins.push(entries.length);
      counts.push(own.length);
      for (const entry of own.sort((a, b) => a.start - b.start)) entries.push(entry);
    }
  }
  return {
    kind: 'lists',
    blockQueries,
    blockKeys: blockSize,
    headsPerList,
    listsByHead: rows,
    listsByBatch: 0,
    listWindow: 0,
    left: Number.POSITIVE_INFINITY,
    right: Number.POSITIVE_INFINITY,
    sinkTokens: 0,
    align: 'top-left',
    begins: Int32Array.from(begins),
    counts: Int32Array.from(counts),
    starts: Int32Array.from(entries, ({ start }) => start),
    ...masks.fieldsOf(entries.map(({ mask }) => mask)),
  };
}

/** The blocks that the queries at positions `first` to `end` visit, with the mask that cuts them. */
function* visible(layout: S2Layout, l: number, first: number, end: number, masks: MaskSet) {
  const { blockSize } = layout;
  const blockOf = (position: number) => Math.floor(position / blockSize);
  const [firstBlock, lastBlock] = [blockOf(first), blockOf(end - 1)];
  // By block: 1 when the first block of queries visits it, 2 when the second does, 3 for both.
  const visits = new Map<number, number>();
  for (const block of layout.row(l, firstBlock)) visits.set(block, 1);
  if (lastBlock > firstBlock) {
    for (const block of layout.row(l, lastBlock)) visits.set(block, (visits.get(block) ?? 0) + 2);
  }
  const all = lastBlock > firstBlock ? 3 : 1;
  for (const [block, by] of visits) {
    if (block < firstBlock && by === all) yield { block, mask: -1 };
    else {
      const mask = masks.cut(
        { first, end },
        { first: block * blockSize, end: (block + 1) * blockSize, size: blockSize },
        (query, key) => key <= query && (by & (blockOf(query) === firstBlock ? 1 : 2)) !== 0,
      );
      if (mask !== undefined) yield { block, mask };
    }
  }
}
