// Inputs for a model that nobody has fed yet: lengths and numbers by what the model declares, and by the names that exporters use.
// Reader: someone whose model refuses them. Ids are drawn from the table that they look up, masks show everything, caches are empty.

import { dimsOf } from '../../dist/adapters/onnx/shapes.js';
import { Tensor } from '../../dist/index.js';
import { UsageError } from '../usage-error.mjs';

/** Rows of a table that ids of an unknown one are taken from. */
const fewIds = 16;

/** A length that a run decides. @param first whether it is the first axis */
function lengthOf(name, first, { lengths, tokens }) {
  if (name !== undefined && Object.hasOwn(lengths, name)) return lengths[name];
  const said = (name ?? '').toLowerCase();
  if (/^past\w*$/.test(said)) return 0;
  if (/batch/.test(said) || (first && !/(seq|token|length)/.test(said))) return 1;
  if (/channel/.test(said)) return 3;
  return /(height|width)/.test(said) ? 224 : tokens;
}

/** How many rows the tables have that an input looks up. */
function rowsOf(view, name) {
  const tables = view.consumers(name).filter(({ op, inputs }) => op === 'Gather' && inputs[1] === name);
  const rows = tables.map(({ inputs }) => dimsOf(view, inputs[0])?.[0] ?? fewIds);
  return rows.length > 0 ? Math.min(...rows) : fewIds;
}

/** The number at a place of an input of whole numbers. */
function wholeAt(view, name, dims, tokens) {
  const last = dims.at(-1) ?? 1;
  if (/seqlens_k/.test(name)) return () => tokens - 1;
  if (/total_seq/.test(name)) return () => tokens;
  if (/mask/.test(name)) return () => 1;
  if (/position/.test(name)) return (i) => i % last;
  if (/type/.test(name)) return () => 0;
  const rows = rowsOf(view, name);
  return (i) => (i * 7919 + 13) % rows;
}

const wave = (i) => Math.sin(1.7 * i + 0.3);

/** The numbers of an input, as onnxruntime takes them. */
function dataOf(view, { name, type }, dims, tokens) {
  const length = dims.reduce((product, one) => product * one, 1);
  const whole = wholeAt(view, name, dims, tokens);
  if (type === 'int64' || type === 'uint64') {
    const Numbers = type === 'int64' ? BigInt64Array : BigUint64Array;
    return Numbers.from({ length }, (_, i) => BigInt(whole(i)));
  }
  const arrays = { int32: Int32Array, uint32: Uint32Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array };
  if (Object.hasOwn(arrays, type)) return arrays[type].from({ length }, (_, i) => whole(i));
  if (type === 'bool') return new Uint8Array(length).fill(1);
  if (type === 'float64') return Float64Array.from({ length }, (_, i) => wave(i));
  const floats = new Tensor(
    'float32',
    Float32Array.from({ length }, (_, i) => wave(i)),
    [length],
  );
  if (['float32', 'float16', 'bfloat16'].includes(type)) return floats.astype(type).data;
  throw new UsageError(`--check makes no input of type ${type ?? 'unknown'}, which '${name}' has`);
}

/** Feeds for a model. @param settings `tokens`, and `lengths` by the names of axes */
export function makeFeeds(ort, view, settings) {
  const inputs = view.graph.inputs.filter(({ name }) => !view.initializers.has(name));
  return Object.fromEntries(
    inputs.map((input) => {
      if (input.dims === undefined)
        throw new UsageError(`--check makes no input of unknown rank, which '${input.name}' has`);
      const dims = input.dims.map((length, axis) =>
        typeof length === 'number' ? length : lengthOf(length, axis === 0, settings),
      );
      return [input.name, new ort.Tensor(input.type, dataOf(view, input, dims, settings.tokens), dims)];
    }),
  );
}
