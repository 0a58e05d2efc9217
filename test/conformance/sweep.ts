// Random cases: every option at every size, small ones most often. Reader: someone chasing a failure of the sweep.
// The same seed gives the same case for ever on this revision; the failure prints the case itself, which outlives it.

import type { Case } from './case.js';
import { storages } from './memory.js';
import { Random } from './random.js';

const oddDims = [1, 2, 3, 5, 7, 8, 12, 16, 17, 31, 32, 33, 40, 64, 65, 80, 96, 100, 128, 160, 192, 256, 320, 512];

/** Multiply-adds of one case; larger draws are cut down so that the float64 reference stays quick. */
const budget = 3e6;

/** Ascending totals from 0 to `total` in `parts` steps, some of them empty. */
function splitTotal(random: Random, total: number, parts: number): number[] {
  const cuts = Array.from({ length: parts - 1 }, () => random.integer(0, total)).sort((a, b) => a - b);
  return [0, ...cuts, total];
}

export function randomCase(seed: number): Case {
  const random = new Random(seed);
  const kv = random.pick([1, 1, 2, 3, 4]);
  const ratio = random.pick([1, 1, 2, 3, 5, 8]);
  const isReversed = ratio > 1 && random.chance(0.15);
  const dims: [number, number] = [random.pick(oddDims), 0];
  dims[1] = random.chance(0.7) ? dims[0] : random.pick(oddDims);
  let queries = random.chance(0.2) ? 1 : random.chance(0.05) ? 0 : random.size(1, 300);
  let keys = random.chance(0.05) ? 0 : random.size(1, 600);
  const isPacked = random.chance(0.15);
  const batch = isPacked ? 1 : random.chance(0.03) ? 0 : random.pick([1, 1, 2, 3]);
  while (queries * keys * Math.max(1, batch) * kv * ratio * (dims[0] + dims[1]) > budget) {
    if (queries > 8) queries = Math.ceil(queries / 2);
    else keys = Math.ceil(keys / 2);
  }

  const c: Case = {
    seed,
    dtype: random.pick(['float32', 'float32', 'float16', 'bfloat16']),
    layout: random.pick(['bnhd', 'bhnd']),
    storage: random.chance(0.5) ? 'dense' : random.pick(storages),
    batch,
    heads: isReversed ? [kv, kv * ratio] : [kv * ratio, kv],
    queries,
    keys,
    dims,
  };
  if (isReversed) c.pairing = random.pick(['tile', 'interleave']);
  if (random.chance(0.4)) c.causal = true;
  if (random.chance(0.25)) c.left = random.pick([0, 1, random.size(1, 300)]);
  if (random.chance(0.15)) c.right = random.pick([0, 1, random.size(1, 300)]);
  if (random.chance(0.2)) c.sinkTokens = random.size(1, 70);
  if (random.chance(0.3)) c.align = random.pick(['top-left', 'bottom-right', random.integer(-40, 40)]);
  if (random.chance(0.2)) c.scale = random.pick([0.5, 1, -0.25, 0]);
  if (random.chance(0.2)) c.softcap = random.pick([0.5, 5, 30]);
  if (random.chance(0.2)) c.alibi = random.pick(['h', 'bh']);
  if (random.chance(0.2)) c.sinks = true;
  const axes = ['', 'k', 'qk', 'q', 'hqk', 'h', 'bhqk', 'bk', 'bqk'];
  const types = ['float32', 'float16', 'bfloat16'] as const;
  if (isPacked) {
    const sequences = random.integer(1, 5);
    c.cuSeqlensQ = splitTotal(random, queries, sequences);
    c.cuSeqlensK = splitTotal(random, keys, sequences);
    if (random.chance(0.5)) c.is3d = true;
  } else {
    if (random.chance(0.25))
      c.bias = { axes: random.pick(axes), dtype: random.pick(types), hidden: random.pick([0, 0.3, 0.95]) };
    if (random.chance(0.25)) c.mask = { axes: random.pick(axes), hidden: random.pick([0, 0.3, 0.95]) };
    if (random.chance(0.2)) c.keyLengths = Array.from({ length: batch }, () => random.integer(0, keys));
  }
  return c;
}
