// Runs a problem through the public API and judges the result against the references.
// Reader: whoever wants to know when a result counts as right. No test runner in here: repro.mjs uses it too.
//
// The error bound. Per element: 2 x the error of a naive implementation + 1 ulp.
//   - "naive" does the same in float32 without tiles (references/naive.ts), with probabilities rounded to the tensors' type
//     before they meet the values where the backend's processor wants them so. Its error is the largest distance to float64
//     over the tensor, before rounding to storage. A small tensor is a small sample of rounding errors, so it is drawn
//     again under slightly other scales until enough rows have been seen. Below half a float32 ulp of the tensor's
//     largest value the error counts as half an ulp: one rounding at that magnitude cannot be avoided.
//   - "ulp" is the spacing of the storage type at the element itself, not at the largest element: the result is rounded
//     to storage once, so small elements have to be right to their own precision.
// Values that are exactly 0, infinite or NaN in float64 (empty rows among them) have to be exactly that.

import { attentionSync } from '../../dist/index.js';
import { attention } from '../references/attention.js';
import { type FloatType, ulp } from '../references/half.js';
import { naiveAttention } from '../references/naive.js';
import { type Operand, toNumbers } from '../references/operand.js';
import { type Problem, type Result, scaleOf, shapeOf } from '../references/problem.js';
import { type Backend, selected } from './backends.js';
import { type Built, build, type Case, callOf } from './case.js';
import { collapse, fromOutput, fromTensor, operandOf } from './memory.js';
import { selectedBy } from './selection.js';

export interface Output {
  out: Operand; // [batch, heads, queries, valueDim]
  lse: Operand; // [batch, heads, queries], [heads, queries] for 3-D inputs; -Infinity where the activation has none
}

export interface Expected {
  exact: Result;
  naiveError: { out: number; lse: number };
}

export function run(built: Built, backend: Backend): Output {
  const { query, key, value, options } = callOf(built);
  const { out, lse } = attentionSync(query, key, value, { ...options, device: backend.device });
  const { layout, grid, is3d, problem } = built;
  if ((!problem.activation && !problem.gate?.withoutLse) !== !!lse)
    throw new Error('lse is there where it was asked for');
  const rows = lse ? fromTensor(lse) : noLse(problem, is3d);
  return { out: fromOutput(out, layout, grid), lse: lse && grid ? collapse(rows, 2, grid) : rows };
}

/** What references say where there is no lse. */
function noLse(problem: Problem, is3d: boolean): Operand {
  const { batch, heads, queries } = shapeOf(problem);
  const dims = is3d ? [heads, queries] : [batch, heads, queries];
  return operandOf('float32', dims, new Array<number>(batch * heads * queries).fill(-Infinity));
}

/** The largest distance of finite elements, at least half a float32 ulp of the largest. */
function largestError(exact: Float64Array, naive: Float64Array): number {
  let largest = 0;
  let error = 0;
  for (let i = 0; i < exact.length; i++) {
    if (!Number.isFinite(exact[i])) continue;
    largest = Math.max(largest, Math.abs(exact[i]));
    error = Math.max(error, Math.abs(naive[i] - exact[i]));
  }
  return Math.max(error, ulp('float32', largest) / 2);
}

const enoughRows = 512;
const maxDraws = 8;

/** What the selected backend should make of a problem. */
export function expectedOf(problem: Problem): Expected {
  const weights = selected()?.weights;
  const exact = attention(problem);
  const naiveError = { out: 0, lse: 0 };
  const rows = exact.keysSeen.filter((count) => count > 0).length;
  const draws = rows === 0 ? 1 : Math.min(maxDraws, Math.ceil(enoughRows / rows));
  const scale = scaleOf(problem);
  for (let n = 0; n < draws; n++) {
    const draw = n === 0 ? problem : { ...problem, scale: scale * (1 + n / 64) };
    const [reference, naive] = [n === 0 ? exact : attention(draw), naiveAttention(draw, weights)];
    naiveError.out = Math.max(naiveError.out, largestError(reference.out, naive.out));
    naiveError.lse = Math.max(naiveError.lse, largestError(reference.lse, naive.lse));
  }
  return { exact, naiveError };
}

/** The element that exceeds its bound by the largest factor, in words; undefined when all are within theirs. */
function worst(
  name: string,
  got: Float64Array,
  exact: Float64Array,
  naiveError: number,
  storage: FloatType,
): string | undefined {
  if (got.length !== exact.length) return `${name} has ${got.length} elements instead of ${exact.length}`;
  const bound = (want: number): number =>
    want === 0 || !Number.isFinite(want) ? 0 : 2 * naiveError + ulp(storage, want);
  let index = -1;
  let excess = 1;
  let count = 0;
  got.forEach((x, i) => {
    if (Object.is(x, exact[i]) || x === exact[i]) return;
    const error = Math.abs(x - exact[i]);
    const factor = Number.isNaN(error) ? Infinity : error / bound(exact[i]);
    if (factor <= 1) return;
    count++;
    if (factor > excess || index < 0) [index, excess] = [i, factor];
  });
  if (index < 0) return undefined;
  const detail = `got ${got[index]}, exact ${exact[index]}, allowed error ${bound(exact[index])}`;
  return `${name}: ${count} of ${got.length} elements out of bounds, worst (${excess.toPrecision(3)}x) at ${index}: ${detail}`;
}

/** What is wrong with an output, in words; empty when nothing is. */
export function faultsOf(output: Output, { exact, naiveError }: Expected): string[] {
  const type = output.out.type as FloatType;
  return [
    worst('out', toNumbers(output.out), exact.out, naiveError.out, type),
    worst('lse', toNumbers(output.lse), exact.lse, naiveError.lse, 'float32'),
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

/** A built case whose hierarchical lists are what the backend selects: near ties may go either way in float32. */
function withSelection(built: Built, backend: Backend): Built {
  const { pattern } = built.problem;
  if (pattern?.kind !== 'hierarchical') return built;
  return { ...built, problem: { ...built.problem, pattern: { ...pattern, selected: selectedBy(built, backend) } } };
}

/** Builds a case and what is expected of it, once for all backends where it is the same for all. */
function prepare(c: Case, backend: Backend): { built: Built; expected: Expected } {
  const { name, weights } = backend;
  const id = JSON.stringify(c.hip ? { ...c, name } : { ...c, weights });
  let prepared = known.get(id);
  if (!prepared) {
    const built = withSelection(build(c), backend);
    prepared = { built, expected: expectedOf(built.problem) };
    known.set(id, prepared);
  }
  return prepared;
}

/** What a backend gets wrong about a case, with the line that repeats it; empty when nothing. */
export function faultsOfCase(c: Case, backend: Backend): string[] {
  const repeat = `\n  node test/conformance/repro.mjs '${JSON.stringify(c)}' '${backend.name}'`;
  try {
    const { built, expected } = prepare(c, backend);
    const output = run(built, backend);
    return [...shapeFaults(output, built), ...faultsOf(output, expected)].map((fault) => fault + repeat);
  } catch (error) {
    return [`${error}${repeat}`];
  }
}
