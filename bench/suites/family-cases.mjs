// What `npm run bench:families` measures: groups, each a reference and the patterns held against it in one run.
// Reader: someone who adds a pattern. A group is plain data plus prepare(), which runs when instruction set and threads are
// set: a pattern's FLOPs and tiles are asked of explain(), which answers for the tiles that would run.

import {
  attentionSync,
  blocks,
  causal,
  explain,
  full,
  neighborhood,
  sampledBlocks,
  slidingWindow,
  stridedShards,
} from 'tilewise';
import { uniformNumbers } from '../../test/support/uniform.mjs';
import { randomTensor } from '../timing/inputs.mjs';
import { allThreads, instructionSets, threadCounts } from '../timing/machine.mjs';
import { attentionFlops, combine } from './cases.mjs';
import { hipDecode, hipPrefill } from './family-hip.mjs';
import { documentsGroup, powerGroup, shardGroup } from './family-ranges.mjs';

/**
 * @typedef {object} Setting
 * @property {string} dtype @property {number} headDim @property {number} threads @property {string} set
 *
 * @typedef {object} Job one contender of a group
 * @property {string} name @property {string} kind what targets and tables go by
 * @property {() => void} call
 * @property {number} flops of one call, by unmasked area
 * @property {number} [steps] decode steps in a call; times are per step
 * @property {number} [bound] speed-up over dense that the tiles allow
 * @property {{useful: number, computed: number}} [pairs] of one head
 * @property {number} [calls] @property {number} [samples] as for quiet.mjs
 *
 * @typedef {object} Group
 * @property {string} group what targets and tables go by @property {string} name @property {Setting & object} shape
 * @property {() => {reference?: Job, jobs: Job[]}} prepare
 */

export const DTYPES = ['float32', 'float16'];

function withName({ title, shape, ...rest }) {
  const { dtype, headDim, size, heads, threads, set } = shape;
  return { name: `${title} ${dtype} D=${headDim} N=${size} H=${heads} threads=${threads} ${set}`, shape, ...rest };
}

/** Operands of one shape and what runs a pattern on them. `dims` are those of q, tokens first; `kvHeads` of k and v. */
function workbench({ dtype, dims, kvHeads, tokens }) {
  const [heads, headDim] = dims.slice(-2);
  const kvDims = dims.with(-2, kvHeads ?? heads);
  const q = randomTensor(dtype, dims, 1);
  const [k, v] = [2, 3].map((seed) => randomTensor(dtype, kvDims, seed));
  const out = randomTensor(dtype, dims);
  const shape = { queryHeads: heads, kvHeads: kvHeads ?? heads, headDim, dtype, tokens };
  return {
    heads,
    headDim,
    job(kind, name, pattern, more) {
      const { flops, pairs, idealSpeedup } = explain(pattern, shape);
      const call = () => attentionSync(q, k, v, { pattern, out });
      const { useful, computed } = pairs;
      return { kind, name, call, flops, bound: idealSpeedup.average, pairs: { useful, computed }, ...more };
    },
  };
}

/** S2, sampled blocks and sliding windows against dense causal. */
function bands({ size, headDim, dtype, threads, set, block, local, stride, windows }) {
  const shape = { size, headDim, heads: 2, dtype, threads, set };
  return {
    group: 'bands',
    title: 'S2, samples and windows',
    shape,
    prepare() {
      const { job } = workbench({ dtype, dims: [1, size, 2, headDim], tokens: size });
      const s2 = stridedShards({ blockSize: block, localBlocks: local, vertStride: stride });
      return {
        reference: job('dense', 'dense causal', causal()),
        jobs: [
          job('s2', `S2 ${block} local ${local} stride ${stride}`, s2),
          job('sampled', `sampled ${block} power 1`, sampledBlocks({ block, power: 1 })),
          ...windows.map((keys) =>
            job('window', `window ${keys}`, slidingWindow({ left: keys - 1, causal: true }), { window: keys }),
          ),
        ],
      };
    },
  };
}

/** For every block of 64 queries its own random runs of keys: what a selection leaves to the attention after it. */
function randomBlocks({ size, headDim, dtype, threads, set, keys, runs }) {
  const heads = 2;
  const shape = { size, headDim, heads, dtype, threads, set, keys };
  const flops = attentionFlops({ queries: size, keys, headDim, heads, causal: false });
  return {
    group: 'blocks',
    title: 'random blocks',
    shape,
    prepare() {
      const { job } = workbench({ dtype, dims: [1, size, heads, headDim], tokens: size });
      const jobOf = (run) => {
        const lists = randomLists(heads * Math.ceil(size / 64), size / run, keys / run);
        const dims = [heads, size / 64];
        const counts = { type: 'int32', data: new Int32Array(heads * dims[1]).fill(keys / run), dims };
        const indices = { type: 'int32', data: lists, dims: [...dims, keys / run] };
        const pattern = blocks({ blockQ: 64, blockK: run, lists: { indices, counts } });
        return { ...job('blocks', `runs of ${run}`, pattern), flops, run };
      };
      return { jobs: runs.map(jobOf) };
    },
  };
}

/** `lists` lists of `kept` different numbers below `count` (a shuffle that stops early). */
function randomLists(lists, count, kept) {
  const uniform = uniformNumbers(count);
  const deck = Int32Array.from({ length: count }, (_, i) => i);
  const data = new Int32Array(lists * kept);
  for (let at = 0; at < data.length; at++) {
    const place = at % kept;
    const other = place + Math.floor(uniform() * (count - place));
    [deck[place], deck[other]] = [deck[other], deck[place]];
    data[at] = deck[place];
  }
  return data;
}

