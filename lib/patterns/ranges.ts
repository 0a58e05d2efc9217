// ranges(): for every query the ranges of keys that it sees, brought by the caller.
// Reader: someone who has a mask that a few ranges per query state: documents, prefixes, gathered keys. What queries of a
// tile have in common is found in core/plan/range_runs.h; here arguments become one list of ranges per query.

import type { Request } from '../call/request.js';
import { mismatch } from '../call/shape.js';
import { allocating, showDims, TilewiseRangeError } from '../check/errors.js';
import { checkNames, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import { attentionOp } from '../native/fields.js';
import { typedArrayName } from '../tensor/typed-arrays.js';
import type { TensorLike } from '../tensor/types.js';
import type { HostView } from '../tensor/views.js';
import { type Align, checkAlign, putAlign } from './align.js';
import { leadOf, readNumbers } from './block-formats.js';
import type { Extent } from './extent.js';
import { made } from './made.js';

/** For every query the ranges of keys it sees. */
export interface RangesPattern {
  readonly kind: 'ranges';
  /** [batch, heads, queries]; the first two may be 1, for all. */
  readonly dims: readonly [batch: number, heads: number, queries: number];
  /** Where the ranges of row `(batch * heads + head) * queries + query` begin among all, and where the last row's end. */
  readonly offsets: Int32Array;
  /** Range i is the keys from `bounds[2 * i]` to before `bounds[2 * i + 1]`; those of a row ascend and do not touch. */
  readonly bounds: Int32Array;
  readonly align: Align;
}

export interface RangesOptions {
  /**
   * The first key of each range: int32 [queries, most], [heads, queries, most] or [batch, heads, queries, most]; batch and
   * heads may be 1, heads also the KV heads. An Int32Array has one range per query.
   */
  begins: Int32Array | TensorLike;
  /** The key behind the last one of each range, likewise. Where it is the first, there is no range. */
  ends: Int32Array | TensorLike;
  /** Where queries are among the keys; ALiBi asks it. Default `'bottom-right'`. */
  align?: Align;
}

const rangesNames = namesOf<RangesOptions>({ begins: 1, ends: 1, align: 1 });
const patternNames = namesOf<RangesPattern>({ kind: 1, dims: 1, offsets: 1, bounds: 1, align: 1 });

/**
 * Every query sees the keys in its own ranges: documents, prefixes, shared questions and other masks (LongCA-bench, arXiv
 * 2510.17896), as a few numbers per query. Memory and time of the mask are those of the ranges; keys in no range of a tile
 * of queries are neither computed nor read. The pattern keeps copies.
 * @param options `begins` and `ends`: per query, ranges that ascend and do not overlap; and `align`
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION (ranges that overlap or are out
 *   of order), ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_DTYPE, ERR_TILEWISE_SHAPE_MISMATCH
 */
export function ranges(options: RangesOptions): RangesPattern {
  checkNames('ranges()', options, rangesNames);
  const begins = readBounds('begins', options.begins);
  const ends = readBounds('ends', options.ends);
  if (begins.dims.length !== ends.dims.length || begins.dims.some((length, axis) => length !== ends.dims[axis])) {
    throw mismatch(`\`begins\` ${showDims(begins.dims)} and \`ends\` ${showDims(ends.dims)} must have the same dims`);
  }
  const lead = leadOf('begins', begins, 2, '[queries, most]');
  const align = checkAlign(options.align);
  const table: Table = { dims: [...lead, begins.dims.at(-2)!], ...join(begins, ends) };
  return keep(table, align, copyOf(table));
}

/** Ranges that are listed already. */
type Table = Pick<RangesPattern, 'dims' | 'offsets' | 'bounds'>;

/**
 * A pattern of ranges that are listed already, as builders make them. It has the arrays from now on.
 * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION
 */
export function rangesPattern(table: Table, align: Align = 'bottom-right'): RangesPattern {
  checkTable(table);
  return keep(table, align, table);
}

/** Checks a pattern that someone else may have built. */
export function checkRanges(value: Record<string, unknown>): RangesPattern {
  const align = checkAlign(value.align, 'pattern.align');
  checkNames('`pattern`', value, patternNames);
  const table = value as unknown as RangesPattern;
  checkTable(table);
  return keep(table, align, copyOf(table));
}

function checkTable(table: Table): void {
  const { dims, offsets, bounds } = table;
  const isTable =
    Array.isArray(dims) &&
    dims.length === 3 &&
    dims.every((length) => is.integer(length, 0, maxTokens)) &&
    typedArrayName(offsets) === 'Int32Array' &&
    typedArrayName(bounds) === 'Int32Array';
  if (!isTable) throw invalid('pattern', 'what ranges() returns', table);
  const rows = dims[0] * dims[1] * dims[2];
  if (offsets.length !== rows + 1 || offsets[0] !== 0 || 2 * offsets[rows] !== bounds.length) {
    throw wrong(`\`pattern.offsets\` must be ${rows + 1} offsets from 0 to ${bounds.length / 2}`);
  }
  for (let row = 0; row < rows; ++row) {
    if (offsets[row + 1] < offsets[row]) throw wrong(`\`pattern.offsets[${row + 1}]\` is below the one before it`);
    for (let i = 2 * offsets[row], least = 0; i < 2 * offsets[row + 1]; i += 2, least = bounds[i - 1] + 1) {
      if (bounds[i] >= least && bounds[i + 1] > bounds[i] && bounds[i + 1] <= maxTokens) continue;
      throw wrong(`\`pattern.bounds[${i}]\` must begin a range that is not empty, apart from the one before it`);
    }
  }
}

/** Numbers along at least two axes, [queries, most]. */
function readBounds(name: string, value: unknown): HostView {
  const view = readNumbers(name, value);
  return typedArrayName(value) === 'Int32Array' ? { ...view, dims: [view.dims[0], 1] } : view;
}

/** One list of ranges per row; those that touch become one, empty ones are left out. */
function join(begins: HostView, ends: HostView): Pick<RangesPattern, 'offsets' | 'bounds'> {
  const { dims } = begins;
  const most = dims.at(-1)!;
  const [from, to] = [begins.data as Int32Array, ends.data as Int32Array];
  const rows = dims.slice(0, -1).reduce((a, length) => a * length, 1);
  if (rows > maxTokens) {
    throw wrong(`\`begins\` ${showDims(dims)} has ${rows} lists of ranges, more than ${maxTokens}`);
  }
  const offsets = allocating(() => new Int32Array(rows + 1));
  const bounds = allocating(() => new Int32Array(2 * from.length));
  const at = (i: number) => `[${indexOf(dims, i).join(', ')}]`;
  let count = 0;
  for (let row = 0; row < rows; ++row) {
    for (let i = row * most; i < (row + 1) * most; ++i) {
      const begin = from[i];
      const end = to[i];
      if (begin < 0 || end > maxTokens) {
        const [name, value] = begin < 0 ? ['begins', begin] : ['ends', end];
        throw wrong(`\`${name}${at(i)}\` must be from 0 to ${maxTokens}, not ${value}`);
      }
      if (end < begin) throw wrong(`\`ends${at(i)}\` is ${end}, before \`begins${at(i)}\`, which is ${begin}`);
      if (end === begin) continue;
      const last = count > offsets[row] ? bounds[2 * count - 1] : -1;
      if (begin < last) {
        throw wrong(
          `\`begins${at(i)}\` is ${begin}, but another range of this query ends at ${last}: ranges must ascend and not overlap`,
        );
      }
      if (begin > last) bounds[2 * count++] = begin;
      bounds[2 * count - 1] = end;
    }
    offsets[row + 1] = count;
  }
  return { offsets, bounds: bounds.slice(0, 2 * count) };
}

/** The index of an element along every axis. */
const indexOf = (dims: readonly number[], element: number): number[] =>
  dims.map((length, axis) => Math.floor(element / dims.slice(axis + 1).reduce((a, n) => a * n, 1)) % length);

const wrong = (message: string): Error => new TilewiseRangeError('ERR_TILEWISE_INVALID_OPTION', message);

/** A pattern's ranges in memory that callers do not see: they may write into what the pattern shows them. */
interface OwnTable extends Pick<RangesPattern, 'offsets' | 'bounds'> {
  /** Where the last of all ranges ends. */
  readonly lastEnd: number;
}

const tables = new WeakMap<RangesPattern, OwnTable>();

const copyOf = ({ offsets, bounds }: Table): Omit<Table, 'dims'> =>
  allocating(() => ({ offsets: offsets.slice(), bounds: bounds.slice() }));

/** Makes a pattern of ranges that have been checked. `own`: the same ones, in memory that callers do not see. */
function keep({ dims, offsets, bounds }: Table, align: Align, own: Omit<Table, 'dims'>): RangesPattern {
  const shown = { dims: Object.freeze([dims[0], dims[1], dims[2]] as const), offsets, bounds };
  const pattern: RangesPattern = made({ kind: 'ranges', ...shown, align });
  let lastEnd = 0;
  for (const bound of own.bounds) if (bound > lastEnd) lastEnd = bound;
  tables.set(pattern, { offsets: own.offsets, bounds: own.bounds, lastEnd });
  return pattern;
}

/** The ranges of a pattern that has been checked. */
const tableOf = (pattern: RangesPattern): OwnTable => tables.get(pattern) as OwnTable;

/** Refuses ranges that were made for tensors of another shape. */
function checkFits(pattern: RangesPattern, { batch, heads, kvHeads, queries, keys }: Extent): void {
  const { dims } = pattern;
  const { offsets, bounds, lastEnd } = tableOf(pattern);
  const headCounts = [...new Set([1, kvHeads, heads])];
  if ((dims[0] !== 1 && dims[0] !== batch) || !headCounts.includes(dims[1]) || dims[2] !== queries) {
    throw mismatch(
      `The ranges are for ${showDims(dims)} (batch, heads, queries), which does not fit: the batch is ${batch}, heads may ` +
        `be ${headCounts.join(' or ')}, and there are ${queries} queries`,
    );
  }
  if (lastEnd <= keys) return;
  const past = bounds.findIndex((bound) => bound > keys);
  const row = offsets.findIndex((end) => 2 * end > past) - 1;
  const [b, head, query] = indexOf(dims, row);
  const whose = dims[0] * dims[1] > 1 ? ` of head ${head}, batch entry ${b},` : '';
  throw wrong(`A range of query ${query}${whose} ends at key ${bounds[past]}, but there are ${keys} keys`);
}

const { field: fieldAt, view: slotAt } = attentionOp;

const field = {
  headsPerRanges: fieldAt('headsPerRanges'),
  rangesByBatch: fieldAt('rangesByBatch'),
  rangesByHead: fieldAt('rangesByHead'),
};

const slot = {
  offsets: slotAt('rangeOffsets'),
  bounds: slotAt('rangeBounds'),
};

/**
 * Fills in ranges, for tensors of this shape.
 * @throws {RangeError} ERR_TILEWISE_SHAPE_MISMATCH when batch, heads or queries do not fit, ERR_TILEWISE_INVALID_OPTION when
 *   a range ends past the keys
 */
export function putRanges({ numbers, views }: Request, pattern: RangesPattern, extent: Extent): void {
  checkFits(pattern, extent);
  const { dims, align } = pattern;
  const { offsets, bounds } = tableOf(pattern);
  numbers[field.headsPerRanges] = extent.heads / dims[1];
  numbers[field.rangesByHead] = dims[1] === 1 ? 0 : 1;
  numbers[field.rangesByBatch] = dims[0] === 1 ? 0 : dims[1];
  putAlign(numbers, align);
  views[slot.offsets] = offsets;
  views[slot.bounds] = bounds;
}
