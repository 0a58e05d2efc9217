// Block lists: a blocks() pattern for tensors of one shape, as native code reads it.
// Reader: someone who follows a BlockMask into a kernel. Blocks become tokens, tables for all heads become strides, and a
// predicate becomes one byte per pair of the blocks that it cuts.

import type { Request } from '../call/request.js';
import { showDims, TilewiseRangeError } from '../check/errors.js';
import { attentionOp } from '../native/fields.js';
import { type DeviceBuffer, passed } from '../tensor/device-buffer.js';
import type { Align } from './align.js';
import type { BlockTable } from './block-formats.js';
import type { BlocksPattern, MaskPredicate } from './blocks.js';
import { putWindow } from './window.js';

/** Lists as native code reads them; the fields are those of binding/requests/fields.h. Never seen by callers. */
export interface NativeLists {
  readonly kind: 'lists';
  readonly blockQueries: number;
  readonly blockKeys: number;
  /** Consecutive heads with one list; lists from one batch entry to the next, and from one such group to the next. */
  readonly headsPerList: number;
  readonly listsByBatch: number;
  readonly listsByHead: number;
  /**
   * 1: the window of `left`, `right` and `sinkTokens` is visible, and listed keys between its sinks and its band. 0: listed
   * keys are visible as far as `right` allows.
   */
  readonly listWindow: 0 | 1;
  readonly left: number;
  readonly right: number;
  readonly sinkTokens: number;
  readonly align: Align;
  readonly begins: Int32Array;
  /** A selection may have left these two on a device. */
  readonly counts: Int32Array | DeviceBuffer;
  /** The first token of every entry. */
  readonly starts: Int32Array | DeviceBuffer;
  /** Per entry: which of the masks applies, -1 for none. */
  readonly maskIndex?: Int32Array;
  /** [index][blockQueries][blockKeys], 0 hides. */
  readonly masks?: Uint8Array;
}

/** What lists are spread over. */
interface Extent {
  readonly batch: number;
  /** Heads of the output. */
  readonly heads: number;
  readonly kvHeads: number;
  readonly queries: number;
  readonly keys: number;
}

type Lists = Pick<NativeLists, 'begins' | 'counts' | 'starts' | 'maskIndex' | 'masks'> &
  Pick<NativeLists, 'headsPerList' | 'listsByBatch' | 'listsByHead'>;

/** The lists that a pattern became last; patterns do not change, and shapes seldom do from call to call. */
const lastLists = new WeakMap<BlocksPattern, { key: string; lists: NativeLists }>();

/**
 * A pattern's lists for tensors of this shape.
 * @throws {RangeError} ERR_TILEWISE_SHAPE_MISMATCH when batch, heads or queryBlocks do not fit,
 *   ERR_TILEWISE_INVALID_OPTION when a list names a block past the keys
 */
export function listsOf(pattern: BlocksPattern, extent: Extent): NativeLists {
  const { batch, heads, kvHeads, queries, keys } = extent;
  const key = [batch, heads, kvHeads, queries, keys].join();
  const last = lastLists.get(pattern);
  if (last?.key === key) return last.lists;
  const { listed, full, predicate } = pattern;
  checkTable(pattern, listed, extent);
  if (full) checkTable(pattern, full, extent);
  // One block of everything is the same however large it claims to be, and its masks need not be larger than it.
  const blockQ = Math.min(pattern.blockQ, Math.max(queries, 1));
  const blockK = Math.min(pattern.blockK, Math.max(keys, 1));
  const spread: Lists = predicate
    ? cutLists({ ...pattern, blockQ, blockK }, predicate, extent)
    : { ...tableLists(full ? union(listed, full) : listed, blockK), ...strides(listed, heads) };
  const lists: NativeLists = {
    kind: 'lists',
    blockQueries: blockQ,
    blockKeys: blockK,
    listWindow: 0,
    left: Number.POSITIVE_INFINITY,
    right: pattern.causal ? 0 : Number.POSITIVE_INFINITY,
    sinkTokens: 0,
    align: pattern.align,
    ...spread,
  };
  lastLists.set(pattern, { key, lists });
  return lists;
}

function checkTable({ blockQ, blockK }: BlocksPattern, { dims, columns }: BlockTable, extent: Extent): void {
  const { batch, heads, kvHeads, queries, keys } = extent;
  const rows = Math.ceil(queries / blockQ);
  const fits =
    (dims[0] === 1 || dims[0] === batch) &&
    (dims[1] === 1 || dims[1] === kvHeads || dims[1] === heads) &&
    dims[2] === rows;
  if (!fits) {
    const headCounts = [...new Set([1, kvHeads, heads])].join(' or ');
    throw new TilewiseRangeError(
      'ERR_TILEWISE_SHAPE_MISMATCH',
      `The block lists are ${showDims(dims)} (batch, heads, queryBlocks), which does not fit: the batch is ${batch}, ` +
        `heads may be ${headCounts}, and ${queries} queries in blocks of ${blockQ} are ${rows} blocks`,
    );
  }
  const keyBlocks = Math.ceil(keys / blockK);
  const past = columns.find((block) => block >= keyBlocks);
  if (past === undefined) return;
  throw new TilewiseRangeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `The block lists name block ${past}, but ${keys} keys in blocks of ${blockK} are ${keyBlocks} blocks`,
  );
}

/** How heads and batch entries find their list in a table. */
function strides({ dims: [batch, groups, rows] }: BlockTable, heads: number) {
  return {
    headsPerList: heads / groups,
    listsByHead: groups === 1 ? 0 : rows,
    listsByBatch: batch === 1 ? 0 : groups * rows,
  };
}

