// The support table, by asking the code: every row is a tiny call that a backend accepts or refuses, whether this machine has
// the device or not. Assumes a built package.
// Reader: someone who added an option or a backend. generate.mjs writes the table to support.md.
import {
  attentionSlices,
  blocks,
  documents,
  hierarchical,
  neighborhood,
  power,
  ranges,
  sampledBlocks,
  stridedShards,
  Tensor,
} from 'tilewise';
import { builtFor, reasonsAgainst, reasonsAgainstAppend } from '../../dist/explain/support.js';
import { OwnPages } from '../../dist/stores/pages.js';

/** Zeros: whether a problem is supported does not depend on the numbers. */
function zeros(type, ...dims) {
  const Data = { float32: Float32Array, bool: Uint8Array }[type] ?? Uint16Array;
  return new Tensor(type, new Data(dims.reduce((a, b) => a * b, 1)), dims);
}

/** A call of 2 queries on 3 keys. */
function call({
  type = 'float32',
  keyType = type,
  queryHeads = 2,
  kvHeads = 2,
  headDim = 4,
  valueDim = headDim,
  batch = 1,
  ...options
}) {
  const tensor = (tokens, heads, dim, of = keyType) => {
    return options.layout === 'bhnd' ? zeros(of, batch, heads, tokens, dim) : zeros(of, batch, tokens, heads, dim);
  };
  const operands = [tensor(2, queryHeads, headDim, type), tensor(3, kvHeads, headDim), tensor(3, kvHeads, valueDim)];
  return (device) => reasonsAgainst(device, ...operands, options);
}

/** A call of 4 tokens that see their neighbors. */
const grid = (options) => (device) => {
  const tokens = zeros('float32', 1, 4, 2, 4);
  return reasonsAgainst(device, tokens, tokens, tokens, options);
};

/** An op that is several calls. */
const all =
  (...calls) =>
  (device) =>
    calls.flatMap((reasons) => reasons(device));

/** A call on pages of 3 keys. */
const paged = (options) => (device) => {
  const pool = zeros('float32', 4, 3, 2, 4);
  const onPages = { keyLengths: [5], pages: { table: [[2, 0]], pageSize: 3 } };
  return reasonsAgainst(device, zeros('float32', 1, 2, 2, 4), pool, pool, { ...onPages, ...options });
};

/** A call on such pages, of which the first 2 keys are codes. */
function coded(device) {
  const form = { bits: 8, dim: 4, tokens: 2 };
  const tier = {
    keys: { ...form, axis: 'channel', group: 2 },
    values: { ...form, axis: 'token', group: 4 },
    data: new Uint8Array(1024),
  };
  const codes = { tiers: [tier], table: Int32Array.of(0), keyEnds: Int32Array.of(2), valueEnds: Int32Array.of(2) };
  return paged({ pages: new OwnPages(Int32Array.of(2, 0), 1, 3, codes) })(device);
}

/** Rows of 3 tokens that go to pages of a cache. */
const appended = (type, kept) => (device) => {
  const [row, pages] = [zeros(type, 3, 2, 4), zeros(kept, 4, 2, 2, 4)];
  return reasonsAgainstAppend(device, row, row, pages, pages);
};

