// Leases: which memory calls in flight are writing, and whether two views share an element.
// Reader: someone who wonders why an `out` was refused. The overlap test is exact for the views that occur (slices of one
// buffer whose strides nest); idea: NumPy's solve_may_share_memory, a bounded search for equal addresses.

import { TilewiseRangeError } from '../check/errors.js';
import { bytesPer, extentOf, type View } from './views.js';

export interface Named {
  readonly name: string;
  readonly view: View;
}

const leased = new Set<Named>();

/** Claims memory that a call is going to write; give it back with release(). */
export function lease(operand: Named): Named {
  leased.add(operand);
  return operand;
}

export function release(operand: Named): void {
  leased.delete(operand);
}

/** Leases memory for as long as a promise takes. */
export async function lend(operand: Named | undefined, run: () => Promise<void>): Promise<void> {
  if (operand) lease(operand);
  try {
    await run();
  } finally {
    if (operand) release(operand);
  }
}

/** Refuses an `out` that shares an element with an input or with itself, and anything that a call in flight writes. */
export function checkOverlaps(inputs: readonly Named[], out: Named | undefined): void {
  if (out) {
    if (!isInjective(out.view)) {
      throw overlap(`\`${out.name}\` reaches the same element by more than one index (strides [${out.view.strides}])`);
    }
    for (const input of inputs) {
      if (share(out.view, input.view)) throw overlap(`\`${out.name}\` shares memory with \`${input.name}\``);
    }
  }
  if (leased.size === 0) return;
  for (const operand of out ? [...inputs, out] : inputs) {
    for (const taken of leased) {
      if (share(operand.view, taken.view)) {
        throw overlap(`\`${operand.name}\` shares memory with the \`out\` of a call that is still running`);
      }
    }
  }
}

const overlap = (message: string): Error => new TilewiseRangeError('ERR_TILEWISE_OVERLAP', message);

/** One axis of a view: `count` more steps of `stride` bytes. */
interface Steps {
  stride: number;
  count: number;
}

const bytes = (view: View) => bytesPer(view.type);

/** The axes that move, strides in bytes and positive; which end they start from is in the extent. */
function stepsOf(view: View): Steps[] {
  const steps: Steps[] = [];
  for (let axis = 0; axis < view.dims.length; ++axis) {
    const stride = Math.abs(view.strides[axis]) * bytes(view);
    if (view.dims[axis] > 1 && stride > 0) steps.push({ stride, count: view.dims[axis] - 1 });
  }
  return steps;
}

/** Whether every index has an element of its own, for strides that nest; others are refused unseen. */
function isInjective(view: View): boolean {
  if (extentOf(view) === undefined) return true;
  if (view.strides.some((stride, axis) => stride === 0 && view.dims[axis] > 1)) return false;
  let below = 0;
  for (const { stride, count } of stepsOf(view).sort((a, b) => a.stride - b.stride)) {
    if (stride <= below) return false;
    below += stride * count;
  }
  return true;
}

/** Whether two views address a common byte. */
function share(a: View, b: View): boolean {
  if ((a.data.buffer as object) !== b.data.buffer) return false;
  const extentA = extentOf(a);
  const extentB = extentOf(b);
  if (!extentA || !extentB) return false;
  const firstA = a.data.byteOffset + extentA[0] * bytes(a);
  const firstB = b.data.byteOffset + extentB[0] * bytes(b);
  const lastA = a.data.byteOffset + extentA[1] * bytes(a);
  const lastB = b.data.byteOffset + extentB[1] * bytes(b);
  if (lastA + bytes(a) <= firstB || lastB + bytes(b) <= firstA) return false;
  // An element of a at firstA + x and one of b at lastB - y meet when x + y lies within an element of lastB - firstA.
  const distance = lastB - firstA;
  return reaches([...stepsOf(a), ...stepsOf(b)], distance - bytes(a) + 1, distance + bytes(b) - 1);
}

/** Axes by falling stride, those of equal stride as one: together they take every number of steps up to the sum. */
function merged(axes: Steps[]): Steps[] {
  const result: Steps[] = [];
  for (const { stride, count } of axes.sort((a, b) => b.stride - a.stride)) {
    const last = result.at(-1);
    if (last?.stride === stride) last.count += count;
    else result.push({ stride, count });
  }
  return result;
}

/** Whether some choice of 0..count steps on every axis sums to least..most. Says yes when the search grows long. */
function reaches(axes: Steps[], least: number, most: number): boolean {
  axes = merged(axes);
  const rest = new Array<number>(axes.length + 1).fill(0);
  for (let i = axes.length - 1; i >= 0; --i) rest[i] = rest[i + 1] + axes[i].stride * axes[i].count;
  let budget = 10_000;
  const search = (i: number, low: number, high: number): boolean => {
    if (high < 0 || low > rest[i]) return false;
    if (low <= 0 || (low <= rest[i] && rest[i] <= high)) return true;
    if (i === axes.length || --budget < 0) return budget < 0;
    const { stride, count } = axes[i];
    const fewest = Math.max(0, Math.ceil((low - rest[i + 1]) / stride));
    for (let n = Math.min(count, Math.floor(high / stride)); n >= fewest; --n) {
      if (search(i + 1, low - n * stride, high - n * stride)) return true;
    }
    return false;
  };
  return search(0, least, most);
}
