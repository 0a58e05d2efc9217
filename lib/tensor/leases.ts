// Leases: which memory calls in flight are writing, and whether two views share an element.
// Reader: someone who wonders why an `out` was refused. The overlap test is exact for the views that occur (slices of one
// buffer whose strides nest); idea: NumPy's solve_may_share_memory, a bounded search for equal addresses. What other threads
// write is not known here.

import { TilewiseRangeError } from '../check/errors.js';
import { native } from '../native/native.js';
import { DeviceBuffer } from './device-buffer.js';
import { bytesPer, extentOf, isRowMajor, type View } from './views.js';

export interface Named {
  readonly name: string;
  readonly view: View;
}

/** What calls of this thread are writing, and where that was when they began. */
const leased = new Map<Named, Place | undefined>();

/** Claims memory that a call is going to write; give it back with release(). */
export function lease(operand: Named): Named {
  leased.set(operand, placeOf(operand.view));
  return operand;
}

export function release(operand: Named): void {
  leased.delete(operand);
}

/** Whether calls of this thread are writing somewhere. */
export const isAnythingLent = (): boolean => leased.size > 0;

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
    const place = placeOf(out.view);
    for (const input of inputs) {
      if (share(place, placeOf(input.view))) throw overlap(`\`${out.name}\` shares memory with \`${input.name}\``);
    }
  }
  if (leased.size === 0) return;
  for (const operand of out ? [...inputs, out] : inputs) {
    const place = placeOf(operand.view);
    for (const taken of leased.values()) {
      if (share(place, taken)) {
        throw overlap(`\`${operand.name}\` shares memory with the \`out\` of a call that is still running`);
      }
    }
  }
}

/** Whether two views are the same elements in the same order. */
export function isSamePlace(a: View, b: View): boolean {
  const [first, second] = [placeOf(a), placeOf(b)];
  if (!first || !second || first.memory !== second.memory || first.first !== second.first) return false;
  return (
    a.type === b.type &&
    a.dims.every((length, axis) => length === b.dims[axis] && (length === 1 || a.strides[axis] === b.strides[axis]))
  );
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
  if (isRowMajor(view) || extentOf(view) === undefined) return true;
  if (view.strides.some((stride, axis) => stride === 0 && view.dims[axis] > 1)) return false;
  let below = 0;
  for (const { stride, count } of stepsOf(view).sort((a, b) => a.stride - b.stride)) {
    if (stride <= below) return false;
    below += stride * count;
  }
  return true;
}

/** What a view addresses: bytes of the process's memory, by address, or of a device buffer; none without elements. */
interface Place {
  /** The device buffer. */
  readonly memory: object | undefined;
  readonly first: number;
  readonly last: number;
  readonly view: View;
}

// By address and not by buffer: a SharedArrayBuffer that was cloned or posted is another object over the same memory.
function placeOf(view: View): Place | undefined {
  const extent = extentOf(view);
  if (!extent) return undefined;
  const { data } = view;
  const isRemote = data instanceof DeviceBuffer;
  const begin = isRemote ? 0 : native.addressOf(data);
  return {
    memory: isRemote ? data.buffer : undefined,
    first: begin + extent[0] * bytes(view),
    last: begin + extent[1] * bytes(view),
    view,
  };
}

/** Whether two views address a common byte. */
function share(a: Place | undefined, b: Place | undefined): boolean {
  if (!a || !b || a.memory !== b.memory) return false;
  const [aBytes, bBytes] = [bytes(a.view), bytes(b.view)];
  if (a.last + aBytes <= b.first || b.last + bBytes <= a.first) return false;
  // An element of a at a.first + x and one of b at b.last - y meet when x + y lies within an element of b.last - a.first.
  const distance = b.last - a.first;
  return reaches([...stepsOf(a.view), ...stepsOf(b.view)], distance - aBytes + 1, distance + bBytes - 1);
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
