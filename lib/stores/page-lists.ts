// Page lists: which pages of each sequence are seen, for all heads or per KV head, as selections of pages leave them.
// Reader: someone who selects pages (DELTA, Quest: arXiv 2406.10774). Nothing runs them but block lists: a page is a block
// of keys, and all queries of a sequence are one block of queries.

import { mismatch, type Shape } from '../call/shape.js';
import { TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { invalid } from '../check/validate.js';
import type { NativeLists } from '../patterns/block-lists.js';
import { stridesOf } from '../patterns/block-table.js';
import { isOneWindow, type WindowPattern } from '../patterns/window.js';
import { readIntegerList } from '../tensor/integers.js';
import { isList } from '../tensor/nested.js';
import type { PageSettings } from './pages.js';

type PageList = ArrayLike<number | bigint>;

/** Per sequence: the pages that all heads see, or an array with a list for each KV head. */
export type PageLists = readonly (PageList | readonly PageList[])[];

/** The same, read. */
export type PageListSettings = readonly (Int32Array | readonly Int32Array[])[];

export function readPageLists(value: unknown): PageListSettings {
  if (!Array.isArray(value)) throw invalid('pageLists', 'an array with a list of pages per sequence', value);
  return value.map((entry, i) => {
    const name = `pageLists[${i}]`;
    const isPerHead = Array.isArray(entry) && entry.some(isList);
    return isPerHead
      ? entry.map((list, head) => readIntegerList(`${name}[${head}]`, list))
      : readIntegerList(name, entry);
  });
}

/**
 * The lists as native code reads them.
 * @param shape as patterns see it: a batch entry per sequence
 * @param lengths the keys of each sequence, checked against the pages
 */
export function pageListsOf(
  given: PageListSettings,
  { table, pageSize }: PageSettings,
  lengths: Int32Array,
  window: WindowPattern,
  shape: Shape,
): NativeLists {
  const { batch, queryHeads, kvHeads, queries } = shape;
  if (given.length !== batch) {
    throw mismatch(`\`pageLists\` must have ${batch} entries, one per sequence, not ${given.length}`);
  }
  if (!isOneWindow(window)) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      '`pageLists` goes with a window that is the same for all heads; leave out arrays of `left`, `right`, `recentTokens` and `sinkTokens`',
    );
  }
  const { left, right, sinkTokens, align } = window;
  if (sinkTokens % pageSize !== 0) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`sinkTokens\` must be whole pages of ${pageSize} next to \`pageLists\`, not ${sinkTokens}`,
    );
  }
  const groups = given.some(Array.isArray) ? kvHeads : 1;
  const lists = given.flatMap((entry, s) => {
    const ofHeads = entry instanceof Int32Array ? new Array<Int32Array>(groups).fill(entry) : entry;
    if (ofHeads.length !== groups) {
      throw mismatch(`\`pageLists[${s}]\` must have ${groups} lists, one per KV head, not ${ofHeads.length}`);
    }
    for (const list of ofHeads) checkList(`pageLists[${s}]`, list, table.dims[1], Math.ceil(lengths[s] / pageSize));
    return ofHeads;
  });
  const counts = Int32Array.from(lists, ({ length }) => length);
  const begins = startsOf(counts);
  const starts = new Int32Array(lists.reduce((sum, { length }) => sum + length, 0));
  for (const [i, list] of lists.entries()) {
    for (let at = 0; at < list.length; ++at) starts[begins[i] + at] = list[at] * pageSize;
  }
  return {
    kind: 'lists',
    blockQueries: Math.max(1, queries),
    blockKeys: pageSize,
    ...stridesOf({ dims: [batch, groups, 1] }, Math.max(queryHeads, kvHeads)),
    listWindow: 0,
    left,
    right,
    sinkTokens,
    align,
    begins,
    counts,
    starts,
  };
}

/** Where lists of such lengths begin, one after the other. */
function startsOf(counts: Int32Array): Int32Array {
  const begins = new Int32Array(counts.length);
  for (let i = 1; i < counts.length; ++i) begins[i] = begins[i - 1] + counts[i - 1];
  return begins;
}

/** @param pages of a row of the table, of which a sequence has so many in `use` */
function checkList(name: string, list: Int32Array, pages: number, use: number): void {
  for (let i = 0; i < list.length; ++i) {
    const page = list[i];
    const what =
      page < 0 || page >= pages
        ? `a page from 0 to ${pages - 1}, an index into a row of \`pages.table\``
        : page >= use
          ? `one of the ${use} pages that \`keyLengths\` reaches`
          : i > 0 && page <= list[i - 1]
            ? `above the page before it, ${list[i - 1]}`
            : undefined;
    if (!what) continue;
    throw new TilewiseRangeError('ERR_TILEWISE_INVALID_OPTION', `\`${name}\` entry ${i} must be ${what}, not ${page}`);
  }
}
