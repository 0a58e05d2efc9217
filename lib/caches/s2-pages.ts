// The lists of an S2 cache: which pages the last tokens see, and which parts of them.
// Reader: someone who reads s2-cache.ts. Pages are anywhere in the pool, so positions become masks: the blocks that only
// some of the queries visit, and the one that is not full yet, show their tokens one by one.

import { maxTokens } from '../check/validate.js';
import type { NativeLists } from '../patterns/block-lists.js';
import { TokenMasks, whole } from '../patterns/token-masks.js';
import type { S2Layout } from './s2-layout.js';

/** Where blocks are. */
interface Pages {
  readonly layout: S2Layout;
  /** Number of the first query head in the model. */
  readonly firstHead: number;
  /** Per KV head: the page of every block it holds. */
  readonly pagesOf: readonly ReadonlyMap<number, number>[];
}

/** The queries of one list. */
interface Rows {
  readonly layout: number;
  readonly pageOf: ReadonlyMap<number, number>;
  /** Positions; they are in two blocks at most. */
  readonly first: number;
  readonly end: number;
}

/** Lists for the last `queries` of `length` tokens, a list per head or KV head, whichever have layouts of their own. */
export function pageLists({ layout, firstHead, pagesOf }: Pages, queries: number, length: number): NativeLists {
  const { blockSize } = layout;
  const group = layout.numHeads / layout.numKvHeads;
  const isShared = layout.layoutOf(firstHead) === layout.layoutOf(firstHead + group - 1);
  const headsPerList = isShared ? group : 1;
  const blockQueries = Math.max(1, Math.min(queries, blockSize));
  const rowsPerHead = Math.ceil(queries / blockQueries);
  const lists: Rows[] = [];
  for (let head = 0; head < pagesOf.length * group; head += headsPerList) {
    const own = { layout: layout.layoutOf(firstHead + head), pageOf: pagesOf[Math.floor(head / group)] };
    for (let m = 0; m < rowsPerHead; ++m) {
      const first = length - queries + m * blockQueries;
      lists.push({ ...own, first, end: Math.min(first + blockQueries, length) });
    }
  }
  return {
    kind: 'lists',
    blockQueries,
    blockKeys: blockSize,
    headsPerList,
    listsByHead: rowsPerHead,
    listsByBatch: 0,
    listWindow: 0,
    left: Number.POSITIVE_INFINITY,
    right: Number.POSITIVE_INFINITY,
    sinkTokens: 0,
    align: 'top-left',
    ...fill(layout, lists, { begin: length - queries, end: length }),
  };
}

/** The entries of every list. `queries` are the positions of all of them. */
function fill(layout: S2Layout, lists: readonly Rows[], queries: { begin: number; end: number }) {
  const { blockSize } = layout;
  const blockOf = (position: number) => Math.floor(position / blockSize);
  const seenFrom = (blockOfRows: (rows: Rows) => number): Int32Array[] =>
    layout.rows(lists.map((rows) => ({ layout: rows.layout, begin: blockOfRows(rows), end: blockOfRows(rows) + 1 })));
  const seenByFirst = seenFrom(({ first }) => blockOf(first));
  const isOneBlock = lists.every(({ first, end }) => blockOf(first) === blockOf(end - 1));
  const seenByLast = isOneBlock ? seenByFirst : seenFrom(({ end }) => blockOf(end - 1));
  const reaches = layout.reaches(queries);
  const masks = new TokenMasks(Math.min(queries.end - queries.begin, blockSize) * blockSize);
  const begins: number[] = [];
  const counts: number[] = [];
  const starts: number[] = [];
  const maskOf: number[] = [];
  for (const [i, { pageOf, first, end }] of lists.entries()) {
    const firstBlock = blockOf(first);
    const own: number[] = [];
    const cut = new Map<number, number>();
    const [rowOfFirst, rowOfLast] = [seenByFirst[i], seenByLast[i]];
    for (let f = 0, l = 0; f < rowOfFirst.length || l < rowOfLast.length; ) {
      const block = Math.min(rowOfFirst[f] ?? maxTokens, rowOfLast[l] ?? maxTokens);
      const by = (rowOfFirst[f] === block ? byFirst : 0) | (rowOfLast[l] === block ? byLast : 0);
      if (by & byFirst) ++f;
      if (by & byLast) ++l;
      const start = (pageOf.get(block) as number) * blockSize;
      if (block >= firstBlock || by !== both) {
        const draft = masks.draft();
        let visible = 0;
        for (let query = first; query < end; ++query) {
          if ((by & (blockOf(query) === firstBlock ? byFirst : byLast)) === 0) continue;
          const row = (query - first) * blockSize;
          const seen = Math.min(blockSize, Math.max(0, reaches[query - queries.begin] - block * blockSize));
          draft.fill(1, row, row + seen);
          visible += seen;
        }
        const mask = masks.settle(visible, (end - first) * blockSize);
        if (mask === undefined) continue;
        cut.set(start, mask);
      }
      own.push(start);
    }
    begins.push(starts.length);
    counts.push(own.length);
    for (const start of Int32Array.from(own).sort()) {
      starts.push(start);
      maskOf.push(cut.get(start) ?? whole);
    }
  }
  return {
    begins: Int32Array.from(begins),
    counts: Int32Array.from(counts),
    starts: Int32Array.from(starts),
    ...masks.fieldsOf(maskOf),
  };
}

// Who visits a block: the queries of a list's first block, those of its last, or both.
const [byFirst, byLast, both] = [1, 2, 3];
