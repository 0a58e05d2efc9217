// What `npm run bench` measures: a list of cases, each of which names itself, its arithmetic and its bytes.
// Reader: someone who adds a case. A case is plain data plus prepare(), so that --filter costs nothing.
import { attention, attentionSync } from 'tilewise';
import { bytesPer, coldPairs, dimsOf, randomTensor } from '../timing/inputs.mjs';
import { allThreads, arenaBytes, defaultInstructionSet, instructionSets, threadCounts } from '../timing/machine.mjs';

const dtypes = ['float32', 'float16', 'bfloat16'];

/** Floating-point operations over the unmasked area; causal sees N(N+1)/2 pairs. */
export function attentionFlops({ queries, keys, headDim, valueDim = headDim, heads, causal }) {
  const pairs = causal ? (queries * (queries + 1)) / 2 : queries * keys;
  return 2 * pairs * (headDim + valueDim) * heads;
}

/**
 * One prefill case: N queries on N keys, the same warm inputs in every call, results written into one `out`.
 * `call` says how the public API is used: 'sync', 'sync, new out' or 'async'.
 */
function prefill(
  group,
  { tokens, headDim, heads = 8, dtype = 'float32', causal, layout = 'bnhd', call = 'sync', threads, set },
) {
  const shape = { queries: tokens, keys: tokens, headDim, heads, kvHeads: heads };
  const mask = causal ? 'causal' : 'dense';
  return {
    group,
    name: `${group} ${mask} ${dtype} D=${headDim} N=${tokens} H=${heads} ${layout} ${call} threads=${threads} ${set}`,
    ...{ ...shape, dtype, causal, layout, call, threads, instructionSet: set },
    flops: attentionFlops({ ...shape, causal }),
    ceilings: ['fma'],
    prepare() {
      const dims = dimsOf(layout, tokens, heads, headDim);
      const [q, k, v] = [1, 2, 3].map((seed) => randomTensor(dtype, dims, seed));
      const options = { causal, layout };
      if (call !== 'sync, new out') options.out = randomTensor(dtype, dims);
      if (call !== 'async') return () => attentionSync(q, k, v, options);
      return () => attention(q, k, v, options);
    },
  };
}

/** One KV head of many dims under a few query heads, beside one of 128: targets.mjs holds their FLOP rates together. */
function manyDims({ dims: [headDim, valueDim], heads, tokens, dtype, set }) {
  const shape = { queries: tokens, keys: tokens, headDim, valueDim, heads, kvHeads: 1, causal: false };
  const name = `many dims dense ${dtype} D=${headDim}/${valueDim} N=${tokens} H=${heads}/1 bnhd sync threads=${allThreads} ${set}`;
  return {
    ...{ group: 'many dims', name, ...shape, dtype, layout: 'bnhd', call: 'sync', threads: allThreads },
    instructionSet: set,
    flops: attentionFlops(shape),
    ceilings: ['fma'],
    prepare() {
      const q = randomTensor(dtype, dimsOf('bnhd', tokens, heads, headDim), 1);
      const k = randomTensor(dtype, dimsOf('bnhd', tokens, 1, headDim), 2);
      const v = randomTensor(dtype, dimsOf('bnhd', tokens, 1, valueDim), 3);
      const out = randomTensor(dtype, dimsOf('bnhd', tokens, heads, valueDim));
      return () => attentionSync(q, k, v, { out });
    },
  };
}

/** One query per head on N keys that are in DRAM: every call takes the next of many key/value copies. */
function decode({ tokens, heads, kvHeads, dtype, threads, set, layout = 'bnhd', headDim = 128 }) {
  const kind = heads === kvHeads ? 'MHA' : `GQA ${heads / kvHeads}:1`;
  const shape = { queries: 1, keys: tokens, headDim, heads, kvHeads };
  return {
    group: 'decode',
    name: `decode ${kind} ${dtype} D=${headDim} N=${tokens} H=${heads}/${kvHeads} ${layout} threads=${threads} ${set}`,
    ...{ ...shape, kind, dtype, causal: false, layout, call: 'sync', threads, instructionSet: set },
    flops: attentionFlops({ ...shape, causal: false }),
    bytes: 2 * tokens * kvHeads * headDim * bytesPer(dtype),
    ceilings: ['fma', 'bandwidth'],
    prepare() {
      const pairs = coldPairs(dtype, dimsOf(layout, tokens, kvHeads, headDim), arenaBytes);
      const q = randomTensor(dtype, dimsOf(layout, 1, heads, headDim));
      const out = randomTensor(dtype, q.dims);
      let turn = 0;
      return () => {
        const { k, v } = pairs[turn++ % pairs.length];
        return attentionSync(q, k, v, { layout, out });
      };
    },
  };
}

