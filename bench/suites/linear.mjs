// `npm run bench:linear`: linearAttention() against our dense causal attention of as many tokens, its share of the FMA peak, the
// time per token from 4k tokens on, one head on two threads, gatedDelta() against it, steps against reading and writing the states,
// and localLinearAttention() by its iterations against dense causal attention; and linearAttention() against a graph in onnxruntime.
// Reader: someone who changes the loop. docs/measurements/benchmarks.md explains the method.
//   npm run bench:linear -- --filter taylor2  only groups whose name matches (a regular expression)
//   npm run bench:linear -- --quick           few tokens and samples: does it run at all
//   npm run bench:linear -- --json out.json   write there; an unfiltered full run writes bench/results/linear.json
import {
  attentionSync,
  gatedDeltaSync,
  LinearState,
  linearAttentionStepSync,
  linearAttentionSync,
  localLinearAttentionSync,
  retnetDecay,
  Tensor,
} from 'tilewise';
import { linearGraph } from '../peers/linear-graph.mjs';
import { loadOnnxRuntime, openSession } from '../peers/onnxruntime.mjs';
import { dimsOf, randomTensor } from '../timing/inputs.mjs';
import { runOptions } from './options.mjs';
import { runRatioSuite } from './ratio-suite.mjs';

const options = runOptions();
const sampling = options.quick ? { samples: 3, minMs: 20 } : { samples: 7, minMs: 120 };
const device = 'cpu';
const chunk = 64;

/** Of a call: per chunk C (C + 1) (D + E) for the pairs of its tokens, and 4 C F E for a state of F rows. */
function flopsOf({ tokens, heads, headDim, valueDim = headDim, features = headDim }) {
  return (tokens / chunk) * heads * (chunk * (chunk + 1) * (headDim + valueDim) + 4 * chunk * features * valueDim);
}

function operandsOf({ tokens, heads, headDim, valueDim = headDim }) {
  const tensor = (dim, seed) => randomTensor('float32', dimsOf('bnhd', tokens, heads, dim), seed);
  const out = Tensor.zeros('float32', dimsOf('bnhd', tokens, heads, valueDim));
  return { q: tensor(headDim, 1), k: tensor(headDim, 2), v: tensor(valueDim, 3), out };
}

/** Beside dense causal attention, which has n^2 / 2 pairs. */
function besideDense(sizes) {
  const { q, k, v, out } = operandsOf(sizes);
  const decay = retnetDecay({ heads: sizes.heads });
  return [
    { name: 'dense causal', call: () => attentionSync(q, k, v, { causal: true, out, device }) },
    {
      name: 'linear',
      call: () => linearAttentionSync(q, k, v, { decay, out, device, chunk }),
      most: 1,
      flops: flopsOf(sizes),
    },
  ];
}

/** The same number of tokens as one sequence and as sequences of 4096: a token's time does not depend on the length. */
function longAndShort(sizes) {
  const { q, k, v, out } = operandsOf(sizes);
  const decay = retnetDecay({ heads: sizes.heads });
  const short = { tokens: 4096, heads: sizes.heads, headDim: sizes.headDim };
  const cuSeqlens = Array.from({ length: sizes.tokens / short.tokens + 1 }, (_, s) => s * short.tokens);
  const flops = flopsOf(sizes);
  return [
    { name: 'of 4096', call: () => linearAttentionSync(q, k, v, { decay, out, device, chunk, cuSeqlens }), flops },
    { name: 'as one', call: () => linearAttentionSync(q, k, v, { decay, out, device, chunk }), most: 1.1, flops },
  ];
}

/** One head, whose groups of tokens threads share in two passes, beside a head per thread in one: as many products of the call. */
function twoPasses({ tokens, headDim }) {
  const per = (heads) => {
    const sizes = { tokens: tokens / heads, heads, headDim };
    const { q, k, v, out } = operandsOf(sizes);
    const decay = retnetDecay({ heads });
    return { flops: flopsOf(sizes), call: () => linearAttentionSync(q, k, v, { decay, out, device, chunk }) };
  };
  return [
    { name: 'a head per thread', ...per(2) },
    { name: 'groups swept twice', ...per(1), most: 1.3 },
  ];
}

function taylor(sizes) {
  const { q, k, v, out } = operandsOf(sizes);
  const told = { featureMap: 'taylor2', normalize: 'sum', out, device, chunk };
  return [
    { name: 'dense causal', call: () => attentionSync(q, k, v, { causal: true, out, device }) },
    { name: 'linear', call: () => linearAttentionSync(q, k, v, told), flops: flopsOf(sizes) },
  ];
}