/** The pattern of haloAttention(). */
const haloOf = ({ block, around }) => neighborhood({ kernelSize: block + 2 * around, stride: block, border: 'clip' });

/** Windows of a map or a video, and HaloNet's of a map, against dense full. */
function neighborhoods({ tokens, heads, headDim, dtype, threads, set, kernels, halo }) {
  const shape = { size: tokens.join('x'), headDim, heads, dtype, threads, set };
  return {
    group: 'neighborhood',
    title: 'neighborhood',
    shape,
    prepare() {
      const size = tokens.reduce((a, b) => a * b, 1);
      const grid = workbench({ dtype, dims: [1, ...tokens, heads, headDim], tokens });
      const flat = workbench({ dtype, dims: [1, size, heads, headDim], tokens: size });
      const jobOf = (kernelSize) =>
        grid.job('neighborhood', `kernel ${kernelSize.join('x')}`, neighborhood({ kernelSize }), {
          kernel: kernelSize.join('x'),
        });
      const halos = halo
        ? [grid.job('halo', `blocks of ${halo.block}, halo ${halo.around}`, haloOf(halo), { kernel: 'halo' })]
        : [];
      return { reference: flat.job('dense', 'dense', full()), jobs: [...kernels.map(jobOf), ...halos] };
    },
  };
}

/** A model's 32 heads as GQA, and its sparse-query variants, which have fewer query heads. */
function sqa({ size, isCausal, headDim, dtype, threads, set, isLong }) {
  const shape = { size, headDim, heads: '32/8', dtype, threads, set, causal: isCausal };
  return {
    group: 'sqa',
    title: `SQA ${isCausal ? 'causal' : 'full'}`,
    shape,
    prepare() {
      const jobOf = (name, heads, kvHeads) => {
        const { job } = workbench({ dtype, dims: [1, size, heads, headDim], kvHeads, tokens: size });
        return job('sqa', `${name} ${heads}/${kvHeads}`, isCausal ? causal() : full(), {
          variant: name,
          // Seconds per call: as many as its samples, none to warm up.
          ...(isLong ? { calls: 1, samples: 3 } : {}),
        });
      };
      return { reference: jobOf('GQA', 32, 8), jobs: [jobOf('SQA', 16, 8), jobOf('xSQA', 8, 8)] };
    },
  };
}

/** Every storage type and instruction set on all threads; one thread in float32 only. */
const settings = (dtypes = DTYPES) => [
  ...combine({ set: instructionSets, dtype: dtypes, threads: [allThreads] }),
  ...combine({ set: instructionSets, dtype: ['float32'], threads: threadCounts.filter((n) => n !== allThreads) }),
];
const onAllThreads = () => settings().filter(({ threads }) => threads === allThreads);

/** Settings times head dims; on one thread D=64 alone. */
const withHeadDims = (headDims) =>
  settings().flatMap((setting) =>
    headDims.filter((d) => d === 64 || setting.threads === allThreads).map((headDim) => ({ ...setting, headDim })),
  );

/**
 * The groups in the order in which they run.
 * @param {{isQuick: boolean}} options quick: small ones, enough to see that everything runs
 * @returns {Group[]}
 */
export function familyGroups({ isQuick }) {
  const headDims = isQuick ? [64] : [64, 128];
  const band = isQuick
    ? { size: 1024, block: 16, local: 4, stride: 4, windows: [256, 32] }
    : { size: 16384, block: 64, local: 16, stride: 16, windows: [4096, 1024, 512, 128] };
  const random = isQuick ? { size: 1024, keys: 128 } : { size: 16384, keys: 512 };
  const map = isQuick ? [16, 16] : [64, 64];
  const video = isQuick ? [8, 14, 14] : [16, 28, 28];
  const videoKernels = isQuick ? [[4, 3, 3]] : [[8, 7, 7]];
  const groups = [
    ...withHeadDims(headDims).map((s) => bands({ ...s, ...band })),
    ...withHeadDims(headDims).map((s) => randomBlocks({ ...s, ...random, runs: [1, 4, 8, 16, 64] })),
    ...settings().flatMap((s) => [
      neighborhoods({
        ...s,
        tokens: map,
        heads: 4,
        headDim: 64,
        kernels: [
          [7, 7],
          [13, 13],
        ],
        halo: { block: 8, around: 3 },
      }),
      neighborhoods({ ...s, tokens: video, heads: 2, headDim: 64, kernels: videoKernels }),
    ]),
    ...onAllThreads().flatMap((s) =>
      [true, false].map((isCausal) =>
        sqa({ ...s, size: isQuick ? 256 : 8192, headDim: 64, isCausal, isLong: !isQuick }),
      ),
    ),
    ...onAllThreads().flatMap((s) => [
      documentsGroup({ ...s, headDim: 64, size: isQuick ? 1024 : 16384 }),
      shardGroup({ ...s, headDim: 64, size: isQuick ? 1024 : 8192 }),
      powerGroup({ ...s, headDim: 64, ...(isQuick ? { size: 2048, block: 32 } : { size: 32768, block: 256 }) }),
    ]),
    ...hipLengths(isQuick).flatMap((size) =>
      onAllThreads().flatMap((s) => [
        hipPrefill({ ...s, size, isLong: !isQuick }),
        hipDecode({ ...s, size, coldShare: isQuick ? 0 : 1 }),
      ]),
    ),
  ];
  return groups.map(withName);
}

const hipLengths = (isQuick) => (isQuick ? [2048] : [65536, 131072]);
