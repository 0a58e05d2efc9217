// A decoder of one layer and its feeds, which follow from the names of inputs. Reader: someone who adds a model to cache-models.mjs.

import { fileURLToPath } from 'node:url';
import ort from 'onnxruntime-node';

export const folder = fileURLToPath(new URL('../models/caches/', import.meta.url));

/** Numbers between -1 and 1 that are never alike. */
const numbers = (length, seed) => Float32Array.from({ length }, (_, i) => Math.sin(seed + 1.7 * i));

/** Causal order, [tokens, total]: queries are the last tokens. */
const order = ({ tokens, total }, shown, hidden) =>
  Array.from({ length: tokens * total }, (_, i) =>
    i % total <= total - tokens + Math.floor(i / total) ? shown : hidden,
  );

const lowest = -(2 ** 128 - 2 ** 104);

const special = {
  seqlens_k: ({ lengths }) => Int32Array.from(lengths, (length) => length - 1),
  total: ({ total }) => Int32Array.of(total),
  positions: ({ batch, tokens, past }) =>
    BigInt64Array.from({ length: batch * tokens }, (_, i) => BigInt(past + (i % tokens) + 3)),
  order: (sizes) => Uint8Array.from(order(sizes, 1, 0)),
  // The first sequence's first query sees nothing.
  shown: (sizes, [batch]) => {
    const shown = Array.from({ length: batch }, () => order(sizes, 1, 0)).flat();
    return Uint8Array.from(shown.fill(0, 0, sizes.total));
  },
  // Of more than one sequence the last begins with two tokens of padding.
  hiding: (sizes, [batch]) => {
    const masks = Array.from({ length: batch }, () => order(sizes, 0, lowest));
    if (batch > 1) masks[batch - 1] = masks[batch - 1].map((number, i) => (i % sizes.total < 2 ? lowest : number));
    return Float32Array.from(masks.flat());
  },
};

const empty = { float32: Float32Array, float16: Uint16Array };

/**
 * The feeds of a run, without the past.
 * @param sizes batch, tokens, past, total; lengths of the sequences after the run
 */
export function feedsOf({ inputMetadata }, sizes, seed) {
  const own = inputMetadata.filter(({ name }) => !name.startsWith('past'));
  return Object.fromEntries(
    own.map(({ name, type, shape }, i) => {
      const dims = shape.map((length) => (typeof length === 'string' ? sizes[length] : length));
      const size = dims.reduce((product, length) => product * length, 1);
      return [name, new ort.Tensor(type, special[name]?.(sizes, dims) ?? numbers(size, seed + i), dims)];
    }),
  );
}

/** No past, of a batch. */
export const noPast = ({ inputMetadata }, batch) =>
  Object.fromEntries(
    inputMetadata
      .filter(({ name }) => name.startsWith('past'))
      .map(({ name, type, shape }) => [
        name,
        new ort.Tensor(type, new empty[type](0), [
          batch,
          ...shape.slice(1).map((n) => (typeof n === 'string' ? 0 : n)),
        ]),
      ]),
  );

/** The presents of a run as the past of the next. */
export const pastOf = (outputs) => ({ past_key: outputs.present_key, past_value: outputs.present_value });

/** One run after another: what they add, from lengths that sequences begin with. */
export function* stepsOf(adds, batch, first) {
  let lengths = Array(batch).fill(0);
  for (const [i, tokens] of adds.entries()) {
    const past = Math.max(...lengths);
    lengths = i === 0 && first ? first : lengths.map((length) => length + tokens);
    yield { batch, tokens, past, lengths, total: i === 0 ? tokens : Math.max(...lengths) };
  }
}

/** The rows of outputs that are no padding: of each sequence the first `counts`. */
export function rowsOf({ data, dims: [batch, ...dims] }, counts) {
  const size = data.length / batch;
  const row = size / dims.at(-2);
  return counts.flatMap((count, entry) => Array.from(data.subarray(entry * size, entry * size + count * row)));
}
