// Random cases of the patterns beyond windows, as sweep.ts makes them of the rest: every option at every size, small ones
// most often. Reader: someone chasing a failure of the pattern sweeps.

import type { SelectionOptions, Stage } from '../references/hierarchical.js';
import type { StridedShards } from '../references/strided-shards.js';
import type { Case } from './case.js';
import { storages } from './memory.js';
import { Random } from './random.js';

const dims = [1, 3, 8, 16, 17, 32, 33, 64, 80, 128];

/** What every pattern goes with. */
function common(seed: number, random: Random): Omit<Case, 'queries' | 'keys'> {
  const kv = random.pick([1, 1, 2, 3]);
  const ratio = random.pick([1, 1, 2, 4]);
  const headDim = random.pick(dims);
  const c: Omit<Case, 'queries' | 'keys'> = {
    seed,
    dtype: random.pick(['float32', 'float32', 'float16', 'bfloat16']),
    layout: random.pick(['bnhd', 'bhnd']),
    storage: random.chance(0.5) ? 'dense' : random.pick(storages),
    batch: random.pick([1, 1, 2]),
    heads: [kv * ratio, kv],
    dims: [headDim, random.chance(0.7) ? headDim : random.pick(dims)],
  };
  if (random.chance(0.15)) c.scale = random.pick([0.5, 0.1, -0.25]);
  if (random.chance(0.15)) c.softcap = random.pick([0.5, 5, 30]);
  if (random.chance(0.15)) c.sinks = true;
  if (random.chance(0.2)) c.extra = random.size(1, 40);
  return c;
}

function withBias(c: Case, random: Random): Case {
  const axes = random.pick(['', 'k', 'qk', 'hqk', 'bqk']);
  if (random.chance(0.15)) c.bias = { axes, dtype: random.pick(['float32', 'float16']), hidden: random.pick([0, 0.3]) };
  if (random.chance(0.15)) c.mask = { axes, hidden: random.pick([0.3, 0.9]) };
  return c;
}

/** Halves a length until a problem is small enough for the float64 reference. */
function cutDown(random: Random, largest: number, work: (length: number) => number): number {
  let length = random.size(1, largest);
  while (length > 1 && work(length) > 1.5e6) length = Math.ceil(length / 2);
  return length;
}

const work = ({ batch = 1, heads = [1, 1], dims: [a, b] = [16, 16] }: Omit<Case, 'queries' | 'keys'>) =>
  batch * Math.max(...heads) * (a + b);

export function randomNeighborhood(seed: number): Case {
  const random = new Random(seed);
  const c = common(seed, random);
  const rank = random.pick([1, 1, 2, 2, 3]);
  const most = [300, 24, 9][rank - 1];
  const grid = Array.from({ length: rank }, () => (random.chance(0.08) ? 1 : random.size(2, most)));
  const tokens = (): number => grid.reduce((a, n) => a * n, 1);
  while (work(c) * tokens() ** 2 > 2e6) {
    const longest = grid.indexOf(Math.max(...grid));
    grid[longest] = Math.ceil(grid[longest] / 2);
  }
  const isTight = random.chance(0.5);
  const axes = grid.map((length) => {
    const dilation = random.chance(0.4) ? random.size(1, length) : 1;
    const longest = Math.floor(length / dilation);
    const kernelSize = random.chance(0.15) ? longest : random.size(1, isTight ? Math.min(longest, 8) : longest);
    return { kernelSize, dilation, stride: random.chance(0.5) ? 1 : random.integer(1, kernelSize) };
  });
  const neighborhood = {
    kernelSize: axes.map((axis) => axis.kernelSize),
    stride: axes.map((axis) => axis.stride),
    dilation: axes.map((axis) => axis.dilation),
    causal: axes.map(() => random.chance(0.25)),
  };
  const whole: Case = { ...c, queries: tokens(), keys: tokens(), grid, neighborhood };
  if (random.chance(0.25)) whole.relativeBias = true;
  return withBias(whole, random);
}

/** Queries among keys: a prefill, a chunk at the end of it, a few decode steps. */
function lengths(c: Omit<Case, 'queries' | 'keys'>, random: Random, largest: number) {
  const keys = cutDown(random, largest, (n) => (work(c) * n * n) / 2);
  const queries = random.chance(0.4) ? keys : random.chance(0.3) ? 1 : random.size(1, keys);
  return { queries, keys };
}

