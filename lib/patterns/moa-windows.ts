// moaWindows(): MoA's elastic rule, windows that grow with the length of the text, each head at its own rate.
// Reader: someone who runs a model with the plan that MoA found for it. Semantics: MoA (arXiv 2406.14909), the sizes of its
// cache; a plan names two numbers per head.

import { mismatch } from '../call/shape.js';
import { checkInteger, checkNames, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import { entriesOf, type PerHead, readPerHead } from './per-head.js';

export interface MoaOptions {
  /** Tokens that a head looks back on in any text, one number per head or one for all; may be negative. */
  alpha: PerHead;
  /** And so many more per token of the text, likewise. */
  beta: PerHead;
  /** Tokens of the text: of the prompt, and those to be generated. */
  seqLen: number;
  /** Sink tokens of a head, of those that it sees; default 64. */
  sink?: number;
  /** Tokens that a head sees at least; default 128. */
  min?: number;
  /** Heads see multiples of this; default 64. */
  multiple?: number;
}

/** What slidingWindow() and attention() take, per head. */
export interface MoaWindows {
  readonly recentTokens: number[];
  readonly sinkTokens: number[];
}

const names = namesOf<MoaOptions>({ alpha: 1, beta: 1, seqLen: 1, sink: 1, min: 1, multiple: 1 });

/**
 * Windows by MoA's elastic rule (arXiv 2406.14909), for `slidingWindow(moaWindows({ … }))`: a head sees `min(alpha + beta *
 * seqLen, seqLen)` tokens, at least `min`, rounded up to a `multiple`; `sink` of them are the first of the text.
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION; ERR_TILEWISE_SHAPE_MISMATCH where
 *   `alpha` and `beta` are of different numbers of heads
 */
export function moaWindows(options: MoaOptions): MoaWindows {
  checkNames('moaWindows()', options, names);
  const alpha = entriesOf(readPerHead('alpha', options.alpha, checkNumber));
  const beta = entriesOf(readPerHead('beta', options.beta, checkNumber));
  const length = checkInteger('seqLen', options.seqLen, 0, maxTokens);
  const { sink = 64, min = 128, multiple = 64 } = options;
  checkInteger('sink', sink, 0, maxTokens);
  checkInteger('min', min, 0, maxTokens);
  checkInteger('multiple', multiple, 1, maxTokens);
  const heads = Math.max(alpha.length, beta.length);
  if (![alpha, beta].every((list) => list.length === 1 || list.length === heads)) {
    throw mismatch(
      `\`alpha\` and \`beta\` must have an entry per head, or one for all, not ${alpha.length} and ${beta.length}`,
    );
  }
  const at = (list: readonly number[], head: number) => list[list.length === 1 ? 0 : head];
  const sizes = Array.from({ length: heads }, (_, head) => {
    const wanted = Math.min(at(alpha, head) + at(beta, head) * length, length);
    return Math.ceil(Math.max(wanted, min) / multiple) * multiple;
  });
  return {
    recentTokens: sizes.map((size) => size - Math.min(size, sink)),
    sinkTokens: sizes.map((size) => Math.min(size, sink)),
  };
}

function checkNumber(name: string, value: unknown): number {
  if (!is.number(value) || !Number.isFinite(value)) throw invalid(name, 'a finite number', value);
  return value;
}
