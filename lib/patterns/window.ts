// Windows: full(), causal() and slidingWindow().
// Reader: anyone who calls attention(). The rule itself is in core/pattern/window.h; here are its arguments and limits.

import type { Request } from '../call/request.js';
import type { Shape } from '../call/shape.js';
import { TilewiseTypeError } from '../check/errors.js';
import { checkBoolean, checkInteger, checkNames, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import { attentionOp, field } from '../native/fields.js';
import { type Align, checkAlign, putAlign } from './align.js';
import { made } from './made.js';
import { checkEntries, entriesOf, type HeadNumbers, type PerHead, readPerHead } from './per-head.js';

/**
 * A band of keys around every query, and leading keys that stay visible behind it. A query at position `p` sees key
 * `k` when `k <= p + right` and (`k >= p - left` or `k < sinkTokens`). Each is a number for all heads, or an array of one per KV
 * head or per query head.
 */
export interface WindowPattern {
  readonly kind: 'window';
  /** Keys visible before the query's own position; Infinity: all; -1: next to `right` 0 not even its own, sinks alone. */
  readonly left: HeadNumbers;
  /** Keys visible after it; 0 is causal, Infinity: all. */
  readonly right: HeadNumbers;
  /** Leading keys that stay visible when the window has moved past them (StreamingLLM, arXiv 2309.17453). */
  readonly sinkTokens: HeadNumbers;
  readonly align: Align;
}

/** How far a window reaches: `{ left, right }`, absent or Infinity meaning all; or `[left, right]`, -1 meaning all. */
export type WindowReach =
  | { readonly left?: PerHead; readonly right?: PerHead }
  | readonly [left: number, right: number];

const open = Number.POSITIVE_INFINITY;
const reachNames = new Set(['left', 'right']);
const alignNames = new Set(['align']);
const slidingNames = new Set(['recentTokens', 'left', 'right', 'causal', 'sinkTokens', 'align']);
const patternNames = namesOf<WindowPattern>({ kind: 1, left: 1, right: 1, sinkTokens: 1, align: 1 });

/** Every query sees every key. */
export function full(): WindowPattern {
  return fullPattern;
}

/**
 * Every query sees the keys up to its own position.
 * @param options.align where queries are among the keys; default `'bottom-right'`
 * @throws {TypeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION
 */
export function causal(options: { align?: Align } = {}): WindowPattern {
  checkNames('causal()', options, alignNames);
  return pattern(open, 0, 0, checkAlign(options.align));
}

/**
 * Every query sees the keys at most `left` before and `right` after its position, both inclusive, and the first
 * `sinkTokens` keys as far as `right` allows. The sliding window of Longformer (arXiv 2004.05150) and Mistral; with
 * `sinkTokens`, StreamingLLM's (arXiv 2309.17453).
 *
 * Each number may be an array of one per KV head or per query head, and arrays of different options may have different
 * lengths: DuoAttention's retrieval and streaming heads (arXiv 2410.10819), MoA's (arXiv 2406.14909, see moaWindows()).
 * @param options.recentTokens newest keys that a query sees, its own included, and none after it: the same as `left:
 *   recentTokens - 1, right: 0`. 0: sinks alone; Infinity: all
 * @param options.left keys before the query; default all
 * @param options.right keys after the query; default all
 * @param options.causal nothing after the query: the same as `right: 0`
 * @param options.sinkTokens leading keys that stay visible; default 0
 * @param options.align where queries are among the keys; default `'bottom-right'`
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION; the call that uses it throws
 *   ERR_TILEWISE_SHAPE_MISMATCH for an array that does not fit its heads
 */
export function slidingWindow(options: {
  recentTokens?: PerHead;
  left?: PerHead;
  right?: PerHead;
  causal?: boolean;
  sinkTokens?: PerHead;
  align?: Align;
}): WindowPattern {
  checkNames('slidingWindow()', options, slidingNames);
  const { left, right } = options;
  const window = left === undefined && right === undefined ? undefined : { left, right };
  return windowPattern({ ...options, window });
}

/** The options of attention() that describe a pattern, read into one. Absent ones leave the pattern open. */
export function windowPattern(options: {
  causal?: boolean;
  recentTokens?: PerHead;
  window?: WindowReach;
  sinkTokens?: PerHead;
  align?: Align;
}): WindowPattern {
  const { causal, recentTokens, window, sinkTokens, align } = options;
  let left: HeadNumbers = open;
  let right: HeadNumbers = open;
  if (window !== undefined) [left, right] = readReach(window);
  if (causal !== undefined && checkBoolean('causal', causal)) right = 0;
  if (recentTokens !== undefined) [left, right] = [readRecent(recentTokens, window, causal), 0];
  const sinks = sinkTokens === undefined ? 0 : readPerHead('sinkTokens', sinkTokens, checkSinks);
  return pattern(left, right, sinks, checkAlign(align));
}

/** Checks a window that someone else may have built. */
export function checkWindow(value: Record<string, unknown>): WindowPattern {
  checkNames('`pattern`', value, patternNames);
  const { left, right, sinkTokens, align } = value;
  return newPattern(
    // -1 is what `recentTokens: 0` becomes.
    readPerHead('pattern.left', left, (name, one) => (one === -1 && right === 0 ? -1 : checkReach(name, one))),
    readPerHead('pattern.right', right, checkReach),
    readPerHead('pattern.sinkTokens', sinkTokens, checkSinks),
    checkAlign(align, 'pattern.align'),
  );
}

/** A window; every call says "causal", so that one is made once. */
function pattern(left: HeadNumbers, right: HeadNumbers, sinkTokens: HeadNumbers, align: Align): WindowPattern {
  const isCausal = left === open && right === 0 && sinkTokens === 0 && align === 'bottom-right';
  return isCausal ? causalPattern : newPattern(left, right, sinkTokens, align);
}

const newPattern = (left: HeadNumbers, right: HeadNumbers, sinkTokens: HeadNumbers, align: Align): WindowPattern =>
  made({ kind: 'window', left, right, sinkTokens, align });

/** `left`, of the number of keys with the query's own. */
function readRecent(recentTokens: unknown, window: unknown, causal: unknown): HeadNumbers {
  const reach = is.object(window) && !Array.isArray(window) ? window : undefined;
  const other = (['left', 'right'] as const).find((name) => reach?.[name] !== undefined) ?? (window && 'window');
  if (other || causal === false) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${other || 'causal'}\` does not go with \`recentTokens\`, a causal window; leave one of them out`,
    );
  }
  const numbers = readPerHead('recentTokens', recentTokens, checkReach);
  return typeof numbers === 'number' ? numbers - 1 : Object.freeze(numbers.map((tokens) => tokens - 1));
}

