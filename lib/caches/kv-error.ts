// What the codes of a cache cost: how far its keys and values are from those that were appended.
// Reader: someone who chooses a format by its error.

import { TilewiseTypeError } from '../check/errors.js';
import { converted } from '../tensor/convert.js';
import type { Tensor } from '../tensor/tensor.js';
import type { FloatType } from '../tensor/types.js';
import { contiguousStrides, type HostView } from '../tensor/views.js';

/** Differences from what was appended, over all numbers of a layer. */
export interface KvError {
  /** The largest. */
  max: number;
  /** The root of the mean square. */
  rms: number;
}

/** The same of a layer's keys and values. */
export interface KvLayerError {
  keys: KvError;
  values: KvError;
}

function errorOf(kept: Tensor<FloatType>, given: Tensor<FloatType>): KvError {
  const [a, b] = [numbersOf(kept), numbersOf(given)];
  let max = 0;
  let squares = 0;
  for (let i = 0; i < a.length; ++i) {
    const off = Math.abs(a[i] - b[i]);
    if (!(off <= max)) max = off;
    squares += off * off;
  }
  return { max, rms: a.length === 0 ? 0 : Math.sqrt(squares / a.length) };
}

/** Keys and values by layer, as a cache has them. */
interface Rows {
  keys(layer: number): Tensor<FloatType>;
  values(layer: number): Tensor<FloatType>;
}

/** What error() of a cache returns. */
export function errorsOf(cache: Rows, shadow: Rows | undefined, layers: number): KvLayerError[] {
  if (!shadow) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      '`shadow` must be true for error(): it compares with all keys and values as they came',
    );
  }
  return Array.from({ length: layers }, (_, layer) => ({
    keys: errorOf(cache.keys(layer), shadow.keys(layer)),
    values: errorOf(cache.values(layer), shadow.values(layer)),
  }));
}

function numbersOf({ type, data, dims }: Tensor<FloatType>): Float32Array {
  const view: HostView = {
    type,
    data: data as never,
    dims: [...dims],
    strides: contiguousStrides([...dims]),
    offset: 0,
  };
  return type === 'float32' ? (data as Float32Array) : (converted(view, 'float32').data as Float32Array);
}
