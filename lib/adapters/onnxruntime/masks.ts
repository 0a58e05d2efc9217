// Masks of a run: what a site's masks hide, as the options of attention() that are read fastest.
// Reader: someone who asks why a padded batch is fast, or slow. A mask is looked at once a run, however many sites read it.

import type { AttentionOptions } from '../../ops/attention/options.js';
import { maskPattern } from '../../patterns/mask-pattern.js';
import { Tensor } from '../../tensor/tensor.js';
import type { TensorLike } from '../../tensor/types.js';
import { shownKeys } from '../onnx/sites/mask-kinds.js';
import type { SiteMask } from '../onnx/sites/site.js';
import type { OrtTensor } from './ort.js';

/** The sizes of a call that masks are for. */
export interface CallSizes {
  readonly batch: number;
  readonly queries: number;
  readonly keys: number;
}

type MaskOptions = Pick<AttentionOptions, 'bias' | 'mask' | 'causal' | 'align' | 'keyStarts' | 'keyLengths'>;

/** What is beside a mask. */
interface Company {
  /** It is the site's only one. */
  readonly isOnly: boolean;
  /** The site is causal by itself. */
  readonly isCausal: boolean;
}

/** What masks say, by tensor: sites of all layers read the same ones. */
export class RunMasks {
  readonly #known = new Map<OrtTensor, Map<string, MaskOptions>>();

  /** @param masks with the tensors that are their values in this run */
  optionsOf(masks: readonly (readonly [SiteMask, OrtTensor])[], sizes: CallSizes, isCausal: boolean): MaskOptions {
    const company: Company = { isOnly: masks.length === 1, isCausal };
    return Object.assign({}, ...masks.map(([mask, tensor]) => this.#read(mask, tensor, sizes, company))) as MaskOptions;
  }

  #read(mask: SiteMask, tensor: OrtTensor, sizes: CallSizes, company: Company): MaskOptions {
    const readings = this.#known.get(tensor) ?? new Map<string, MaskOptions>();
    this.#known.set(tensor, readings);
    const { as, isInverted, hidden } = mask;
    const key = JSON.stringify([as, isInverted, String(hidden), sizes, company]);
    const known = readings.get(key) ?? readOptions(mask, tensor, sizes, company);
    readings.set(key, known);
    return known;
  }
}

/** The mask as what it means, where options can say that; otherwise as a tensor. */
function readOptions(mask: SiteMask, tensor: OrtTensor, sizes: CallSizes, { isOnly, isCausal }: Company): MaskOptions {
  // Options that say a mask go with nothing else that hides.
  const isAlone = isOnly && !isCausal;
  const read = mask.as === 'bias' && !isAlone ? undefined : shownBy(mask, tensor);
  if (!read) return { bias: padded(tensor as TensorLike & OrtTensor, sizes.keys) };
  const { shown, hidden, dims } = read;
  // A row without keys is 0 here. With numbers that are finite it is the mean of all values, so they stay numbers.
  if (isOnly && hidden !== Number.NEGATIVE_INFINITY && hasBlindRow(shown, dims)) {
    return { bias: mask.as === 'bias' ? (tensor as TensorLike) : added(read) };
  }
  const asMask = padded({ type: 'bool', data: shown, dims }, sizes.keys);
  const isWhole = isAlone && asMask.dims.at(-1) === sizes.keys;
  const pattern = isWhole ? maskPattern(asMask) : null;
  return pattern && (!pattern.causal || dims.at(-2) === sizes.queries) ? repeated(pattern, sizes) : { mask: asMask };
}

/** Bytes that are 1 where a key is shown, and the score of what is not. */
interface Shown {
  readonly shown: Uint8Array;
  readonly hidden: number;
  readonly dims: readonly number[];
}

/** What a mask shows; undefined for numbers that do more than hide. */
function shownBy({ as, isInverted, hidden }: SiteMask, { data, type, dims }: OrtTensor): Shown | undefined {
  if (as === 'bias') {
    const read = shownKeys(Tensor.from({ data, type, dims }).astype('float32').data);
    return read && { ...read, dims };
  }
  const shown = Uint8Array.from(data as ArrayLike<number>, (value) => Number((Number(value) !== 0) !== isInverted));
  return { shown, hidden, dims: as === 'keyMask' ? [dims[0], 1, 1, dims[1]] : dims };
}

const added = ({ shown, hidden, dims }: Shown): TensorLike => ({
  type: 'float32',
  data: Float32Array.from(shown, (isShown) => (isShown ? 0 : hidden)),
  dims,
});

/** The bits of -Infinity, or of false. */
const hiding = { bool: 0, float32: Number.NEGATIVE_INFINITY, float16: 0xfc00, bfloat16: 0xff80 } as const;

/** A mask whose last axis is shorter than the keys hides the rest; one key repeats. */
function padded<T extends OrtTensor>(mask: T, keys: number): T | (TensorLike & OrtTensor) {
  const { data, dims, type } = mask;
  const length = dims.at(-1) ?? 1;
  if (length === 1 || length >= keys || !(type in hiding)) return mask;
  const { buffer, byteOffset, byteLength } = data as Uint8Array;
  const Kind = type === 'float32' ? Float32Array : type === 'bool' ? Uint8Array : Uint16Array;
  const from = new Kind(buffer as ArrayBuffer, byteOffset, byteLength / Kind.BYTES_PER_ELEMENT);
  const rows = from.length / length;
  const to = new Kind(rows * keys).fill(hiding[type as keyof typeof hiding]);
  for (let row = 0; row < rows; ++row) to.set(from.subarray(row * length, (row + 1) * length), row * keys);
  return { type, data: to, dims: [...dims.slice(0, -1), keys] };
}

/** Whether some row hides every key. */
function hasBlindRow(shown: Uint8Array, dims: readonly number[]): boolean {
  const keys = dims.at(-1) ?? 1;
  for (let row = 0; row < shown.length; row += keys) if (!shown.subarray(row, row + keys).includes(1)) return true;
  return false;
}

/** Lengths of a mask for one batch entry, for every entry. */
function repeated(pattern: MaskOptions, { batch }: CallSizes): MaskOptions {
  const spread = (lengths: unknown) => {
    const list = lengths as Int32Array | undefined;
    return list && list.length < batch ? new Int32Array(batch).fill(list[0]) : list;
  };
  const [keyStarts, keyLengths] = [spread(pattern.keyStarts), spread(pattern.keyLengths)];
  return { ...pattern, ...(keyStarts && { keyStarts }), ...(keyLengths && { keyLengths }) };
}
