// onnxruntime's ways to compute attention, each as a graph in memory with the inputs that it wants.
// Reader: someone who adds a peer. A shape is {queries, keys, heads, kvHeads, headDim, dtype, causal}, batch 1.
import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { bytesPer, randomData } from '../timing/inputs.mjs';

const LAYOUTS = {
  'batch, heads, tokens, dim': (tokens, heads, dim) => [1, heads, tokens, dim],
  'batch, tokens, heads x dim': (tokens, heads, dim) => [1, tokens, heads * dim],
};
export const HEADS_FIRST = 'batch, heads, tokens, dim';
export const TOKENS_FIRST = 'batch, tokens, heads x dim';

const valueInfo = ({ name, type, dims }) => makeValueInfo(name, type, dims);

/** The bytes of a model. Inputs and outputs are `{ name, type, dims }`. */
const model = ({ opset, nodes, constants, inputs, outputs }) =>
  makeModel({
    opset,
    nodes,
    initializers: constants,
    inputs: inputs.map(valueInfo),
    outputs: outputs.map(valueInfo),
  }).bytes;

/**
 * A graph whose operands are q, k, v -> y. The three are the same numbers as ours, in the peer's layout; further inputs
 * bring their `value`.
 */
export function graphOf({ opset, layout, nodes, constants, inputs: more = [], outputs = [] }) {
  return ({ queries, keys, heads, kvHeads, headDim, dtype }) => {
    const dims = LAYOUTS[layout];
    const operand = (name, tokens, count) => ({ name, type: dtype, dims: dims(tokens, count, headDim) });
    const inputs = [operand('q', queries, heads), operand('k', keys, kvHeads), operand('v', keys, kvHeads), ...more];
    return {
      bytes: model({ opset, nodes, constants, inputs, outputs: [operand('y', queries, heads), ...outputs] }),
      inputs,
      layout,
    };
  };
}

function onnxAttention(opset) {
  return (shape) => {
    const nodes = [makeNode('Attention', ['q', 'k', 'v'], ['y'], { is_causal: shape.causal ? 1 : 0 })];
    return graphOf({ opset, layout: HEADS_FIRST, nodes })(shape);
  };
}

function multiHeadAttention(shape) {
  const attributes = { num_heads: shape.heads, unidirectional: shape.causal ? 1 : 0 };
  const nodes = [makeNode('MultiHeadAttention', ['q', 'k', 'v'], ['y'], attributes, 'com.microsoft')];
  return graphOf({ opset: 17, layout: TOKENS_FIRST, nodes })(shape);
}

/**
 * GroupQueryAttention is always causal. In decode it is given a past of all keys but the last and appends that one,
 * which is how it is used; the copy that this makes without shared buffers is part of its time.
 */
function groupQueryAttention(shape) {
  const { queries, keys, heads, kvHeads, headDim, dtype, causal } = shape;
  const isDecode = queries === 1 && keys > 1;
  if (!causal && !isDecode) return null;
  const past = isDecode ? keys - queries : 0;
  const operand = (name, dims, type = dtype) => ({ name, type, dims });
  const cache = (name, tokens) => operand(name, [1, kvHeads, tokens, headDim]);
  const attributes = { num_heads: heads, kv_num_heads: kvHeads };
  const pastNames = isDecode ? ['pastK', 'pastV'] : ['', ''];
  const inputs = [
    operand('q', [1, queries, heads * headDim]),
    operand('k', [1, queries, kvHeads * headDim]),
    operand('v', [1, queries, kvHeads * headDim]),
    ...(isDecode ? [cache('pastK', past), cache('pastV', past)] : []),
    { ...operand('lastKey', [1], 'int32'), value: Int32Array.of(keys - 1) },
    { ...operand('total', [], 'int32'), value: Int32Array.of(keys) },
  ];
  const nodes = [
    makeNode(
      'GroupQueryAttention',
      ['q', 'k', 'v', ...pastNames, 'lastKey', 'total'],
      ['y', 'presentK', 'presentV'],
      attributes,
      'com.microsoft',
    ),
  ];
  const outputs = [operand('y', [1, queries, heads * headDim]), cache('presentK', keys), cache('presentV', keys)];
  return { bytes: model({ opset: 17, nodes, inputs, outputs }), inputs, layout: TOKENS_FIRST };
}

/** What one writes without an attention operator. float32 only: its constants are. */
function matmulSoftmaxMatmul(shape) {
  if (shape.dtype !== 'float32') return null;
  const { queries, keys, headDim, causal } = shape;
  const nodes = [
    makeNode('Transpose', ['k'], ['kT'], { perm: [0, 1, 3, 2] }),
    makeNode('Mul', ['q', 'scale'], ['scaled']),
    makeNode('MatMul', ['scaled', 'kT'], ['scores']),
    ...(causal ? [makeNode('Add', ['scores', 'mask'], ['masked'])] : []),
    makeNode('Softmax', [causal ? 'masked' : 'scores'], ['p'], { axis: -1 }),
    makeNode('MatMul', ['p', 'v'], ['y']),
  ];
  const constants = [makeTensor('scale', 'float32', [1], Float32Array.of(1 / Math.sqrt(headDim)))];
  if (causal) {
    const mask = new Float32Array(queries * keys);
    for (let i = 0; i < queries; i++) mask.fill(-Infinity, i * keys + i + 1, (i + 1) * keys);
    constants.push(makeTensor('mask', 'float32', [1, 1, queries, keys], mask));
  }
  return graphOf({ opset: 17, layout: HEADS_FIRST, nodes, constants })(shape);
}

