// The attention of a Llama in ONNX, in two ways: in pieces, as Optimum exports it, and as GroupQueryAttention.
// Reader: someone who asks which graph a cache is kept for. Both take past_key_values and give present.
// Sources: the graphs that Optimum writes of LlamaForCausalLM; docs/ContribOperators.md of microsoft/onnxruntime.

import { makeNode } from '../../dist/adapters/onnx/make.js';

/** Rotary tables: [positions, dim / 2] cosines and sines. */
function rotaryTables({ maxPositions, headDim, ropeTheta }) {
  const half = headDim / 2;
  const angle = (i) => Math.floor(i / half) / ropeTheta ** ((2 * (i % half)) / headDim);
  const numbers = (of) => Float32Array.from({ length: maxPositions * half }, (_, i) => of(angle(i)));
  return { cos: numbers(Math.cos), sin: numbers(Math.sin), half };
}

/** seqlens_k and the total length, of attention_mask; the tables. */
export function gqaBeginning(graph, sizes) {
  const { cos, sin, half } = rotaryTables(sizes);
  const dims = [sizes.maxPositions, half];
  const int32 = (value) => graph.node('Cast', [value], { to: 6 });
  const seen = graph.node('ReduceSum', ['attention_mask', graph.whole(1)], { keepdims: 0 });
  const length = graph.node('Gather', [
    graph.node('Shape', ['attention_mask']),
    graph.constant('int64', [], BigInt64Array.of(1n)),
  ]);
  return {
    lengths: int32(graph.node('Sub', [seen, graph.whole(1)])),
    total: int32(length),
    cos: graph.constant('float32', dims, cos, 'cos_cache'),
    sin: graph.constant('float32', dims, sin, 'sin_cache'),
  };
}

export function gqaAttention(graph, { heads, kvHeads, headDim }, { lengths, total, cos, sin }, { layer, q, k, v }) {
  const caches = (prefix) => ['key', 'value'].map((part) => `${prefix}.${layer}.${part}`);
  const out = `attention_${layer}`;
  graph.nodes.push(
    makeNode(
      'GroupQueryAttention',
      [q, k, v, ...caches('past_key_values'), lengths, total, cos, sin],
      [out, ...caches('present')],
      { num_heads: heads, kv_num_heads: kvHeads, do_rotary: 1, scale: headDim ** -0.5 },
      'com.microsoft',
    ),
  );
  return out;
}

/** One length of a value's shape, as a list of one. */
const lengthOf = (graph, value, axis) =>
  graph.node('Unsqueeze', [
    graph.node('Gather', [graph.node('Shape', [value]), graph.constant('int64', [], BigInt64Array.of(BigInt(axis)))]),
    graph.whole(0),
  ]);

/** A value that is reshaped to lengths, of which some are only known in a run. */
const reshape = (graph, value, parts) =>
  graph.node('Reshape', [
    value,
    graph.node(
      'Concat',
      parts.map((part) => (typeof part === 'number' ? graph.whole(part) : part)),
      { axis: 0 },
    ),
  ]);

/** Cosines and sines of position_ids, and the mask that hides what is later, and padding: 0 or the lowest number. */
export function eagerBeginning(graph, { headDim, ropeTheta }) {
  const half = headDim / 2;
  const frequencies = Float32Array.from({ length: half }, (_, d) => ropeTheta ** ((-2 * d) / headDim));
  const table = graph.constant('float32', [1, 1, half], frequencies, 'inv_freq');
  const positions = graph.node('Unsqueeze', [graph.node('Cast', ['position_ids'], { to: 1 }), graph.whole(2)]);
  const angles = graph.node('Mul', [positions, table]);
  const both = graph.node('Concat', [angles, angles], { axis: -1 });
  const [cos, sin] = ['Cos', 'Sin'].map((op) => graph.node('Unsqueeze', [graph.node(op, [both]), graph.whole(1)]));
  return { cos, sin, mask: causalMask(graph) };
}

/** [batch, 1, queries, keys], of attention_mask: query i is key i + past. */
function causalMask(graph) {
  const zero = graph.constant('int64', [], BigInt64Array.of(0n));
  const one = graph.constant('int64', [], BigInt64Array.of(1n));
  const lastLength = (value, axis) => graph.node('Gather', [graph.node('Shape', [value]), axis]);
  const total = lastLength('attention_mask', one);
  const past = graph.node('Sub', [total, lastLength('input_ids', one)]);
  const keys = graph.node('Range', [zero, total, one]);
  const queries = graph.node('Unsqueeze', [graph.node('Range', [past, total, one]), graph.whole(1)]);
  const later = graph.node('Greater', [keys, queries]);
  const absent = graph.node('Not', [graph.node('Cast', ['attention_mask'], { to: 9 })]);
  const hidden = graph.node('Or', [later, graph.node('Unsqueeze', [absent, graph.whole(1, 2)])]);
  return graph.node('Where', [hidden, graph.float(-(2 ** 128 - 2 ** 104)), graph.float(0)]);
}

/** x cos + rotateHalf(x) sin */
function rotate(graph, x, headDim, { cos, sin }) {
  const half = headDim / 2;
  const part = (from, to) => graph.node('Slice', [x, ...[from, to, 3, 1].map((number) => graph.whole(number))]);
  const turned = graph.node('Concat', [graph.node('Neg', [part(half, headDim)]), part(0, half)], { axis: -1 });
  return graph.node('Add', [graph.node('Mul', [x, cos]), graph.node('Mul', [turned, sin])]);
}

export function eagerAttention(graph, { heads, kvHeads, headDim }, shared, { layer, q, k, v }) {
  const [batch, queries] = [0, 1].map((axis) => lengthOf(graph, q, axis));
  const split = (value, count) =>
    graph.node('Transpose', [reshape(graph, value, [batch, queries, count, headDim])], { perm: [0, 2, 1, 3] });
  const query = rotate(graph, split(q, heads), headDim, shared);
  const rows = { key: rotate(graph, split(k, kvHeads), headDim, shared), value: split(v, kvHeads) };
  const [key, value] = Object.entries(rows).map(([part, row]) => {
    const past = `past_key_values.${layer}.${part}`;
    return repeated(
      graph,
      graph.node('Concat', [past, row], { axis: -2 }, { as: `present.${layer}.${part}` }),
      heads / kvHeads,
      {
        kvHeads,
        headDim,
        batch,
      },
    );
  });
  const products = graph.node('MatMul', [query, graph.node('Transpose', [key], { perm: [0, 1, 3, 2] })]);
  const scores = graph.node('Div', [products, graph.float(Math.sqrt(headDim))]);
  const weights = graph.node('Softmax', [graph.node('Add', [scores, shared.mask])], { axis: -1 });
  const out = graph.node('Transpose', [graph.node('MatMul', [weights, value])], { perm: [0, 2, 1, 3] });
  return reshape(graph, out, [batch, queries, heads * headDim]);
}

/** Each KV head as often as query heads read it: repeat_kv. */
function repeated(graph, value, times, { kvHeads, headDim, batch }) {
  const keys = lengthOf(graph, value, 2);
  const shape = graph.node(
    'Concat',
    [batch, ...[kvHeads, times].map((length) => graph.whole(length)), keys, graph.whole(headDim)],
    { axis: 0 },
  );
  const spread = graph.node('Expand', [graph.node('Unsqueeze', [value, graph.whole(2)]), shape]);
  return reshape(graph, spread, [batch, kvHeads * times, keys, headDim]);
}