function tableLists({ offsets, columns }: BlockTable, blockK: number) {
  const lists = offsets.length - 1;
  return {
    begins: offsets.slice(0, lists),
    counts: Int32Array.from({ length: lists }, (_, list) => offsets[list + 1] - offsets[list]),
    starts: columns.map((block) => block * blockK),
  };
}

/** The blocks of either table. */
function union(a: BlockTable, b: BlockTable): BlockTable {
  const offsets = a.offsets.map((offset, list) => offset + b.offsets[list]);
  const columns = new Int32Array(offsets.at(-1)!);
  for (let list = 0; list + 1 < offsets.length; ++list) {
    const own = columns.subarray(offsets[list], offsets[list + 1]);
    own.set(listIn(a, list));
    own.set(listIn(b, list), listIn(a, list).length);
    own.sort();
  }
  return { dims: a.dims, offsets, columns };
}

const listIn = ({ offsets, columns }: BlockTable, list: number): Int32Array =>
  columns.subarray(offsets[list], offsets[list + 1]);

/** Lists for every batch entry and head, as the predicate may tell them apart, with masks for the blocks it cuts. */
function cutLists(pattern: BlocksPattern, predicate: MaskPredicate, extent: Extent): Lists {
  const { blockQ, blockK, listed, full } = pattern;
  const { batch, heads, queries, keys } = extent;
  const [, , rows] = listed.dims;
  const { headsPerList, listsByHead, listsByBatch } = strides(listed, heads);
  const begins = new Int32Array(batch * heads * rows);
  const counts = new Int32Array(begins.length);
  const entries: { block: number; mask: number }[] = [];
  const masks = new MaskSet(blockQ * blockK);
  for (let list = 0; list < begins.length; ++list) {
    const m = list % rows;
    const h = Math.floor(list / rows) % heads;
    const b = Math.floor(list / rows / heads);
    const source = b * listsByBatch + Math.floor(h / headsPerList) * listsByHead + m;
    const own = full ? Array.from(listIn(full, source), (block) => ({ block, mask: -1 })) : [];
    for (const block of listIn(listed, source)) {
      const mask = masks.cut(
        { first: m * blockQ, end: Math.min((m + 1) * blockQ, queries) },
        { first: block * blockK, end: Math.min((block + 1) * blockK, keys), size: blockK },
        (query, key) => predicate(b, h, query, key),
      );
      if (mask !== undefined) own.push({ block, mask });
    }
    begins[list] = entries.length;
    counts[list] = own.length;
    for (const entry of own.sort((x, y) => x.block - y.block)) entries.push(entry);
  }
  return {
    headsPerList: 1,
    listsByHead: rows,
    listsByBatch: heads * rows,
    begins,
    counts,
    starts: Int32Array.from(entries, ({ block }) => block * blockK),
    ...masks.fieldsOf(entries.map(({ mask }) => mask)),
  };
}

/** Masks of one size, each kept once. */
export class MaskSet {
  readonly #size: number;
  readonly #masks: Uint8Array[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(size: number) {
    this.#size = size;
  }

  /** The number of the mask that a rule cuts out of a block: -1 when all is visible, undefined when nothing is. */
  cut(
    queries: { first: number; end: number },
    keys: { first: number; end: number; size: number },
    sees: (query: number, key: number) => boolean,
  ): number | undefined {
    const mask = new Uint8Array(this.#size);
    let visible = 0;
    for (let query = queries.first; query < queries.end; ++query) {
      const row = (query - queries.first) * keys.size;
      for (let key = keys.first; key < keys.end; ++key) {
        if (!sees(query, key)) continue;
        mask[row + key - keys.first] = 1;
        ++visible;
      }
    }
    if (visible === 0) return undefined;
    if (visible === (queries.end - queries.first) * (keys.end - keys.first)) return -1;
    const text = Buffer.from(mask.buffer).toString('latin1');
    let number = this.#numbers.get(text);
    if (number === undefined) {
      number = this.#masks.push(mask) - 1;
      this.#numbers.set(text, number);
    }
    return number;
  }

  /** The masks of entries that have these numbers; nothing when all are visible whole. */
  fieldsOf(numbers: readonly number[]): Pick<NativeLists, 'maskIndex' | 'masks'> {
    if (this.#masks.length === 0) return {};
    const masks = new Uint8Array(this.#masks.length * this.#size);
    this.#masks.forEach((mask, i) => {
      masks.set(mask, i * this.#size);
    });
    return { maskIndex: Int32Array.from(numbers), masks };
  }
}

const { field: fieldAt, view: slotAt } = attentionOp;

const field = {
  blockQueries: fieldAt('blockQueries'),
  blockKeys: fieldAt('blockKeys'),
  headsPerList: fieldAt('headsPerList'),
  listsByBatch: fieldAt('listsByBatch'),
  listsByHead: fieldAt('listsByHead'),
  listWindow: fieldAt('listWindow'),
};

const slot = {
  begins: slotAt('blockBegins'),
  counts: slotAt('blockCounts'),
  starts: slotAt('blockStarts'),
  maskIndex: slotAt('blockMaskIndex'),
  masks: slotAt('blockMasks'),
};

/** Fills in lists. */
export function putLists({ numbers, views }: Request, lists: NativeLists): void {
  numbers[field.blockQueries] = lists.blockQueries;
  numbers[field.blockKeys] = lists.blockKeys;
  numbers[field.headsPerList] = lists.headsPerList;
  numbers[field.listsByBatch] = lists.listsByBatch;
  numbers[field.listsByHead] = lists.listsByHead;
  numbers[field.listWindow] = lists.listWindow;
  putWindow(numbers, lists);
  views[slot.begins] = lists.begins;
  views[slot.counts] = passed(lists.counts);
  views[slot.starts] = passed(lists.starts);
  views[slot.maskIndex] = lists.maskIndex;
  views[slot.masks] = lists.masks;
}
