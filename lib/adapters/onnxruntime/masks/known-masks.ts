// Masks that were read before, by their bytes: what they say is known for all layers, and for the runs that follow.
// Reader: someone who asks how often a mask is read. Layers may each slice one mask for themselves, and most runs bring the mask of
// the run before. A mask that was written to since has other bytes, and is read.

import type { SitePattern } from '../../onnx/sites/site.js';
import type { OrtTensor } from '../ort.js';

/** Bytes of masks that are kept for later runs at most: comparing them takes some microseconds. */
const mostBytes = 2 ** 18;

/** Masks that are kept for later runs at most. */
const mostKept = 4;

/** Masks in an order, and what they say. */
interface Known<O> {
  /** How they are read, and for which sizes. */
  readonly key: string;
  readonly pattern: SitePattern | undefined;
  readonly tensors: readonly OrtTensor[];
  readonly options: O;
}

/** What a session knows of masks from earlier runs. */
export class KnownMasks<O> {
  readonly kept: Known<O>[] = [];
}

/** What a run knows of masks. */
export class RunsMasks<O> {
  readonly #kept: Known<O>[];
  readonly #here: Known<O>[] = [];

  constructor({ kept }: KnownMasks<O>) {
    this.#kept = kept;
  }

  /** Whether these are the masks of which options came from here: of the same bytes, and read for the same sizes. */
  says(options: O, tensors: readonly OrtTensor[]): boolean {
    if (tensors.length === 0) return true;
    if (this.#here.some((one) => one.options === options && isEach(one.tensors, tensors, isSame))) return true;
    const known = this.#kept.find((one) => one.options === options && isEach(one.tensors, tensors, isAlike));
    if (known) this.#here.push({ ...known, tensors });
    return known !== undefined;
  }

  /** @param read says what masks mean: these ones, or copies of them which nobody writes to */
  optionsOf(
    key: string,
    pattern: SitePattern | undefined,
    tensors: readonly OrtTensor[],
    read: (tensors: readonly OrtTensor[]) => O,
  ): O {
    const isKnown = (isOne: typeof isSame) => (one: Known<O>) =>
      one.key === key && one.pattern === pattern && isEach(one.tensors, tensors, isOne);
    const seen = this.#here.find(isKnown(isSame)) ?? this.#here.find(isKnown(isAlike));
    if (seen) return seen.options;
    let known = this.#kept.find(isKnown(isAlike));
    if (!known) {
      const isSmall = tensors.reduce((bytes, tensor) => bytes + bytesOf(tensor).byteLength, 0) <= mostBytes;
      const own = isSmall ? tensors.map(copyOf) : tensors;
      known = { key, pattern, tensors: own, options: read(own) };
      if (isSmall) this.#kept.unshift(known);
      this.#kept.length = Math.min(this.#kept.length, mostKept);
    }
    this.#here.push({ ...known, tensors });
    return known.options;
  }
}

const isEach = <T>(some: readonly T[], others: readonly T[], is: (one: T, other: T) => boolean): boolean =>
  some.length === others.length && some.every((one, i) => is(one, others[i]));

const isSame = (one: OrtTensor, other: OrtTensor): boolean => one === other;

function bytesOf({ data }: OrtTensor): Uint8Array {
  const { buffer, byteOffset, byteLength } = data as Float32Array;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

const copyOf = ({ type, data, dims }: OrtTensor): OrtTensor => ({ type, data: (data as Float32Array).slice(), dims });

function isAlike(one: OrtTensor, other: OrtTensor): boolean {
  if (one === other) return true;
  const { dims } = other;
  if (one.type !== other.type || one.dims.length !== dims.length) return false;
  if (one.dims.some((length, axis) => length !== dims[axis])) return false;
  return Buffer.compare(bytesOf(one), bytesOf(other)) === 0;
}
