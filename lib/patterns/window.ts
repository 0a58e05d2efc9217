// Windows: full(), causal() and slidingWindow().
// Reader: anyone who calls attention(). The rule itself is in core/pattern/window.h; here are its arguments and limits.

import { TilewiseTypeError } from '../check/errors.js';
import { checkBoolean, checkInteger, checkNames, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import { field } from '../native/fields.js';
import { type Align, checkAlign, putAlign } from './align.js';
import { made } from './made.js';

/**
 * A band of keys around every query, and leading keys that stay visible behind it. A query at position `p` sees key
 * `k` when `k <= p + right` and (`k >= p - left` or `k < sinkTokens`).
 */
export interface WindowPattern {
  readonly kind: 'window';
  /** Keys visible before the query's own position; Infinity: all. */
  readonly left: number;
  /** Keys visible after it; 0 is causal, Infinity: all. */
  readonly right: number;
  /** Leading keys that stay visible when the window has moved past them (StreamingLLM, arXiv 2309.17453). */
  readonly sinkTokens: number;
  readonly align: Align;
}

/** How far a window reaches: `{ left, right }`, absent or Infinity meaning all; or `[left, right]`, -1 meaning all. */
export type WindowReach = { readonly left?: number; readonly right?: number } | readonly [left: number, right: number];

const open = Number.POSITIVE_INFINITY;
const reachNames = new Set(['left', 'right']);
const alignNames = new Set(['align']);
const slidingNames = new Set(['left', 'right', 'causal', 'sinkTokens', 'align']);
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
 * @param options.left keys before the query; default all
 * @param options.right keys after the query; default all
 * @param options.causal nothing after the query: the same as `right: 0`
 * @param options.sinkTokens leading keys that stay visible; default 0
 * @param options.align where queries are among the keys; default `'bottom-right'`
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION
 */
export function slidingWindow(options: {
  left?: number;
  right?: number;
  causal?: boolean;
  sinkTokens?: number;
  align?: Align;
}): WindowPattern {
  checkNames('slidingWindow()', options, slidingNames);
  const { left, right, sinkTokens, align } = options;
  return windowPattern({ causal: options.causal, window: { left, right }, sinkTokens, align });
}

/** The options of attention() that describe a pattern, read into one. Absent ones leave the pattern open. */
export function windowPattern(options: {
  causal?: boolean;
  window?: WindowReach;
  sinkTokens?: number;
  align?: Align;
}): WindowPattern {
  const { causal, window, sinkTokens, align } = options;
  let left = open;
  let right = open;
  if (window !== undefined) [left, right] = readReach(window);
  if (causal !== undefined && checkBoolean('causal', causal)) right = 0;
  const sinks = sinkTokens === undefined ? 0 : checkInteger('sinkTokens', sinkTokens, 0, maxTokens);
  return pattern(left, right, sinks, checkAlign(align));
}

/** Checks a window that someone else may have built. */
export function checkWindow(value: Record<string, unknown>): WindowPattern {
  checkNames('`pattern`', value, patternNames);
  const { left, right, sinkTokens, align } = value;
  checkReach('pattern.left', left);
  checkReach('pattern.right', right);
  checkInteger('pattern.sinkTokens', sinkTokens, 0, maxTokens);
  checkAlign(align, 'pattern.align');
  return value as unknown as WindowPattern;
}

/** A window; every call says "causal", so that one is made once. */
function pattern(left: number, right: number, sinkTokens: number, align: Align): WindowPattern {
  const isCausal = left === open && right === 0 && sinkTokens === 0 && align === 'bottom-right';
  return isCausal ? causalPattern : newPattern(left, right, sinkTokens, align);
}

const newPattern = (left: number, right: number, sinkTokens: number, align: Align): WindowPattern =>
  made({ kind: 'window', left, right, sinkTokens, align });

/** Reads how far a window reaches. */
export function readReach(window: unknown): [left: number, right: number] {
  if (Array.isArray(window)) {
    if (window.length !== 2) throw invalid('window', 'a pair [left, right]', window);
    return [0, 1].map((i) => (window[i] === -1 ? open : checkReach(`window[${i}]`, window[i], ' or -1'))) as [
      number,
      number,
    ];
  }
  if (!is.object(window) || ArrayBuffer.isView(window))
    throw invalid('window', '{ left, right } or [left, right]', window);
  checkNames('`window`', window, reachNames);
  const { left = open, right = open } = window;
  return [checkReach('left', left), checkReach('right', right)];
}

function checkReach(name: string, value: unknown, orElse = ''): number {
  if (value !== open && !is.integer(value, 0, maxTokens)) {
    throw invalid(name, `a whole number of tokens from 0 to ${maxTokens}, Infinity${orElse}`, value);
  }
  return value as number;
}

/** The options of attention() that describe a window. */
export const windowNames: ReadonlySet<string> = new Set(['causal', 'window', 'sinkTokens', 'align']);

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

type WindowFields = Pick<WindowPattern, 'left' | 'right' | 'sinkTokens' | 'align'>;

/** A number of keys in native code, where maxTokens reaches past every key: it means open and endless. */
export const bounded = (value: number): number => Math.min(value, maxTokens);

/** Fills in a window. */
export function putWindow(numbers: Float64Array, { left, right, sinkTokens, align }: WindowFields): void {
  numbers[field.left] = bounded(left);
  numbers[field.right] = bounded(right);
  numbers[field.sinkTokens] = sinkTokens;
  putAlign(numbers, align);
}