/** Beside the same chunks as MatMul and Mul in onnxruntime, which must say the same. Operands are heads first, as it wants them. */
async function besideOnnxRuntime({ tokens, heads, headDim }) {
  const onnxruntime = loadOnnxRuntime();
  const decay = retnetDecay({ heads });
  const session = await openSession(onnxruntime, linearGraph({ tokens, headDim, chunk, decay }), 1);
  const tensor = (seed) => randomTensor('float32', [1, heads, tokens, headDim], seed);
  const [q, k, v] = [1, 2, 3].map(tensor);
  const chunked = ({ data }) => new onnxruntime.Tensor('float32', data, [heads, tokens / chunk, chunk, headDim]);
  const feeds = { q: chunked(q), k: chunked(k), v: chunked(v) };
  const out = Tensor.zeros('float32', [1, heads, tokens, headDim]);
  const ours = () => linearAttentionSync(q, k, v, { decay, out, layout: 'bhnd', device, chunk });
  const { y } = await session.run(feeds);
  ours();
  const largest = y.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const worst = out.data.reduce((most, x, i) => Math.max(most, Math.abs(x - y.data[i])), 0);
  if (!(worst < 1e-5 * largest)) throw new Error(`the graph and linearAttention() are ${worst} apart`);
  return [
    { name: 'onnxruntime', isAsync: true, call: () => session.run(feeds) },
    { name: 'linear', call: ours, most: 1 / 3 },
  ];
}

/** The gated delta rule beside linear attention, decays per token for both. */
function besideLinear(sizes) {
  const { q, k, v, out } = operandsOf(sizes);
  const [beta, decay] = [4, 5].map((seed) => randomTensor('float32', [1, sizes.tokens, sizes.heads], seed));
  for (let i = 0; i < beta.size; i++)
    [beta.data[i], decay.data[i]] = [Math.abs(beta.data[i]), -Math.abs(decay.data[i])];
  return [
    { name: 'linear', call: () => linearAttentionSync(q, k, v, { decay, out, device }) },
    {
      name: 'gated delta',
      call: () => gatedDeltaSync(q, k, v, { beta, decay, qkL2norm: true, out, device }),
      most: 3,
    },
  ];
}

/** n iterations of conjugate gradients have 1.5 n + 2 times the products of dense attention if no weight is kept. */
function localLinear(sizes) {
  const { q, k, v, out } = operandsOf(sizes);
  const solved = (iterations) => ({
    name: `${iterations} iterations`,
    call: () => localLinearAttentionSync(q, k, v, { lambda: 0.1, iterations, tolerance: 0, out, device }),
    most: (1.5 * iterations + 2) * 1.15,
  });
  return [
    { name: 'dense causal', call: () => attentionSync(q, k, v, { causal: true, out, device }) },
    ...[1, 4, 8].map(solved),
  ];
}

/** A token on each of many states, which no cache holds together, and a pass that reads and writes as much. */
function steps({ heads, headDim, count }) {
  const { q, k, v, out } = operandsOf({ tokens: 1, heads, headDim });
  const decay = retnetDecay({ heads });
  const beta = randomTensor('float32', [1, 1, heads], 4);
  const states = Array.from({ length: count }, () => new LinearState({ kvHeads: heads, headDim, valueDim: headDim }));
  let turn = 0;
  const next = () => {
    turn = (turn + 1) % count;
    return turn;
  };
  return [
    // Moved by a number: all are read and written where they are. Moved by a byte they would become other numbers, subnormal
    // ones and NaN among them, for the steps to compute with.
    { name: 'read and write', call: () => states[next()].state.data.copyWithin(1, 0, heads * headDim * headDim - 1) },
    { name: 'step', call: () => linearAttentionStepSync(q, k, v, states[next()], { decay, out, device }), most: 1.3 },
    {
      name: 'delta step',
      call: () => gatedDeltaSync(q, k, v, { beta, decay, state: states[next()].state, updateState: true, out, device }),
    },
  ];
}

const long = options.quick ? 8192 : 262_144;
const groups = [
  ...[512, 4096].flatMap((tokens) =>
    [64, 128].map((headDim) => ({ kind: 'beside dense', make: besideDense, sizes: { tokens, heads: 8, headDim } })),
  ),
  { kind: 'long', make: longAndShort, sizes: { tokens: long, heads: 2, headDim: 64 } },
  ...[64, 128].map((headDim) => ({
    kind: 'groups',
    make: twoPasses,
    threads: 2,
    sizes: { tokens: options.quick ? 4096 : 65_536, heads: 1, headDim },
  })),
  { kind: 'taylor2', make: taylor, sizes: { tokens: 4096, heads: 8, headDim: 16, valueDim: 64, features: 153 } },
  ...[64, 128].map((headDim) => ({
    kind: 'onnxruntime',
    make: besideOnnxRuntime,
    sizes: { tokens: 4096, heads: 8, headDim },
  })),
  ...[64, 128].map((headDim) => ({ kind: 'delta', make: besideLinear, sizes: { tokens: 4096, heads: 8, headDim } })),
  ...[64, 128].map((headDim) => ({ kind: 'local', make: localLinear, sizes: { tokens: 2048, heads: 2, headDim } })),
  { kind: 'step', make: steps, sizes: { tokens: 1, heads: 32, headDim: 128, count: options.quick ? 4 : 64 } },
].map(({ kind, make, sizes, threads = 1 }) => ({
  name: `${kind} D=${sizes.headDim} N=${sizes.tokens} H=${sizes.heads}`,
  threads,
  prepare: () => make(sizes),
}));
await runRatioSuite('linear.json', groups, options, sampling);
