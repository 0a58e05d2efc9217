// What `npm run bench:caches` measures: a step of decoding over a cache, and over what people write without one.
// Reader: someone who adds a case; ratio-suite.mjs says what a group is. Layers take turns and are together larger than the
// processor's caches, so that keys and values come from memory.
import { attentionSync, KvCache, KvPool, Tensor } from 'tilewise';
import { uniformNumbers } from '../../test/support/uniform.mjs';
import { coldPairs, dimsOf, randomTensor } from '../timing/inputs.mjs';
import { allThreads, arenaBytes } from '../timing/machine.mjs';
import { attentionFlops, combine } from './cases.mjs';

const headDim = 128;

/** Calls with each element in turn, over and over. */
export function inTurn(list, call) {
  let turn = 0;
  return () => call(list[turn++ % list.length]);
}

const nameOf = (kind, { dtype, tokens, heads, kvHeads }) =>
  `${kind} ${dtype} D=${headDim} N=${tokens} H=${heads}/${kvHeads} threads=${allThreads}`;

/** Keys and values of as many layers as no cache holds, [1, tokens, kvHeads, headDim], and a query. */
export function operandsOf({ dtype, tokens, heads, kvHeads, coldBytes }) {
  return {
    q: randomTensor(dtype, dimsOf('bnhd', 1, heads, headDim)),
    out: randomTensor(dtype, dimsOf('bnhd', 1, heads, headDim)),
    layers: coldPairs(dtype, dimsOf('bnhd', tokens, kvHeads, headDim), coldBytes),
  };
}

/** The same memory read as [1, kvHeads, tokens, headDim]. */
const headsFirst = ({ type, data, dims: [batch, tokens, heads, dim] }) =>
  new Tensor(type, data, [batch, heads, tokens, dim]);

const headsFirstOf = ({ q, out, layers }) => ({
  q: headsFirst(q),
  out: headsFirst(out),
  layers: layers.map(({ k, v }) => [k, v].map(headsFirst)),
});

function cacheOf({ dtype, kvHeads }, layers) {
  const cache = new KvCache({ layers: layers.length, kvHeads, headDim, type: dtype });
  for (const [layer, { k, v }] of layers.entries()) cache.append(layer, k, v);
  return cache;
}