/** The least that a call can cost: one query, one key. */
function smallestCall({ heads, call, threads, set }) {
  const shape = { queries: 1, keys: 1, headDim: 64, heads, kvHeads: heads };
  return {
    group: 'call',
    name: `call N=1 D=64 H=${heads} ${call} threads=${threads} ${set}`,
    ...{ ...shape, dtype: 'float32', causal: false, layout: 'bnhd', call, threads, instructionSet: set },
    flops: attentionFlops({ ...shape, causal: false }),
    ceilings: [],
    prepare() {
      const [q, k, v] = [1, 2, 3].map((seed) => randomTensor('float32', dimsOf('bnhd', 1, heads, 64), seed));
      return call === 'async' ? () => attention(q, k, v) : () => attentionSync(q, k, v);
    },
  };
}

/** Every combination of the lists, as objects: combine({ a: [1, 2], b: [3] }) gives {a: 1, b: 3}, {a: 2, b: 3}. */
export function combine(lists) {
  return Object.entries(lists).reduce(
    (rows, [key, values]) => rows.flatMap((row) => values.map((value) => ({ ...row, [key]: value }))),
    [{}],
  );
}

/**
 * The cases in the order in which they run.
 * @param {{isQuick: boolean}} options quick: few and small ones, enough to see that everything runs
 */
export function allCases({ isQuick }) {
  const standard = [defaultInstructionSet];
  const others = instructionSets.filter((set) => set !== defaultInstructionSet);
  const headDim = isQuick ? [64] : [64, 128];
  const causal = [false, true];
  const long = isQuick ? [512, 1024] : [512, 1024, 2048, 4096, 8192, 16384];
  return [
    ...combine({ heads: [1, 8], call: ['sync', 'async'], set: standard, threads: [allThreads] }).map(smallestCall),
    ...combine({ headDim, tokens: isQuick ? [128] : [128, 256, 512], causal, threads: [1], set: instructionSets }).map(
      (c) => prefill('short', c),
    ),
    // At 16384 tokens two heads are enough work for any thread count; eight would take a minute per row.
    ...combine({ headDim, causal, threads: threadCounts, set: instructionSets, tokens: long }).map((c) =>
      prefill('prefill', { ...c, heads: c.tokens > 8192 ? 2 : 8 }),
    ),
    ...combine({ headDim, tokens: isQuick ? [512] : [2048], causal, set: instructionSets, dtype: dtypes }).map((c) =>
      prefill('storage', { ...c, threads: allThreads }),
    ),
    ...combine({ dtype: ['float32', 'float16'], set: instructionSets }).flatMap((c) =>
      [
        { dims: [128, 128], heads: 8 },
        { dims: [576, 512], heads: 2 },
        { dims: [1536, 1536], heads: 1 },
      ].map((shape) => manyDims({ tokens: isQuick ? 256 : 2048, ...shape, ...c })),
    ),
    ...[{}, { layout: 'bhnd' }, { call: 'sync, new out' }, { call: 'async' }].map((c) =>
      prefill('api', {
        tokens: isQuick ? 512 : 2048,
        headDim: 64,
        causal: false,
        threads: allThreads,
        set: defaultInstructionSet,
        ...c,
      }),
    ),
    ...decodeCases({
      tokens: isQuick ? [1024, 4096] : [1024, 4096, 16384, 32768, 65536],
      threads: threadCounts,
      set: standard,
    }),
    ...decodeCases({ tokens: [isQuick ? 4096 : 32768], threads: [allThreads], set: standard, layout: ['bhnd'] }),
    ...decodeCases({ tokens: isQuick ? [] : [32768], threads: [allThreads], set: others }),
  ];
}

/** MHA (8 heads) and GQA 8:1 (64 heads) on 8 KV heads, every storage type. */
function decodeCases(lists) {
  return combine({ heads: [8, 64], kvHeads: [8], dtype: dtypes, ...lists }).map(decode);
}
