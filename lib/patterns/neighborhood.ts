// neighborhood(): every token of a 1-D, 2-D or 3-D grid sees the window of tokens around it.
// Reader: someone who has images, feature maps or video. Semantics: NATTEN 0.21's, generalized neighborhood attention
// (arXiv 2504.16922); the rule itself lives in core/pattern/neighborhood.h, here are its arguments and their limits.

import { showDims, TilewiseRangeError } from '../check/errors.js';
import { checkBoolean, checkInteger, checkNames, checkOneOf, invalid, maxTokens, namesOf } from '../check/validate.js';
import { attentionOp } from '../native/fields.js';
import { made } from './made.js';

/** One value for every axis of the grid, or one per axis, outermost first. */
export type PerAxis<T> = T | readonly T[];

/** A window of `kernelSize` tokens per axis around every token; a token sees the product of its axes' windows. */
export interface NeighborhoodPattern {
  readonly kind: 'neighborhood';
  /** Tokens of the window, from 1; even windows have one token more before the query than after it. */
  readonly kernelSize: PerAxis<number>;
  /** So many neighbouring queries share one window, that of the group's middle; from 1 to kernelSize. */
  readonly stride: PerAxis<number>;
  /** Tokens from one key of the window to the next, from 1; kernelSize * dilation fits the axis. */
  readonly dilation: PerAxis<number>;
  /** Axes on which nothing after the query is visible. */
  readonly causal: PerAxis<boolean>;
  /** What an edge does to a window that reaches over it: shifts it inward, or cuts it. */
  readonly border: 'shift' | 'clip';
}

export interface NeighborhoodOptions {
  /** Tokens of the window: a number from 1, or one per axis. */
  kernelSize: PerAxis<number>;
  /** Queries that share a window (GNA): a number from 1 to kernelSize, or one per axis; default 1. */
  stride?: PerAxis<number>;
  /** Tokens from key to key: a number from 1, or one per axis; default 1. */
  dilation?: PerAxis<number>;
  /** Hide what comes after the query, on all axes or one by one; default false. */
  causal?: PerAxis<boolean>;
  /**
   * Windows at an edge are shifted inward (`'shift'`, default, NATTEN), or cut there (`'clip'`, HaloNet): a query near an edge
   * then sees fewer keys, the groups of `stride` stay whole behind the last token, and kernelSize may exceed the axis.
   */
  border?: 'shift' | 'clip';
}

/** What one axis of a grid asks for. */
export interface AxisRule {
  readonly kernelSize: number;
  readonly stride: number;
  readonly dilation: number;
  readonly causal: boolean;
  readonly border: 'shift' | 'clip';
}

/** Most axes of a grid. */
export const maxGridRank = 3;
export const neighborhoodNames = namesOf<NeighborhoodOptions>({
  kernelSize: 1,
  stride: 1,
  dilation: 1,
  causal: 1,
  border: 1,
});
const borders = ['shift', 'clip'] as const;
const patternNames: ReadonlySet<string> = new Set(['kind', ...neighborhoodNames]);

/**
 * Every token sees the window of tokens around it, as NATTEN's na1d, na2d and na3d have it: windows at an edge are
 * shifted inward, not cropped, so each query sees kernelSize keys per axis, unless `border` is `'clip'`. The rank and the lengths come from the tensors:
 * q, k and v are [batch, ...tokens, heads, dim].
 *
 * Beyond NATTEN: windows of 1 and axes of length 1 are allowed.
 * @param options see NeighborhoodOptions; arrays name the axes outermost first and must all have one length, 1 to 3
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION (a stride above its
 *   kernelSize), ERR_TILEWISE_SHAPE_MISMATCH (arrays of different lengths)
 */
export function neighborhood(options: NeighborhoodOptions): NeighborhoodPattern {
  checkNames('neighborhood()', options, neighborhoodNames);
  return readNeighborhood(options as unknown as Record<string, unknown>, '');
}

/** Checks a neighborhood that someone else may have built. */
export function checkNeighborhood(value: Record<string, unknown>): NeighborhoodPattern {
  const pattern = readNeighborhood(value, 'pattern.');
  checkNames('`pattern`', value, patternNames);
  return pattern;
}

function readNeighborhood(o: Record<string, unknown>, prefix: string): NeighborhoodPattern {
  const count = (name: string, value: unknown) => checkInteger(name, value, 1, maxTokens);
  const read = <T>(name: string, absent: T, check: (name: string, value: unknown) => T): PerAxis<T> =>
    o[name] === undefined && name !== 'kernelSize' ? absent : perAxis(`${prefix}${name}`, o[name], check);
  const pattern: NeighborhoodPattern = {
    kind: 'neighborhood',
    kernelSize: read('kernelSize', 1, count),
    stride: read('stride', 1, count),
    dilation: read('dilation', 1, count),
    causal: read('causal', false, checkBoolean),
    border: o.border === undefined ? 'shift' : checkOneOf(`${prefix}border`, o.border, borders),
  };
  for (let axis = 0; axis < (rankOf(pattern, prefix) ?? 1); ++axis) {
    const { kernelSize, stride } = axisOf(pattern, axis);
    if (stride <= kernelSize) continue;
    throw new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${prefix}${nameOf(pattern, 'stride', axis)}\` must be at most ` +
        `\`${nameOf(pattern, 'kernelSize', axis)}\` ${kernelSize}, not ${stride}`,
    );
  }
  return made(pattern);
}