const rows = [
  ['full attention', call({})],
  ['causal, bottom-right, top-left or any offset', call({ causal: true, align: { offset: 1 } })],
  ['sliding window', call({ window: { left: 1, right: 0 } })],
  ['sliding window with sink tokens', call({ window: { left: 1, right: 0 }, sinkTokens: 1 })],
  ['windows that differ by head', call({ recentTokens: [1, Infinity], sinkTokens: 1 })],
  ['neighborhoods on 1-D, 2-D and 3-D grids', grid({ pattern: neighborhood({ kernelSize: 2, dilation: 2 }) })],
  [
    'windows that an edge cuts (HaloNet)',
    grid({ pattern: neighborhood({ kernelSize: 9, stride: 2, border: 'clip' }) }),
  ],
  ['`relativeBias`', grid({ pattern: neighborhood({ kernelSize: 2 }), relativeBias: zeros('float32', 2, 3) })],
  ['strided shards (S2)', call({ pattern: stridedShards({ blockSize: 1, localBlocks: 1, vertStride: 2 }) })],
  [
    'block lists, FlexAttention masks',
    call({
      pattern: blocks({ blockQ: 2, blockK: 3, csr: { rowOffsets: Int32Array.of(0, 1), columns: Int32Array.of(0) } }),
    }),
  ],
  ['ranges of keys per query', call({ pattern: ranges({ begins: Int32Array.of(0, 1), ends: Int32Array.of(2, 3) }) })],
  ['sampled blocks (PrFlashAttention)', call({ pattern: sampledBlocks({ block: 1, keep: 0.5 }) })],
  ['`unbiased` of sampled blocks', call({ pattern: sampledBlocks({ block: 1, keep: 0.5, unbiased: true }) })],
  ['documents', grid({ pattern: documents({ lengths: [1, 3], causal: true, shared: true }) })],
  ['slices', call({ pattern: attentionSlices([{ q: [0, 2], k: [0, 3], kind: 'causal' }]) })],
  ['power', call({ pattern: power({ block: 1 }) })],
  [
    '`landmarkAttention`: own blocks, blocks by their places in the text, landmarks that some heads take',
    all(
      call({ pattern: ranges({ begins: Int32Array.of(0, 1), ends: Int32Array.of(2, 3) }) }),
      call({ causal: true, positions: { queries: [1, 2], keys: [2, 2, 2] }, mask: zeros('bool', 1, 2, 1, 1) }),
    ),
  ],
  [
    '`dynamicMaskAttention`: ranges of kept keys, with their bias',
    call({
      bias: zeros('float32', 1, 2, 1, 3),
      biasHeads: 'kv',
      pattern: ranges({ begins: Int32Array.of(0, 0), ends: Int32Array.of(2, 3) }),
    }),
  ],
  [
    '`positions`, with ALiBi',
    call({ causal: true, positions: { queries: [1, 2], keys: [0, 1, 2] }, alibiSlopes: Float32Array.of(0.5, 0.25) }),
  ],
  ['hierarchical pruning (HiP)', call({ pattern: hierarchical('default') })],
  [
    '`extraKeys`, `extraValues`',
    call({ extraKeys: zeros('float32', 1, 1, 2, 4), extraValues: zeros('float32', 1, 1, 2, 4) }),
  ],
  ...['float32', 'float16', 'bfloat16'].map((type) => [type, call({ type })]),
  ['float32 queries over keys and values of 16 bits', call({ keyType: 'bfloat16' })],
  ['head dims up to 256, any number', call({ headDim: 255 })],
  ['head dims up to 4096, of keys and of values, any number', call({ headDim: 4095, valueDim: 4095 })],
  ['value dim other than head dim', call({ valueDim: 6 })],
  ['GQA and MQA: fewer KV heads than query heads', call({ queryHeads: 4, kvHeads: 1 })],
  ['reverse SQA: more KV heads than query heads', call({ queryHeads: 1, kvHeads: 4, pairing: 'interleave' })],
  ["`layout: 'bhnd'`", call({ layout: 'bhnd' })],
  ['`scale`', call({ scale: 1 })],
  ["`similarity`: 'cosine'", call({ similarity: 'cosine' })],
  ['`softcap`', call({ softcap: 30 })],
  ['`alibiSlopes`', call({ alibiSlopes: Float32Array.of(0.5, 0.25) })],
  ['`activation`: sigmoid, relu', call({ activation: 'sigmoid' })],
  ['`gate`', call({ gate: zeros('float32', 1, 2, 2) })],
  ['`sinks`: logits in the denominator', call({ sinks: Float32Array.of(0, 0) })],
  ['`scoreFactor`, broadcast', call({ scoreFactor: zeros('float32', 2, 3) })],
  ['`bias`, broadcast', call({ bias: zeros('float32', 2, 3) })],
  ['`biasHeads`: a bias per KV head', call({ bias: zeros('float32', 2, 3), biasHeads: 'kv' })],
  ['`mask`, broadcast', call({ mask: zeros('bool', 2, 3) })],
  ['`keyMask`', call({ keyMask: zeros('bool', 1, 3) })],
  ['`keyLengths`: padded batches', call({ batch: 2, keyLengths: Int32Array.of(3, 1) })],
  ['`keyStarts`: padded before the keys', call({ batch: 2, keyStarts: Int32Array.of(0, 2) })],
  ['`pages`: keys and values on pages', paged({})],
  [
    'strided shards and block lists on pages',
    paged({ pattern: stridedShards({ blockSize: 1, localBlocks: 1, vertStride: 2 }) }),
  ],
  ['`pageLists`: listed pages alone', paged({ pageLists: [[0]] })],
  ['`pages` with `cuSeqlensQ`: ragged queries', paged({ cuSeqlensQ: [0, 2] })],
  ['`format` of a `KvCache`: quantised keys and values', coded],
  ['`KvCache`, `KvPool`: rows are appended in place', appended('float32', 'float32')],
  ['rows that are converted when they are appended', appended('bfloat16', 'float16')],
  [
    '`cuSeqlensQ`, `cuSeqlensK`: packed batches',
    call({ cuSeqlensQ: Int32Array.of(0, 1, 2), cuSeqlensK: Int32Array.of(0, 2, 3) }),
  ],
  ['`returnLse`', call({ returnLse: true })],
];

/** The page in Markdown: a table with one column per kind of device. */
export function supportPage() {
  const columns = builtFor();
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const body = rows.map(([name, reasons]) =>
    line([name, ...columns.map((device) => (reasons(device).length === 0 ? 'yes' : 'no'))]),
  );
  return [
    '# What a call may ask for',
    '',
    'Printed from the answers of the backends themselves; a machine without a GPU prints the same table. Where the answer is no, the',
    'error of a call (`ERR_TILEWISE_UNSUPPORTED`) lists the reasons.',
    '',
    line(['', ...columns]),
    line(['---', ...columns.map(() => '---')]),
    ...body,
  ].join('\n');
}
