// Masks of whole numbers, as com.microsoft's operators have them: what they show, by their rank and length.
// Reader: someone whose padded batch gives other numbers. Sources: docs/ContribOperators.md of microsoft/onnxruntime, and what its
// processor kernel does with lengths of more than one number per entry.

import { showDims, TilewiseRangeError } from '../../../check/errors.js';
import type { SiteMask } from '../../onnx/sites/site.js';
import type { OrtTensor } from '../ort.js';

/** The sizes of a call that masks are for. */
export interface CallSizes {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  /** Keys of a cache in front of those that the queries are of. */
  readonly past?: number;
  /** Keys that masks of a cache have numbers of, the last of which may be of no sequence. */
  readonly total?: number;
}

/** Bytes that are 1 where a key is shown, and their dims, which broadcast to the scores. */
export interface ShownBytes {
  readonly shown: Uint8Array;
  readonly dims: readonly number[];
}

/** Whether a mask is one of these. */
export const isKeyMask = ({ as }: SiteMask): boolean => as === 'keyMask' || as === 'maskIndex';

/** What a mask of whole numbers shows. */
export function readKeyMask(mask: SiteMask, { data, dims }: OrtTensor, sizes: CallSizes): ShownBytes {
  const { batch, queries, keys } = sizes;
  const numbers = data as Int32Array;
  const is = (...lengths: number[]) => showDims(dims) === showDims(lengths);
  if (is(batch, keys)) return { shown: above0(numbers), dims: [batch, 1, 1, keys] };
  if (is(batch, queries, keys)) return { shown: above0(numbers), dims: [batch, 1, queries, keys] };
  if (is(batch)) return between([], numbers, sizes);
  if (mask.as === 'maskIndex') {
    if (is(2 * batch)) return between(numbers.subarray(batch), numbers, sizes);
    // One number for all keys of an entry: the same is added to every score.
    if (is(batch, 1) || is(1, 1)) return { shown: new Uint8Array(keys).fill(1), dims: [1, 1, 1, keys] };
  } else if (is(3 * batch + 2)) {
    // Behind the lengths: where packed queries and keys begin. These are not packed.
    return between([], numbers, sizes);
  }
  const message = `The mask '${mask.value}' has dims ${showDims(dims)}, which do not fit ${batch} times ${queries} queries and ${keys} keys`;
  throw new TilewiseRangeError('ERR_TILEWISE_SHAPE_MISMATCH', message);
}

const above0 = (numbers: Int32Array): Uint8Array => Uint8Array.from(numbers, (number) => Number(number > 0));

/** Keys from a start, or the first, to an end. */
function between(starts: ArrayLike<number>, ends: ArrayLike<number>, { batch, keys }: CallSizes): ShownBytes {
  const shown = new Uint8Array(batch * keys);
  for (let entry = 0; entry < batch; ++entry) {
    const [begin, end] = [starts[entry] ?? 0, ends[entry]].map((key) => Math.min(Math.max(key, 0), keys));
    if (begin < end) shown.fill(1, entry * keys + begin, entry * keys + end);
  }
  return { shown, dims: [batch, 1, 1, keys] };
}