function perAxis<T>(name: string, value: unknown, check: (name: string, value: unknown) => T): PerAxis<T> {
  if (!Array.isArray(value)) return check(name, value);
  if (value.length < 1 || value.length > maxGridRank) {
    throw invalid(name, `one value, or one for each of 1 to ${maxGridRank} axes`, value);
  }
  return Object.freeze(value.map((one, axis) => check(`${name}[${axis}]`, one)));
}

const fields = ['kernelSize', 'stride', 'dilation', 'causal'] as const;
type Field = (typeof fields)[number];

/** How many axes the arrays of a pattern name; undefined when there are none. */
function rankOf(pattern: NeighborhoodPattern, prefix: string): number | undefined {
  let first: Field | undefined;
  let rank: number | undefined;
  for (const name of fields) {
    const value: unknown = pattern[name];
    if (!Array.isArray(value)) continue;
    if (rank !== undefined && value.length !== rank) {
      throw new TilewiseRangeError(
        'ERR_TILEWISE_SHAPE_MISMATCH',
        `\`${prefix}${name}\` has ${entries(value.length)}, but \`${prefix}${first}\` has ${rank}; give one value or as many`,
      );
    }
    first ??= name;
    rank = value.length;
  }
  return rank;
}

const entries = (count: number): string => (count === 1 ? '1 entry' : `${count} entries`);

const on = <T>(value: PerAxis<T>, axis: number): T => (Array.isArray(value) ? value[axis] : (value as T));

const axisOf = (pattern: NeighborhoodPattern, axis: number): AxisRule => ({
  kernelSize: on(pattern.kernelSize, axis),
  stride: on(pattern.stride, axis),
  dilation: on(pattern.dilation, axis),
  causal: on(pattern.causal, axis),
  border: pattern.border,
});

/** An option as the caller wrote it: `stride`, or `stride[1]` where there is one per axis. */
const nameOf = (pattern: NeighborhoodPattern, name: Field, axis: number): string =>
  Array.isArray(pattern[name]) ? `${name}[${axis}]` : name;

/**
 * The rules of every axis of a grid with these lengths.
 * @throws {RangeError} ERR_TILEWISE_SHAPE_MISMATCH when the pattern names another number of axes,
 *   ERR_TILEWISE_INVALID_OPTION when a window does not fit its axis
 */
export function axisRules(pattern: NeighborhoodPattern, lengths: readonly number[]): AxisRule[] {
  const rank = rankOf(pattern, '');
  if (rank !== undefined && rank !== lengths.length) {
    const name = fields.find((field) => Array.isArray(pattern[field]));
    throw new TilewiseRangeError(
      'ERR_TILEWISE_SHAPE_MISMATCH',
      `\`${name}\` has ${entries(rank)}, but the tokens of \`q\` have ${lengths.length} axes, ${showDims(lengths)}`,
    );
  }
  return lengths.map((length, axis) => {
    const rule = axisOf(pattern, axis);
    const kernelSize = rule.border === 'clip' ? Math.min(rule.kernelSize, 1) : rule.kernelSize;
    const { dilation } = rule;
    if (kernelSize * dilation > length) {
      throw new TilewiseRangeError(
        'ERR_TILEWISE_INVALID_OPTION',
        `\`${nameOf(pattern, 'kernelSize', axis)}\` ${kernelSize} * \`${nameOf(pattern, 'dilation', axis)}\` ${dilation} ` +
          `must be at most ${length}, the length of axis ${axis} of the tokens ${showDims(lengths)}`,
      );
    }
    return rule;
  });
}

/** A grid that a neighborhood is laid over. */
export interface Grid {
  readonly lengths: readonly number[];
  readonly rules: readonly AxisRule[];
}

const fieldAt = attentionOp.field;

// Those of an axis follow each other.
const field = {
  rank: fieldAt('rank'),
  length: fieldAt('length0'),
  kernelSize: fieldAt('kernelSize0'),
  stride: fieldAt('stride0'),
  dilation: fieldAt('dilation0'),
  causal: fieldAt('causal0'),
  clipped: fieldAt('clipped'),
};

/** Fills in a grid. */
export function putGrid(numbers: Float64Array, { lengths, rules }: Grid): void {
  numbers[field.rank] = lengths.length;
  numbers[field.clipped] = rules[0].border === 'clip' ? 1 : 0;
  lengths.forEach((length, axis) => {
    const { kernelSize, stride, dilation, causal } = rules[axis];
    numbers[field.length + axis] = length;
    numbers[field.kernelSize + axis] = kernelSize;
    numbers[field.stride + axis] = stride;
    numbers[field.dilation + axis] = dilation;
    numbers[field.causal + axis] = causal ? 1 : 0;
  });
}