/** Reads how far a window reaches. */
function readReach(window: unknown): [left: HeadNumbers, right: HeadNumbers] {
  if (Array.isArray(window)) {
    if (window.length !== 2) throw invalid('window', 'a pair [left, right]', window);
    return [0, 1].map((i) => (window[i] === -1 ? open : checkTokens(`window[${i}]`, window[i], ' or -1'))) as [
      number,
      number,
    ];
  }
  if (!is.object(window) || ArrayBuffer.isView(window))
    throw invalid('window', '{ left, right } or [left, right]', window);
  checkNames('`window`', window, reachNames);
  const { left = open, right = open } = window;
  return [readPerHead('left', left, checkReach), readPerHead('right', right, checkReach)];
}

/** The same where all heads have one window. */
export function readOneReach(window: unknown): [left: number, right: number] {
  const [left, right] = readReach(window);
  if (is.number(left) && is.number(right)) return [left, right];
  throw invalid('window', 'the same for all heads', window);
}

const checkReach = (name: string, value: unknown): number => checkTokens(name, value);
const checkSinks = (name: string, value: unknown): number => checkInteger(name, value, 0, maxTokens);

function checkTokens(name: string, value: unknown, orElse = ''): number {
  if (value !== open && !is.integer(value, 0, maxTokens)) {
    throw invalid(name, `a whole number of tokens from 0 to ${maxTokens}, Infinity${orElse}`, value);
  }
  return value as number;
}

/** The options of attention() that describe a window. */
export const windowNames: ReadonlySet<string> = new Set(['causal', 'recentTokens', 'window', 'sinkTokens', 'align']);

/** Refuses a pattern next to the options it stands for. */
export function checkExclusive(options: Record<string, unknown>): void {
  for (const name of windowNames) {
    if (options[name] === undefined) continue;
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`pattern\` already says which keys are visible; leave out \`${name}\``,
    );
  }
}

const fullPattern = newPattern(open, open, 0, 'bottom-right');
const causalPattern = newPattern(open, 0, 0, 'bottom-right');

/** A window that is the same for all heads. */
interface OneWindow {
  readonly left: number;
  readonly right: number;
  readonly sinkTokens: number;
  readonly align: Align;
}

/** Whether no number of a window differs from head to head. */
export const isOneWindow = <W extends Pick<WindowPattern, 'left' | 'right' | 'sinkTokens'>>(
  window: W,
): window is W & { readonly left: number; readonly right: number; readonly sinkTokens: number } =>
  is.number(window.left) && is.number(window.right) && is.number(window.sinkTokens);

/** A number of keys in native code, where maxTokens reaches past every key: it means open and endless. */
export const bounded = (value: number): number => Math.min(value, maxTokens);

/** Fills in a window that is the same for all heads. */
export function putWindow(numbers: Float64Array, { left, right, sinkTokens, align }: OneWindow): void {
  numbers[field.left] = bounded(left);
  numbers[field.right] = bounded(right);
  numbers[field.sinkTokens] = sinkTokens;
  putAlign(numbers, align);
}

const slot = {
  lefts: attentionOp.view('windowLefts'),
  rights: attentionOp.view('windowRights'),
  sinks: attentionOp.view('windowSinks'),
};

/** Fills in a window of any heads. */
export function putWindows({ numbers, views }: Request, window: WindowPattern, shape: Shape): void {
  if (isOneWindow(window)) {
    putWindow(numbers, window);
    return;
  }
  const { left, right, sinkTokens, align } = window;
  checkEntries('`left` (or `recentTokens`)', left, shape);
  checkEntries('`right`', right, shape);
  checkEntries('`sinkTokens`', sinkTokens, shape);
  putAlign(numbers, align);
  views[slot.lefts] = Int32Array.from(entriesOf(left), bounded);
  views[slot.rights] = Int32Array.from(entriesOf(right), bounded);
  views[slot.sinks] = Int32Array.from(entriesOf(sinkTokens));
}