/** name -> (shape) => {bytes, inputs, layout, shared?}, or null where the peer has no such computation. */
export const peerGraphs = {
  'Attention-23': onnxAttention(23),
  'Attention-24': onnxAttention(24),
  MultiHeadAttention: multiHeadAttention,
  GroupQueryAttention: groupQueryAttention,
  'MatMul-Softmax-MatMul': matmulSoftmaxMatmul,
};

const rearranged = new WeakMap(); // several graphs want the same operand, and decode's operands are large

function headsFirstOnce(tensor) {
  const [, tokens, heads, dim] = tensor.dims;
  if (!rearranged.has(tensor)) rearranged.set(tensor, headsFirst(tensor.data, tokens, heads, dim));
  return rearranged.get(tensor);
}

/** Tokens x heads x dim rearranged to heads x tokens x dim. */
function headsFirst(data, tokens, heads, dim) {
  const out = new data.constructor(data.length);
  for (let t = 0; t < tokens; t++) {
    for (let h = 0; h < heads; h++) {
      const from = (t * heads + h) * dim;
      out.set(data.subarray(from, from + dim), (h * tokens + t) * dim);
    }
  }
  return out;
}

/**
 * The graph's feeds, made of our operands so that all compute the same numbers.
 * @param {object} graph from peerGraphs @param {object} shape
 * @param {{q: object, k: object, v: object}} ours tensors in layout bnhd, batch 1
 * @param {new (type: string, data: object, dims: number[]) => object} Tensor onnxruntime's
 */
export function feedsFor(graph, { queries, keys, kvHeads, headDim }, ours, Tensor) {
  const dataOf = (name, dims) => {
    const tensor = { q: ours.q, k: ours.k, v: ours.v, pastK: ours.k, pastV: ours.v }[name];
    if (name.startsWith('past')) {
      const past = tensor.data.subarray(0, (keys - queries) * kvHeads * headDim);
      return headsFirst(past, keys - queries, kvHeads, headDim);
    }
    if (graph.layout === HEADS_FIRST) return headsFirstOnce(tensor);
    const size = dims.reduce((a, b) => a * b, 1);
    return tensor.data.subarray(tensor.data.length - size); // all of it, or the newest token beside a past
  };
  const feed = ({ name, type, dims, value }) => [name, new Tensor(type, value ?? dataOf(name, dims), dims)];
  return Object.fromEntries(graph.inputs.map(feed));
}

/** Runs a graph; outputs that `shared` names are written where the inputs of those names are. */
export async function runGraph(session, graph, feeds) {
  if (!graph.shared) return session.run(feeds);
  const places = Object.entries(graph.shared).map(([output, input]) => [output, feeds[input]]);
  return session.run(feeds, { y: null, ...Object.fromEntries(places) });
}

/** Our operands with heads before tokens, sharing the rearranged data with the graphs that want it so. */
export function headsFirstOperands(ours) {
  const turn = (tensor) => {
    const [batch, tokens, heads, dim] = tensor.dims;
    return { type: tensor.type, data: headsFirstOnce(tensor), dims: [batch, heads, tokens, dim] };
  };
  return { q: turn(ours.q), k: turn(ours.k), v: turn(ours.v) };
}

/** The peer's output rearranged to layout bnhd. */
export function outputAsBnhd(graph, data, { queries, heads, headDim }) {
  // heads x tokens back to tokens x heads is the same rearrangement with the roles swapped.
  return graph.layout === HEADS_FIRST ? headsFirst(data, heads, queries, headDim) : data;
}

/** Key and value bytes of a shape: what a decode step must read. */
export function keyValueBytes({ keys, kvHeads, headDim, dtype }) {
  return 2 * keys * kvHeads * headDim * bytesPer(dtype);
}

/** Our operands for a shape, layout bnhd, as plain {type, data, dims}. */
export function operandsFor({ queries, keys, heads, kvHeads, headDim, dtype }, seed = 1) {
  const operand = (tokens, count, s) => {
    const dims = [1, tokens, count, headDim];
    return {
      type: dtype,
      data: randomData(
        dtype,
        dims.reduce((a, b) => a * b, 1),
        s,
      ),
      dims,
    };
  };
  return { q: operand(queries, heads, seed), k: operand(keys, kvHeads, seed + 1), v: operand(keys, kvHeads, seed + 2) };
}
