// Random cases of windows: every option at every size, small ones most often. Reader: someone chasing a failure of the sweep.
// fast-check makes a failing case smaller; the message prints the case itself, which outlives this revision.

import fc from 'fast-check';
import { activated, activations, gates } from './activations.js';
import type { Case } from './case.js';
import { defined, either, integers, places, seeds, sizes, sometimes, within, yes } from './draw.js';
import { storages } from './memory.js';

const oddDims = fc.constantFrom(
  ...[1, 2, 3, 5, 7, 8, 12, 16, 17, 31, 32, 33, 40, 64, 65, 80, 96, 100, 128, 160, 192, 256, 320, 512],
);

/** Multiply-adds of one case; larger draws are cut down so that the float64 reference stays quick. */
const budget = 3e6;

const shapes = {
  seed: seeds,
  dtype: fc.constantFrom('float32', 'float32', 'float16', 'bfloat16'),
  layout: fc.constantFrom('bnhd', 'bhnd'),
  storage: either(0.5, fc.constantFrom(...storages), fc.constant('dense')),
  batch: either(0.03, fc.constant(0), fc.constantFrom(1, 1, 2, 3)),
  kv: fc.constantFrom(1, 1, 2, 3, 4),
  ratio: fc.constantFrom(1, 1, 2, 3, 5, 8),
  pairing: sometimes(0.15, fc.constantFrom('tile', 'interleave')),
  headDim: oddDims,
  valueDim: sometimes(0.3, oddDims),
  queries: either(0.2, fc.constant(1), either(0.05, fc.constant(0), sizes(1, 300))),
  keys: either(0.05, fc.constant(0), sizes(1, 600)),
};

const modifiers = {
  causal: sometimes(0.4, yes),
  left: sometimes(0.25, fc.oneof(integers(0, 1), sizes(1, 300))),
  right: sometimes(0.15, fc.oneof(integers(0, 1), sizes(1, 300))),
  sinkTokens: sometimes(0.2, sizes(1, 70)),
  align: sometimes(0.3, fc.oneof(fc.constantFrom('bottom-right', 'top-left'), integers(-40, 40))),
  scale: sometimes(0.2, fc.constantFrom(0.5, 1, -0.25, 0)),
  softcap: sometimes(0.2, fc.constantFrom(0.5, 5, 30)),
  alibi: sometimes(0.2, fc.constantFrom('h', 'bh')),
  sinks: sometimes(0.2, yes),
  gate: gates,
};

const axes = fc.constantFrom('', 'k', 'qk', 'q', 'hqk', 'h', 'bhqk', 'bk', 'bqk');
const hidden = fc.constantFrom(0, 0.3, 0.95);

/** Of batches that all have the same lengths, or own key lengths. */
const padded = {
  bias: sometimes(0.25, fc.record({ axes, dtype: fc.constantFrom('float32', 'float16', 'bfloat16'), hidden })),
  mask: sometimes(0.25, fc.record({ axes, hidden })),
  keyLengths: sometimes(0.2, fc.tuple(places, places, places)),
};

/** Of sequences behind one another: where they end, as places among queries and keys. */
const packed = {
  ends: fc.array(fc.tuple(places, places), { maxLength: 4 }),
  is3d: sometimes(0.5, yes),
};

/** Halves queries, then keys, until a case is within the budget. */
function cutDown(queries: number, keys: number, work: number): { queries: number; keys: number } {
  while (queries * keys * work > budget) {
    if (queries > 8) queries = Math.ceil(queries / 2);
    else keys = Math.ceil(keys / 2);
  }
  return { queries, keys };
}

/** Ascending totals from 0 to `total`, some sequences being empty. */
const totals = (ends: number[], total: number): number[] => [
  0,
  ...ends.map((place) => within(place, 0, total)).sort((a, b) => a - b),
  total,
];

const drawn = fc.record({
  shape: fc.record(shapes),
  modifiers: fc.record(modifiers),
  activation: activations,
  padded: fc.record(padded),
  packed: sometimes(0.15, fc.record(packed)),
});

export const windowCases: fc.Arbitrary<Case> = drawn.map(({ shape, modifiers, activation, padded, packed }): Case => {
  const { kv, ratio, pairing, headDim, valueDim = headDim, ...common } = shape;
  const batch = packed ? 1 : common.batch;
  const lengths = cutDown(common.queries, common.keys, Math.max(1, batch) * kv * ratio * (headDim + valueDim));
  const isReversed = pairing !== undefined && ratio > 1;
  const c: Case = {
    ...common,
    ...lengths,
    batch,
    heads: isReversed ? [kv, kv * ratio] : [kv * ratio, kv],
    dims: [headDim, valueDim],
    ...modifiers,
  };
  if (isReversed) c.pairing = pairing;
  if (!packed) {
    const keyLengths = padded.keyLengths?.slice(0, batch).map((place) => within(place, 0, lengths.keys));
    return activated(defined({ ...c, ...padded, keyLengths }), activation);
  }
  const [queryEnds, keyEnds] = [0, 1].map((n) => packed.ends.map((places) => places[n]));
  const cuSeqlensQ = totals(queryEnds, lengths.queries);
  const ends = { cuSeqlensQ, cuSeqlensK: totals(keyEnds, lengths.keys) };
  return activated(defined({ ...c, ...ends, is3d: packed.is3d }), activation);
});
