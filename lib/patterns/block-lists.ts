// Block lists: a blocks() pattern for tensors of one shape, as native code reads it.
// Reader: someone who follows a BlockMask into a kernel. Blocks become tokens, tables for all heads become strides, and a
// predicate becomes one byte per pair of the blocks that it cuts.

import type { Request } from '../call/request.js';
import { mismatch } from '../call/shape.js';
import { allocating, showDims, TilewiseRangeError } from '../check/errors.js';
import { maxTokens } from '../check/validate.js';
import { attentionOp } from '../native/fields.js';
import { type DeviceBuffer, passed } from '../tensor/device-buffer.js';
import type { Align } from './align.js';
import { type Asking, askingOf, type CutTable, clippedSizes, type Question } from './asking.js';
import { type BlockTable, listIn, sourcesIn, stridesOf } from './block-table.js';
import type { BlocksPattern } from './blocks.js';
import type { Extent } from './extent.js';
import type { MaskPredicate } from './predicate.js';
import { type TokenMaskFields, TokenMasks, whole } from './token-masks.js';
import { putWindow } from './window.js';

/** Lists as native code reads them; the fields are those of binding/requests/fields.h. Never seen by callers. */
export interface NativeLists extends TokenMaskFields {
  readonly kind: 'lists';
  readonly blockQueries: number;
  readonly blockKeys: number;
  /** Consecutive heads with one list; lists from one batch entry to the next, and from one such group to the next. */
  readonly headsPerList: number;
  readonly listsByBatch: number;
  readonly listsByHead: number;
  /**
   * 1: the window of `left`, `right` and `sinkTokens` is visible, and listed keys between its sinks and its band. 0: listed
   * keys are visible as far as the window shows them.
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
  /** What is added to the scores of an entry's keys. */
  readonly addends?: Float32Array;
}

/** The lists that a pattern became last; patterns do not change, and shapes seldom do from call to call. */
const lastLists = new WeakMap<BlocksPattern, { key: string; lists: NativeLists }>();

/**
 * A pattern's lists for tensors of this shape; asks the predicate what is not known yet.
 * @throws {RangeError} ERR_TILEWISE_SHAPE_MISMATCH when batch, heads or queryBlocks do not fit,
 *   ERR_TILEWISE_INVALID_OPTION when a list names a block past the keys
 */
export function listsOf(pattern: BlocksPattern, extent: Extent): NativeLists {
  const { batch, heads, kvHeads, queries, keys } = extent;
  const key = [batch, heads, kvHeads, queries, keys].join();
  const last = lastLists.get(pattern);
  if (last?.key === key) return last.lists;
  checkFits(pattern, extent);
  const { listed, full, predicate } = pattern;
  const { blockQ, blockK } = clippedSizes(pattern, extent);
  const visible = predicate ? askingOf(questionOf(pattern, predicate, extent)).finish() : uncut(listed);
  const table = full ? withFull(visible, full) : visible;
  const { offsets, columns, masks, tokenMasks } = table;
  const lists: NativeLists = {
    kind: 'lists',
    blockQueries: blockQ,
    blockKeys: blockK,
    ...stridesOf(table, heads),
    listWindow: 0,
    left: Number.POSITIVE_INFINITY,
    right: pattern.causal ? 0 : Number.POSITIVE_INFINITY,
    sinkTokens: 0,
    align: pattern.align,
    begins: offsets.slice(0, -1),
    counts: offsets.slice(1).map((end, list) => end - offsets[list]),
    starts: columns.map((block) => block * blockK),
    ...tokenMasks.fieldsOf(masks),
  };
  lastLists.set(pattern, { key, lists });
  return lists;
}

/** What is left to ask a pattern's predicate before listsOf() has its answers; undefined: nothing. */
export function askingFor(pattern: BlocksPattern, extent: Extent): Asking | undefined {
  if (!pattern.predicate) return undefined;
  checkFits(pattern, extent);
  const asking = askingOf(questionOf(pattern, pattern.predicate, extent));
  return asking.answers ? undefined : asking;
}

function questionOf(pattern: BlocksPattern, predicate: MaskPredicate, extent: Extent): Question {
  const { listed, predicateIgnores } = pattern;
  const [ofBatch, ofHeads] = listed.dims;
  return {
    predicate,
    ...clippedSizes(pattern, extent),
    batch: predicateIgnores.includes('batch') ? ofBatch : extent.batch,
    heads: predicateIgnores.includes('head') ? ofHeads : extent.heads,
    listed,
  };
}

/** A table whose blocks are visible whole. */
const uncut = (table: BlockTable): CutTable => ({
  ...table,
  masks: allocating(() => new Int32Array(table.columns.length)).fill(whole),
  tokenMasks: new TokenMasks(0),
});

/** The blocks of either table. */
function withFull(cut: CutTable, full: BlockTable): CutTable {
  const sourceOf = sourcesIn(full, cut.dims[1]);
  const offsets = allocating(() => new Int32Array(cut.offsets.length));
  const columns: number[] = [];
  const masks: number[] = [];
  for (let list = 0; list + 1 < offsets.length; ++list) {
    let next = cut.offsets[list];
    const takeBelow = (block: number) => {
      for (; next < cut.offsets[list + 1] && cut.columns[next] < block; ++next) {
        columns.push(cut.columns[next]);
        masks.push(cut.masks[next]);
      }
    };
    for (const block of listIn(full, sourceOf(list))) {
      takeBelow(block);
      columns.push(block);
      masks.push(whole);
    }
    takeBelow(maxTokens);
    offsets[list + 1] = columns.length;
  }
  return { ...cut, offsets, columns: Int32Array.from(columns), masks: Int32Array.from(masks) };
}

/** Refuses tables of another shape than the tensors. */
function checkFits(pattern: BlocksPattern, extent: Extent): void {
  const { blockQ, blockK, seqLengths, listed, full } = pattern;
  const { batch, heads, kvHeads, queries, keys } = extent;
  if (seqLengths && (seqLengths[0] !== queries || seqLengths[1] !== keys)) {
    throw mismatch(
      `The block mask was made for ${seqLengths[0]} queries and ${seqLengths[1]} keys, not ${queries} and ${keys}; ` +
        'make one for these with createBlockMask()',
    );
  }
  const rows = Math.ceil(queries / blockQ);
  const headCounts = [...new Set(seqLengths ? [1, heads] : [1, kvHeads, heads])];
  const { dims } = listed; // those of full, too
  if ((dims[0] !== 1 && dims[0] !== batch) || !headCounts.includes(dims[1]) || dims[2] !== rows) {
    throw mismatch(
      `The block lists are ${showDims(dims)} (batch, heads, queryBlocks), which does not fit: the batch is ${batch}, ` +
        `heads may be ${headCounts.join(' or ')}, and ${queries} queries in blocks of ${blockQ} are ${rows} blocks`,
    );
  }
  const keyBlocks = Math.ceil(keys / blockK);
  const isPast = (block: number) => block >= keyBlocks;
  const past = listed.columns.find(isPast) ?? full?.columns.find(isPast);
  if (past === undefined) return;
  throw new TilewiseRangeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `The block lists name block ${past}, but ${keys} keys in blocks of ${blockK} are ${keyBlocks} blocks`,
  );
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
  addends: slotAt('blockAddends'),
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
  views[slot.addends] = lists.addends;
  views[slot.maskIndex] = lists.maskIndex;
  views[slot.masks] = lists.masks;
}
