// Feeds of the small models: numbers and masks by the names of inputs. Reader: the programs beside this file.

import { fileURLToPath } from 'node:url';
import ort from 'onnxruntime-node';

/** The folder of models of a kind. */
export const folderOf = (kind) => fileURLToPath(new URL(`../models/${kind}/`, import.meta.url));

/** Which keys masks show: rows that see none, and left padding under causal order, are among them. */
export const maskings = {
  'three of four': (i) => Math.sin(1.7 * i) > -0.7,
  'not the first two of each row': (i, keys) => i % keys >= 2,
  'nothing in the first half': (i, _, size) => i >= size / 2,
  nothing: () => false,
};

/** Numbers between -1 and 1 that are never alike, and masks; `hiding` is the lowest number for two keys of each row. */
export function feedOf({ name, type, shape }, seed, isShown) {
  const size = shape.reduce((a, b) => a * b, 1);
  const make = (array, of) =>
    new ort.Tensor(
      type,
      array.from({ length: size }, (_, i) => of(i)),
      shape,
    );
  const shown = (i) => isShown(i, shape.at(-1), size);
  if (name === 'hiding') return make(Float32Array, (i) => (i % shape.at(-1) < 2 ? -(2 ** 128 - 2 ** 104) : 0));
  if (type === 'float32') return make(Float32Array, (i) => Math.sin(seed + 1.7 * i));
  // Ends of keys, and behind them starts.
  const lengthOf = (i) => (i >= size / 2 ? 1 + (i % 2) : shown(i) ? 5 - (i % 2) : 0);
  if (type === 'int64') return make(BigInt64Array, (i) => BigInt(lengthOf(i)));
  if (name === 'lengths') return make(Int32Array, lengthOf);
  // Padding of numbers shows what is above 0.
  return type === 'bool' ? make(Uint8Array, (i) => Number(shown(i))) : make(Int32Array, (i) => (shown(i) ? 2 : -1));
}
