// Group codes: numbers as codes of a few bits, with a scale and a minimum for each group of them.
// Reader: someone who asks what quantisation does to a number. x becomes code * scale + min; plain arrays in and out. Idea:
// KIVI (arXiv 2402.02750), whose groups of equal numbers divide by zero; here their scale is 0 and their codes are 0.

import { invalid } from '../check/validate.js';

export type CodeBits = 8 | 4 | 2;

export function checkBits(name: string, value: unknown): CodeBits {
  if (value === 8 || value === 4 || value === 2) return value;
  throw invalid(name, 'the number 8, 4 or 2', value);
}

/** Where the scale and the minimum of each group go. */
export interface GroupScales {
  readonly scales: Float32Array;
  readonly mins: Float32Array;
}

/**
 * Codes of one group: `count` numbers from `at` on, `step` apart; those of the codes are `codeStep` apart. Scales are float32, and
 * codes are the nearest for the scale as it is kept. A group with a NaN or an infinity has scale 0 and a minimum of NaN.
 * @param group where its scale and minimum go
 */
export function writeGroup(
  bits: CodeBits,
  x: Float32Array,
  at: number,
  step: number,
  count: number,
  codes: Uint8Array,
  codeAt: number,
  codeStep: number,
  to: GroupScales,
  group: number,
): void {
  const levels = 2 ** bits - 1;
  let min = x[at];
  let max = min;
  let flaw = 0; // NaN once a number is not finite
  for (let i = 0, from = at; i < count; ++i, from += step) {
    const value = x[from];
    if (value < min) min = value;
    if (value > max) max = value;
    flaw += value * 0;
  }
  const scale = flaw === 0 ? Math.fround((max - min) / levels) : 0;
  to.scales[group] = scale;
  to.mins[group] = flaw === 0 ? min : Number.NaN;
  if (scale === 0) {
    for (let i = 0, into = codeAt; i < count; ++i, into += codeStep) codes[into] = 0;
    return;
  }
  const factor = 1 / scale;
  for (let i = 0, from = at, into = codeAt; i < count; ++i, from += step, into += codeStep) {
    const code = ((x[from] - min) * factor + 0.5) | 0;
    codes[into] = code > levels ? levels : code;
  }
}

/** The code that stands for 0 where codes are symmetric. */
export const symmetricZero = 128;

/**
 * The same with one scale for both signs, max|x| / 127, and 128 for 0: the minimum is -128 * scale. 8 bits alone. Flaws as in
 * writeGroup().
 */
export function writeSymmetricGroup(
  x: Float32Array,
  at: number,
  step: number,
  count: number,
  codes: Uint8Array,
  codeAt: number,
  codeStep: number,
  to: GroupScales,
  group: number,
): void {
  let most = 0;
  let flaw = 0;
  for (let i = 0, from = at; i < count; ++i, from += step) {
    most = Math.max(most, Math.abs(x[from]));
    flaw += x[from] * 0;
  }
  const scale = flaw === 0 ? Math.fround(most / 127) : 0;
  const factor = scale === 0 ? 0 : 1 / scale;
  to.scales[group] = scale;
  to.mins[group] = flaw === 0 ? -symmetricZero * scale : Number.NaN;
  for (let i = 0, from = at, into = codeAt; i < count; ++i, from += step, into += codeStep) {
    // A scale that is not a normal number may be far from max|x| / 127.
    const code = Math.floor(x[from] * factor + 0.5) + symmetricZero;
    codes[into] = flaw === 0 ? Math.min(255, Math.max(0, code)) : 0;
  }
}
