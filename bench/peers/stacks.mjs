// Stacks of transformer layers in ONNX, with weights that are drawn: the encoder of BERT, and projections around causal attention.
// Reader: someone who asks what a model of a size costs. Attention is in pieces, as exporters write it, or one MultiHeadAttention.
import { makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { GraphWriter } from '../../test/clients/graph-writer.mjs';
import { uniformNumbers } from '../../test/support/uniform.mjs';

const lowest = -(2 ** 128 - 2 ** 104);

/**
 * @typedef {object} Stack
 * @property {number} layers @property {number} heads @property {number} headDim
 * @property {number} [ff] width of the hidden layer; absent: layers have projections and attention alone
 * @property {'padding' | 'causal'} mask of an attention_mask; or causal, made of the length
 * @property {'pieces' | 'MultiHeadAttention'} attention the second is for causal ones
 */

/** Weights of a layer, between -0.05 and 0.05. */
function weights(graph, seed) {
  const next = uniformNumbers(seed);
  let count = 0;
  return (x, inputs, outputs) => {
    const data = Float32Array.from({ length: inputs * outputs }, () => (next() - 0.5) / 10);
    return graph.node('MatMul', [x, graph.constant('float32', [inputs, outputs], data, `weights_${seed}_${count++}`)]);
  };
}

/** Numbers to add to scores: 0, or the lowest one. */
function maskOf(graph, { mask }) {
  const chosen = (hidden) => graph.node('Where', [hidden, graph.float(lowest), graph.float(0)]);
  if (mask === 'padding') {
    const hidden = graph.node('Not', [graph.node('Cast', ['attention_mask'], { to: 9 })]);
    return chosen(graph.node('Unsqueeze', [hidden, graph.whole(1, 2)]));
  }
  const [zero, one] = [0n, 1n].map((value) => graph.constant('int64', [], BigInt64Array.of(value)));
  const tokens = graph.node('Gather', [graph.node('Shape', ['x']), one]);
  const keys = graph.node('Range', [zero, tokens, one]);
  return chosen(graph.node('Greater', [keys, graph.node('Unsqueeze', [keys, graph.whole(1)])]));
}

function inPieces(graph, { heads, headDim }, [q, k, v], mask) {
  const split = (x, perm) =>
    graph.node('Transpose', [graph.node('Reshape', [x, graph.whole(0, 0, heads, headDim)])], { perm });
  const products = graph.node('MatMul', [split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1])]);
  const scores = graph.node('Add', [graph.node('Div', [products, graph.float(Math.sqrt(headDim))]), mask]);
  const out = graph.node('MatMul', [graph.node('Softmax', [scores], { axis: -1 }), split(v, [0, 2, 1, 3])]);
  return graph.node('Reshape', [
    graph.node('Transpose', [out], { perm: [0, 2, 1, 3] }),
    graph.whole(0, 0, heads * headDim),
  ]);
}

function normed(graph, x, dim) {
  const [scale, shift] = [1, 0].map((value) =>
    graph.constant('float32', [dim], new Float32Array(dim).fill(value), `norm_${value}`),
  );
  return graph.node('LayerNormalization', [x, scale, shift], { axis: -1 });
}

/** x (1 + erf(x / √2)) / 2 */
function gelu(graph, x) {
  const erf = graph.node('Erf', [graph.node('Div', [x, graph.float(Math.SQRT2)])]);
  return graph.node('Mul', [graph.node('Mul', [x, graph.node('Add', [erf, graph.float(1)])]), graph.float(0.5)]);
}

/** The bytes of a model: x [1, tokens, heads * headDim] to y of the same dims. @param {Stack} stack */
export function stackModel(stack) {
  const { layers, heads, headDim, ff, mask, attention } = stack;
  const dim = heads * headDim;
  const graph = new GraphWriter();
  const added = attention === 'pieces' ? maskOf(graph, stack) : undefined;
  let x = 'x';
  for (let layer = 0; layer < layers; ++layer) {
    const linear = weights(graph, layer + 1);
    const operands = Array.from({ length: 3 }, () => linear(x, dim, dim));
    const attended =
      attention === 'pieces'
        ? inPieces(graph, stack, operands, added)
        : graph.node(attention, operands, { num_heads: heads, unidirectional: 1 }, { domain: 'com.microsoft' });
    x = normed(graph, graph.node('Add', [x, linear(attended, dim, dim)]), dim);
    if (ff) x = normed(graph, graph.node('Add', [x, linear(gelu(graph, linear(x, dim, ff)), ff, dim)]), dim);
  }
  graph.node('Identity', [x], {}, { as: 'y' });
  const padding = mask === 'padding' ? [makeValueInfo('attention_mask', 'int64', [1, 'tokens'])] : [];
  return graph.model({
    inputs: [makeValueInfo('x', 'float32', [1, 'tokens', dim]), ...padding],
    outputs: [makeValueInfo('y', 'float32', [1, 'tokens', dim])],
  }).bytes;
}

/** Feeds of a stack: numbers that are drawn, and padding that shows everything. */
export function stackFeeds({ heads, headDim, mask }, tokens, Tensor) {
  const next = uniformNumbers(7);
  const dims = [1, tokens, heads * headDim];
  const x = Float32Array.from({ length: tokens * heads * headDim }, () => next() - 0.5);
  return {
    x: new Tensor('float32', x, dims),
    ...(mask === 'padding' && { attention_mask: new Tensor('int64', new BigInt64Array(tokens).fill(1n), [1, tokens]) }),
  };
}
