// Runs a problem through the public API and judges the result against the references.
// Reader: whoever wants to know when a result counts as right. No test runner in here: repro.mjs uses it too.
//
// The error bound. Per element: 2 x the error of a naive implementation + 1 ulp.
//   - "naive" does the same in float32 without tiles (reference/naive.ts). Its error is the largest distance to float64
//     over the tensor, before rounding to storage. A small tensor is a small sample of rounding errors: it is drawn
//     again in other orders of summation until enough rows have been seen. Below half a float32 ulp of the tensor's
//     largest value the error counts as half an ulp: one rounding at that magnitude cannot be avoided.
//   - "ulp" is the spacing of the storage type at the element itself, not at the largest element: the result is rounded
//     to storage once, so small elements have to be right to their own precision.
// Values that are exactly 0, infinite or NaN in float64 (empty rows among them) have to be exactly that.

import { attentionSync } from '../../dist/index.js';
import { attention } from '../reference/attention.js';
import { type FloatType, ulp } from '../reference/half.js';
import { naiveAttention } from '../reference/naive.js';
import { type Operand, toNumbers } from '../reference/operand.js';
import { type Problem, type Result, shapeOf } from '../reference/problem.js';
import type { Backend } from './backends.js';
import { type Built, build, type Case, callOf } from './case.js';
import { fromOutput, fromTensor } from './memory.js';

export interface Output {
  out: Operand; // [batch, heads, queries, valueDim]
  lse: Operand; // [batch, heads, queries], [heads, queries] for 3-D inputs
}

export interface Expected {
  exact: Result;
  naive: Result[]; // the same in several orders of summation
}

export function run(built: Built, backend: Backend): Output {
  const { query, key, value, options } = callOf(built);
  const { out, lse } = attentionSync(query, key, value, { ...options, device: backend.device });
  if (!lse) throw new Error('no lse although returnLse was set');
  return { out: fromOutput(out, built.layout), lse: fromTensor(lse) };
}

const enoughRows = 512;
const maxDraws = 16;

export function expectedOf(problem: Problem): Expected {
  const exact = attention(problem);
  const draws = Math.min(maxDraws, Math.max(1, Math.ceil(enoughRows / exact.lse.length)));
  return { exact, naive: Array.from({ length: draws }, (_, n) => naiveAttention(problem, n)) };
}

/** How far each number may be from `exact`. */
function bounds(exact: Float64Array, naive: Float64Array[], storage: FloatType): Float64Array {
  let largest = 0;
  let naiveError = 0;
  exact.forEach((want, i) => {
    if (!Number.isFinite(want)) return;
    largest = Math.max(largest, Math.abs(want));
    for (const draw of naive) naiveError = Math.max(naiveError, Math.abs(draw[i] - want));
  });
  const arithmetic = 2 * Math.max(naiveError, ulp('float32', largest) / 2);
  return exact.map((want) => (want === 0 || !Number.isFinite(want) ? 0 : arithmetic + ulp(storage, want)));
}

/** The element that exceeds its bound by the largest factor, in words; undefined when all are within theirs. */
function worst(
  name: string,
  got: Float64Array,
  exact: Float64Array,
  naive: Float64Array[],
  storage: FloatType,
): string | undefined {
  if (got.length !== exact.length) return `${name} has ${got.length} elements instead of ${exact.length}`;
  const allowed = bounds(exact, naive, storage);
  let index = -1;
  let excess = 1;
  let count = 0;
  got.forEach((x, i) => {
    if (Object.is(x, exact[i]) || x === exact[i]) return;
    const error = Math.abs(x - exact[i]);
    const factor = Number.isNaN(error) ? Infinity : error / allowed[i];
    if (factor <= 1) return;
    count++;
    if (factor > excess || index < 0) [index, excess] = [i, factor];
  });
  if (index < 0) return undefined;
  const detail = `got ${got[index]}, exact ${exact[index]}, naive ${naive[0][index]}, allowed error ${allowed[index]}`;
  return `${name}: ${count} of ${got.length} elements out of bounds, worst (${excess.toPrecision(3)}x) at ${index}: ${detail}`;
}

/** What is wrong with an output, in words; empty when nothing is. */
export function faultsOf(output: Output, { exact, naive }: Expected): string[] {
  const type = output.out.type as FloatType;
  return [
    worst(
      'out',
      toNumbers(output.out),
      exact.out,
      naive.map((draw) => draw.out),
      type,
    ),
    worst(
      'lse',
      toNumbers(output.lse),
      exact.lse,
      naive.map((draw) => draw.lse),
      'float32',
    ),
  ].filter((fault) => fault !== undefined);
}

/** Shapes that are not what the inputs say, in words. */
function shapeFaults({ out, lse }: Output, { problem, is3d }: Built): string[] {
  const { batch, heads, queries, valueDim } = shapeOf(problem);
  const faults: string[] = [];
  const compare = (name: string, got: number[], want: number[]): void => {
    if (`${got}` !== `${want}`) faults.push(`${name} has shape [${got}] instead of [${want}]`);
  };
  compare('out', out.dims, [batch, heads, queries, valueDim]);
  compare('lse', lse.dims, is3d ? [heads, queries] : [batch, heads, queries]);
  return faults;
}

const known = new Map<string, { built: Built; expected: Expected }>();

/** Builds a case and what is expected of it, once for all backends. */
function prepare(c: Case): { built: Built; expected: Expected } {
  const id = JSON.stringify(c);
  let prepared = known.get(id);
  if (!prepared) {
    const built = build(c);
    prepared = { built, expected: expectedOf(built.problem) };
    known.set(id, prepared);
  }
  return prepared;
}

/** What a backend gets wrong about a case, with the line that repeats it; empty when nothing. */
export function faultsOfCase(c: Case, backend: Backend): string[] {
  const { built, expected } = prepare(c);
  const repeat = `\n  node test/conformance/repro.mjs '${JSON.stringify(c)}' '${backend.name}'`;
  try {
    const output = run(built, backend);
    return [...shapeFaults(output, built), ...faultsOf(output, expected)].map((fault) => fault + repeat);
  } catch (error) {
    return [`${error}${repeat}`];
  }
}