/** A list in an order that is drawn, the same every time. */
function shuffled(list) {
  const uniform = uniformNumbers(1);
  return list
    .map((item) => ({ item, key: uniform() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

/** A sequence whose pages are all over the pool, as they are when sequences have come and gone. */
function scattered({ dtype, tokens, kvHeads }, pageSize, layers) {
  const pages = Math.ceil(tokens / pageSize);
  const pool = new KvPool({ pages, pageSize, layers: layers.length, kvHeads, headDim, type: dtype });
  const row = randomTensor(dtype, [1, kvHeads, headDim]);
  const held = Array.from({ length: pages }, () => pool.sequence());
  for (const sequence of held) sequence.append(0, row, row);
  for (const sequence of shuffled(held)) sequence.free();
  const sequence = pool.sequence();
  for (const [layer, { k, v }] of layers.entries()) sequence.append(layer, k, v);
  return { pool, sequence };
}

/** One query over what is there: where keys and values are, and in which order. */
function reading(shape, peersOf) {
  let cache;
  return {
    name: nameOf('reading', shape),
    threads: allThreads,
    async prepare() {
      const { q, out, layers } = operandsOf(shape);
      const turned = headsFirstOf({ q, out, layers });
      cache = cacheOf(shape, layers);
      const packed = { q: q.squeeze(0), out: out.squeeze(0) };
      const onPages = (pageSize, most) => {
        const { pool, sequence } = scattered(shape, pageSize, layers);
        const call = (layer) => pool.attentionSync(layer, packed.q, [sequence], { out: packed.out });
        return { name: `pages of ${pageSize}`, most, call: inTurn([...layers.keys()], call) };
      };
      return [
        {
          name: 'heads first',
          call: inTurn(turned.layers, ([k, v]) => attentionSync(turned.q, k, v, { layout: 'bhnd', out: turned.out })),
        },
        { name: 'tokens first', most: 1.05, call: inTurn(layers, ({ k, v }) => attentionSync(q, k, v, { out })) },
        {
          name: 'KvCache',
          most: 1.05,
          call: inTurn([...layers.keys()], (layer) => cache.attentionSync(layer, q, { out })),
        },
        onPages(16, 1.15),
        onPages(64, 1.05),
        onPages(256, 1.05),
        ...(await peersOf.reading({ ...shape, headDim }, { q, layers })),
      ];
    },
    async release() {
      cache.dispose();
      await peersOf.release();
    },
  };
}

/** One query over a quantised cache, against one of float16. */
function quantised(shape) {
  const { kvHeads } = shape;
  let caches = [];
  return {
    name: nameOf('formats', shape),
    threads: allThreads,
    prepare() {
      const { q, out, layers } = operandsOf(shape);
      const cacheOfFormat = (format) => {
        const cache = new KvCache({ layers: layers.length, kvHeads, headDim, type: shape.dtype, format });
        for (const [layer, { k, v }] of layers.entries()) cache.append(layer, k, v);
        caches.push(cache);
        return cache;
      };
      const row = (name, format, most) => {
        const cache = cacheOfFormat(format);
        const perToken = Math.round(cache.bytes / layers.length / shape.tokens);
        const call = inTurn([...layers.keys()], (layer) => cache.attentionSync(layer, q, { out }));
        return { name: `${name}, ${perToken} bytes a token`, ...(most && { most }), call };
      };
      return [
        row(shape.dtype, undefined),
        row('int8', 'int8', 1 / 1.7),
        row('int4', 'int4', 1 / 2.6),
        row('int2', 'int2'),
        row('int8-token', 'int8-token'),
        row('duo4', 'duo4'),
      ];
    },
    release() {
      for (const cache of caches) cache.dispose();
      caches = [];
    },
  };
}

/** A token more, and one query over all: what is written without a cache, against one. */
function stepping(shape, peersOf) {
  let cache;
  return {
    name: nameOf('step', shape),
    threads: allThreads,
    async prepare() {
      const { q, out, layers } = operandsOf(shape);
      const { dtype, tokens, kvHeads } = shape;
      const row = randomTensor(dtype, dimsOf('bnhd', 1, kvHeads, headDim));
      const before = (tensor) => tensor.slice(1, 0, tokens - 1);
      cache = cacheOf(
        shape,
        layers.map(({ k, v }) => ({ k: before(k), v: before(v) })),
      );
      const written = (tensor) => {
        tensor.data.set(row.data, (tokens - 1) * kvHeads * headDim);
        return tensor.slice(1, 0, tokens);
      };
      const concatenated = (tensor) => {
        const data = new tensor.data.constructor(tensor.data.length);
        data.set(before(tensor).data);
        data.set(row.data, (tokens - 1) * kvHeads * headDim);
        return new Tensor(dtype, data, tensor.dims);
      };
      const step = (layer) => {
        cache.append(layer, row, row);
        cache.attentionSync(layer, q, { out });
        cache.truncate(tokens - 1);
      };
      const over = (grown) => inTurn(layers, ({ k, v }) => attentionSync(q, grown(k), grown(v), { out }));
      const turned = headsFirstOf({ q, out, layers });
      const writtenPerHead = (tensor) => {
        for (let head = 0; head < kvHeads; ++head) {
          const values = row.data.subarray(head * headDim, (head + 1) * headDim);
          tensor.data.set(values, ((head + 1) * tokens - 1) * headDim);
        }
        return tensor.slice(2, 0, tokens);
      };
      const overHeads = ([k, v]) =>
        attentionSync(turned.q, writtenPerHead(k), writtenPerHead(v), { layout: 'bhnd', out: turned.out });
      return [
        { name: 'KvCache', call: inTurn([...layers.keys()], step) },
        { name: 'prefix slices, heads first', call: inTurn(turned.layers, overHeads) },
        { name: 'prefix slices, tokens first', call: over(written) },
        { name: 'concatenation', call: over(concatenated) },
        ...(await peersOf.stepping({ ...shape, headDim }, { q, layers })),
      ];
    },
    async release() {
      cache.dispose();
      await peersOf.release();
    },
  };
}

/** Several queries at once, as a draft's check has them: over a cache, whose heads come first, or over tensors, tokens first. */
function several(shape, isTokensFirst = false) {
  let cache;
  return {
    name: nameOf(isTokensFirst ? 'queries, tokens first,' : 'queries', shape),
    threads: allThreads,
    prepare() {
      const { layers } = operandsOf(shape);
      if (!isTokensFirst) cache = cacheOf(shape, layers);
      return [1, 2, 4, 8, 16].map((queries) => {
        const [q, out] = [1, 2].map((seed) =>
          randomTensor(shape.dtype, dimsOf('bnhd', queries, shape.heads, headDim), seed),
        );
        const call = (layer) =>
          isTokensFirst
            ? attentionSync(q, layers[layer].k, layers[layer].v, { causal: true, out })
            : cache.attentionSync(layer, q, { out });
        const name = queries === 1 ? '1 query' : `${queries} queries`;
        const flops = attentionFlops({ queries, keys: shape.tokens, headDim, heads: shape.heads, causal: false });
        const target = queries > 1 && { most: 1.3, leastShare: 0.65 };
        return { name, flops, ...target, call: inTurn([...layers.keys()], call) };
      });
    },
    release: () => cache?.dispose(),
  };
}

/** Sequences of different lengths, one of them with a piece of a prompt: a call for each, one for all, a padded batch. */
function ragged(shape) {
  const { dtype, tokens, heads, kvHeads, coldBytes } = shape;
  const lengths = [1, 0.73, 0.5, 0.41, 0.25, 0.13, 0.06, 0.03].map((share) => Math.ceil(share * tokens));
  const queryLengths = lengths.map((_, i) => (i === 2 ? 128 : 1));
  return {
    name: nameOf('ragged', shape),
    threads: allThreads,
    prepare() {
      const pageSize = 256;
      const pages = lengths.reduce((sum, length) => sum + Math.ceil(length / pageSize), 0);
      const sources = coldPairs(dtype, dimsOf('bnhd', tokens, kvHeads, headDim), coldBytes);
      const pool = new KvPool({ pages, pageSize, layers: sources.length, kvHeads, headDim, type: dtype });
      const sequences = lengths.map((length) => {
        const sequence = pool.sequence();
        const rows = (tensor) => tensor.slice(1, 0, length);
        for (const [layer, { k, v }] of sources.entries()) sequence.append(layer, rows(k), rows(v));
        return sequence;
      });
      const total = queryLengths.reduce((sum, length) => sum + length, 0);
      const [q, out] = [1, 2].map((seed) => randomTensor(dtype, [total, heads, headDim], seed));
      const ends = queryLengths.map((_, i) => queryLengths.slice(0, i + 1).reduce((a, b) => a + b, 0));
      const parts = queryLengths.map((length, i) => [q, out].map((all) => all.slice(0, ends[i] - length, ends[i])));
      const each = (layer) => {
        for (const [i, [ownQ, ownOut]] of parts.entries()) {
          pool.attentionSync(layer, ownQ, [sequences[i]], { queryLengths: [queryLengths[i]], out: ownOut });
        }
      };
      return [
        { name: 'a call per sequence', call: inTurn([...sources.keys()], each) },
        {
          name: 'one ragged call',
          most: 1,
          call: inTurn([...sources.keys()], (layer) => pool.attentionSync(layer, q, sequences, { queryLengths, out })),
        },
        { name: 'a padded batch', call: padded(shape, lengths, Math.max(...queryLengths), sources) },
      ];
    },
  };
}

/** The same as a batch: every sequence with as many queries and keys as the longest. */
function padded({ dtype, heads }, lengths, queries, sources) {
  const [q, out] = [1, 2].map((seed) => randomTensor(dtype, [lengths.length, queries, heads, headDim], seed));
  // All entries read the rows of one: what padding costs is arithmetic, and this is the least that it can be.
  const repeated = ({ type, data, dims, strides }) =>
    new Tensor(type, data, dims.with(0, lengths.length), { strides: strides.with(0, 0) });
  const options = { keyLengths: lengths, causal: true, out };
  return inTurn(
    sources.map(({ k, v }) => [repeated(k), repeated(v)]),
    ([k, v]) => attentionSync(q, k, v, options),
  );
}

/** The least that a token can cost: few keys, which are in the processor's caches. */
function smallest({ tokens, heads, kvHeads }) {
  const shape = { dtype: 'float32', tokens, heads, kvHeads };
  let cache;
  return {
    name: nameOf('small', shape),
    threads: allThreads,
    prepare() {
      const { q, out, layers } = operandsOf({ ...shape, coldBytes: 0 });
      cache = cacheOf(shape, layers.slice(0, 1));
      return [
        { name: 'attentionSync', call: () => cache.attentionSync(0, q, { out }) },
        { name: 'attention', isAsync: true, call: () => cache.attention(0, q, { out }) },
      ];
    },
    release: () => cache.dispose(),
  };
}

/**
 * The groups in the order in which they run.
 * @param {{isQuick: boolean}} options
 * @param {import('../peers/decoding.mjs').DecodingPeers} peersOf
 */
export function cacheGroups({ isQuick }, peersOf) {
  const coldBytes = isQuick ? 1 << 24 : arenaBytes;
  const all = (lists) => combine({ kvHeads: [8], ...lists }).map((shape) => ({ ...shape, coldBytes }));
  const dtype = isQuick ? ['float32'] : ['float32', 'float16', 'bfloat16'];
  const tokens = isQuick ? [1024] : [8192, 32768];
  return [
    ...all({ dtype, heads: [8, 32], tokens }).map((shape) => reading(shape, peersOf)),
    ...all({ dtype: dtype.slice(0, 2), heads: [32], tokens }).map((shape) => stepping(shape, peersOf)),
    ...all({ dtype, heads: [8, 32], tokens: isQuick ? [1024] : [2048, 32768] }).flatMap((shape) => [
      several(shape),
      several(shape, true),
    ]),
    ...all({ dtype, heads: [8, 32], tokens: tokens.slice(0, 1) }).map(ragged),
    ...all({ dtype: ['float16'], heads: [8, 32], tokens: isQuick ? [1024] : [32768] }).map(quantised),
    ...all({ heads: [8, 32], tokens: [64] }).map(smallest),
  ];
}
