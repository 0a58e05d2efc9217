// attentionSlices(): a mask as rectangles of queries and keys, each full or cut along a diagonal.
// Reader: someone who has MagiAttention's slices, or a mask that is a few rectangles. The rule is in
// core/pattern/slice_ranges.h; here are its arguments and limits.

import { mismatch, outputHeads, type Shape } from '../call/shape.js';
import { calling, TilewiseRangeError } from '../check/errors.js';
import { checkInteger, checkNames, checkOneOf, invalid, maxTokens, namesOf, readEach } from '../check/validate.js';
import { native } from '../native/native.js';
import type { NativeRanges } from '../native/ranges.js';
import { made } from './made.js';

const kinds = ['full', 'causal', 'invcausal', 'bicausal'] as const;

/** A rectangle of queries and keys, of which a part is visible. */
export interface AttentionSlice {
  /** Queries, from the first to behind the last: indices of rows, not positions. */
  readonly q: readonly [begin: number, end: number];
  /** Keys likewise. */
  readonly k: readonly [begin: number, end: number];
  /**
   * `'full'`: all of it. `'causal'`: what is left of the diagonal that ends in the lower right corner. `'invcausal'`: what is
   * right of the diagonal that begins in the upper left corner. `'bicausal'`: what both show. Diagonals are visible.
   */
  readonly kind: (typeof kinds)[number];
}

/** A mask as slices. */
export interface SlicesPattern {
  readonly kind: 'slices';
  /** A list for all heads, one per KV head or one per query head. */
  readonly slices: readonly (readonly AttentionSlice[])[];
}

const sliceNames = namesOf<AttentionSlice>({ q: 1, k: 1, kind: 1 });
const patternNames = namesOf<SlicesPattern>({ kind: 1, slices: 1 });

/**
 * A mask as slices, for all batch entries: a query sees what the slices of its row show. Slices of a list must not overlap; rows
 * that no slice names see nothing. MagiAttention's AttnSlice (MAGI-1, arXiv 2505.13211).
 * @param slices a list for all heads, or an array of lists, one per KV head or one per query head
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION; of a call, also for a slice beyond its
 *   tokens and for two that overlap, ERR_TILEWISE_SHAPE_MISMATCH for another number of heads, ERR_TILEWISE_OUT_OF_BOUNDS where
 *   its queries see more than 2^28 ranges of keys in all
 */
export function attentionSlices(
  slices: readonly AttentionSlice[] | readonly (readonly AttentionSlice[])[],
): SlicesPattern {
  if (!Array.isArray(slices)) throw invalid('slices', 'an array of slices { q, k, kind }', slices);
  const areMany = slices.length > 0 && slices.findIndex((list) => !Array.isArray(list)) < 0;
  const lists = areMany
    ? slices.map((list, h) => readList(`slices[${h}]`, list as unknown[]))
    : [readList('slices', slices as unknown[])];
  return made({ kind: 'slices', slices: Object.freeze(lists) });
}

/** Checks slices that someone else may have built. */
export function checkSlices(value: Record<string, unknown>): SlicesPattern {
  checkNames('`pattern`', value, patternNames);
  return attentionSlices(value.slices as readonly (readonly AttentionSlice[])[]);
}

const readList = (name: string, list: readonly unknown[]): readonly AttentionSlice[] =>
  Object.freeze(readEach(list, (slice, i) => readSlice(`${name}[${i}]`, slice)));

function readSlice(name: string, slice: unknown): AttentionSlice {
  checkNames(`\`${name}\``, slice, sliceNames);
  const { q, k, kind } = slice as Record<string, unknown>;
  return Object.freeze({
    q: readSide(`${name}.q`, q),
    k: readSide(`${name}.k`, k),
    kind: checkOneOf(`${name}.kind`, kind, kinds),
  });
}

function readSide(name: string, side: unknown): readonly [number, number] {
  if (!Array.isArray(side) || side.length !== 2) throw invalid(name, 'a pair [begin, end]', side);
  const begin = checkInteger(`${name}[0]`, side[0], 0, maxTokens);
  return Object.freeze([begin, checkInteger(`${name}[1]`, side[1], begin, maxTokens)] as const);
}

/** What the queries of a call see, as rows of ranges: a list for each list of slices. */
export function rangesOfSlices({ slices }: SlicesPattern, shape: Shape): NativeRanges {
  const heads = outputHeads(shape);
  if (![1, shape.kvHeads, heads].includes(slices.length)) {
    throw mismatch(
      `\`slices\` must be one list, ${shape.kvHeads} of KV heads or ${heads} of query heads, not ${slices.length} lists`,
    );
  }
  const nameOf = (list: number, slice: number) =>
    slices.length === 1 ? `slices[${slice}]` : `slices[${list}][${slice}]`;
  const lists = slices.map((list, h) =>
    Int32Array.from(
      list.flatMap(({ q, k, kind }, i) => {
        checkEnd(`${nameOf(h, i)}.q`, q[1], shape.queries, 'queries');
        checkEnd(`${nameOf(h, i)}.k`, k[1], shape.keys, 'keys');
        return [...q, ...k, kinds.indexOf(kind)];
      }),
    ),
  );
  const found = calling(() => native.sliceRanges({ queries: shape.queries, slices: lists }));
  if (!('overlap' in found)) return found;
  const [list, first, second, query, key] = found.overlap;
  throw new TilewiseRangeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `\`${nameOf(list, first)}\` and \`${nameOf(list, second)}\` overlap: both show query ${query} key ${key}, which would count twice`,
  );
}

function checkEnd(name: string, end: number, tokens: number, what: string): void {
  if (end <= tokens) return;
  throw new TilewiseRangeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `\`${name}\` ends at ${end}, but the call has ${tokens} ${what}`,
  );
}