export function randomShards(seed: number): Case {
  const random = new Random(seed);
  const c = common(seed, random);
  const { queries, keys } = lengths(c, random, 500);
  const [heads, kvHeads] = c.heads!;
  const shards: Omit<StridedShards, 'kind'> = {
    blockSize: random.pick([1, 2, 3, 5, 7, 16, 16, 20, 32, 64]),
    localBlocks: random.size(1, 12),
    vertStride: random.pick([1, 2, 3, 4, 5, 8, 16]),
  };
  if (random.chance(0.2)) shards.preset = random.pick(['phi3', 'dkernel']);
  else if (random.chance(0.7)) shards.layoutPer = random.pick(['q', 'kv']);
  if (random.chance(0.3)) shards.headStep = random.integer(0, 5);
  if (random.chance(0.3)) shards.headOffset = random.integer(0, 9);
  const whole: Case = { ...c, queries, keys, shards };
  const special = random.pick(['none', 'none', 'none', 'homo', 'dense', 'relative']);
  if (special === 'homo') shards.homoHead = true;
  if (special === 'dense') {
    shards.numDenseHeads = random.integer(0, shards.layoutPer === 'q' || shards.preset === 'phi3' ? heads : kvHeads);
  }
  if (special === 'relative') {
    for (const name of ['preset', 'headStep', 'headOffset'] as const) delete shards[name];
    shards.positions = 'relative';
    if (random.chance(0.5)) shards.localBlocks = [random.integer(1, 5), random.integer(1, 5)];
  }
  if (random.chance(0.2)) whole.align = random.pick(['top-left', 'bottom-right', random.integer(-20, 20)]);
  if (random.chance(0.15)) whole.alibi = 'h';
  if (random.chance(0.15)) whole.keyLengths = Array.from({ length: c.batch! }, () => random.integer(0, keys));
  return withBias(whole, random);
}

export function randomBlocks(seed: number): Case {
  const random = new Random(seed);
  const c = common(seed, random);
  const { queries, keys } = lengths(c, random, 400);
  const blocks: NonNullable<Case['blocks']> = {
    blockQ: random.pick([1, 2, 5, 16, 17, 32, 64, 128]),
    blockK: random.pick([1, 2, 3, 8, 16, 17, 32, 64, 128]),
    density: random.pick([0, 0.1, 0.3, 0.7, 1]),
    form: random.pick(['csr', 'lists', 'blockMask']),
  };
  if (random.chance(0.3)) blocks.perBatch = true;
  if (random.chance(0.5)) blocks.per = random.pick(['head', 'kv']);
  if (random.chance(0.25)) blocks.predicate = true;
  const whole: Case = { ...c, queries, keys, blocks };
  if (random.chance(0.4)) whole.causal = true;
  if (random.chance(0.2)) whole.align = random.pick(['top-left', 'bottom-right', random.integer(-20, 20)]);
  if (random.chance(0.15)) whole.alibi = 'h';
  return withBias(whole, random);
}

/** Stages whose blocks and chunks divide those of the stage before. */
function randomStages(random: Random, blockQ: number, keys: number): Stage[] {
  const stages: Stage[] = [];
  let chunk = random.pick([1, 2, 4, 8, 16]);
  let queries = blockQ;
  for (let n = random.integer(1, 3); n > 0; n--) {
    stages.unshift({
      blockQ: queries,
      strideQ: random.pick([1, 2, 3, 4]),
      chunk,
      keep: chunk * random.integer(1, Math.max(1, Math.ceil(keys / chunk / 3))),
    });
    chunk *= random.pick([1, 2, 4]);
    queries *= random.pick([1, 1, 2]);
  }
  return stages;
}

export function randomHip(seed: number): Case {
  const random = new Random(seed);
  const c = common(seed, random);
  const { queries, keys } = lengths(c, random, 400);
  const blockQ = random.pick([1, 4, 8, 16]);
  const scope = random.pick(['head', 'kv', 'layer'] as const);
  const sink = random.pick([0, 1, 4, 10]);
  let hip: SelectionOptions;
  if (random.chance(0.65)) {
    const stages = randomStages(random, blockQ, keys);
    hip = { method: 'staged', blockQ, sink, window: stages[0].blockQ + random.integer(0, 30), scope, stages };
  } else {
    const blockK = random.pick([1, 2, 4, 8]);
    const maskK = blockK * random.integer(1, 12);
    const [strideQ, strideK] = [random.pick([1, 2, 4]), random.pick([1, 2])];
    hip = {
      method: 'tree',
      blockQ,
      sink,
      window: blockQ + random.integer(0, 30),
      scope,
      maskK,
      blockK,
      strideQ,
      strideK,
    };
  }
  const whole: Case = { ...c, queries, keys, hip };
  if (random.chance(0.15)) whole.alibi = 'h';
  return whole;
}
