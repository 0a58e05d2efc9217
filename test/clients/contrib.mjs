// Models of com.microsoft's operators: Attention and MultiHeadAttention, in every form that attention() takes the place of.
// Reader: someone who adds a form. Sizes are small, and no two are alike.

import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { floats, single } from './single.mjs';

const theirs = { domain: 'com.microsoft', opset: 17 };
const merged = [floats('q', 2, 5, 24), floats('k', 2, 7, 24), floats('v', 2, 7, 24)];
const int32 = (name, ...dims) => [name, 'int32', dims];
const multiHead = (inputs, attributes = {}) =>
  single('MultiHeadAttention', inputs, { num_heads: 3, ...attributes }, theirs);

const projected = [floats('x', 2, 5, 20), floats('weights', 20, 72), floats('bias', 72)];
const inside = (inputs, attributes = {}) =>
  single('Attention', [...projected, ...inputs], { num_heads: 3, ...attributes }, theirs);

/** Those that are swapped. */
export const contrib = {
  'multi-head attention': single('MultiHeadAttention', merged, { num_heads: 3 }, theirs),
  'multi-head attention, causal, with a scale': single(
    'MultiHeadAttention',
    [floats('q', 2, 7, 24), ...merged.slice(1)],
    { num_heads: 3, unidirectional: 1, scale: 0.5 },
    theirs,
  ),
  'multi-head attention with padding and a bias': single(
    'MultiHeadAttention',
    [...merged, undefined, ['keys', 'int32', [2, 7]], floats('added', 1, 3, 5, 7)],
    { num_heads: 3 },
    theirs,
  ),
  'multi-head attention, causal, with padding': single(
    'MultiHeadAttention',
    [floats('q', 2, 7, 24), ...merged.slice(1), undefined, ['keys', 'int32', [2, 7]]],
    { num_heads: 3, unidirectional: 1 },
    theirs,
  ),
  'multi-head attention with padding that hides little': single(
    'MultiHeadAttention',
    [...merged, undefined, ['keys', 'int32', [2, 7]]],
    { num_heads: 3, mask_filter_value: { float: -5 } },
    theirs,
  ),
  'multi-head attention, causal, with fewer queries than keys': multiHead(merged, { unidirectional: 1 }),
  'multi-head attention, causal, with one query and padding': multiHead(
    [floats('q', 2, 1, 24), ...merged.slice(1), undefined, int32('keys', 2, 7)],
    { unidirectional: 1 },
  ),
  'multi-head attention, causal, with fewer queries than keys and a bias': multiHead(
    [...merged, undefined, undefined, floats('added', 1, 3, 5, 7)],
    { unidirectional: 1 },
  ),
  'multi-head attention, causal, with more queries than keys and lengths': multiHead(
    [floats('q', 2, 9, 24), ...merged.slice(1), undefined, int32('lengths', 2)],
    { unidirectional: 1 },
  ),
  'multi-head attention with a projection bias': multiHead([
    ...merged.slice(0, 2),
    floats('v', 2, 7, 18),
    floats('bias', 66),
  ]),
  'multi-head attention with keys of four axes': multiHead([
    merged[0],
    floats('k', 2, 3, 7, 8),
    floats('v', 2, 3, 7, 8),
  ]),
  'multi-head attention with keys of four axes and a projection bias': multiHead([
    ...[merged[0], floats('k', 2, 3, 7, 8), floats('v', 2, 3, 7, 8), floats('bias', 72)],
  ]),
  'multi-head attention with lengths': multiHead([...merged, undefined, int32('lengths', 2)]),
  'multi-head attention with lengths and starts of packed rows': multiHead([...merged, undefined, int32('lengths', 8)]),
  'multi-head attention with a mask of queries': multiHead([...merged, undefined, int32('keys', 2, 5, 7)]),
  'projections inside': inside([]),
  'projections inside, of other sizes': single(
    'Attention',
    [floats('x', 2, 5, 20), floats('weights', 20, 66), floats('bias', 66)],
    { num_heads: 3, qkv_hidden_sizes: [24, 24, 18] },
    theirs,
  ),
  'projections inside, with lengths': inside([int32('lengths', 2)], { scale: 0.5 }),
  'projections inside, with ends and starts': inside([int32('lengths', 4)]),
  'projections inside, causal, with ends and starts': inside([int32('lengths', 4)], { unidirectional: 1 }),
  'projections inside, with padding and a bias': inside([int32('keys', 2, 5), undefined, floats('added', 1, 3, 5, 5)]),
  'projections inside, with padding that hides little': inside([int32('keys', 2, 5)], {
    mask_filter_value: { float: -5 },
  }),
  'projections inside, with a mask of queries': inside([int32('keys', 2, 5, 5)]),
  'projections inside, with one number for all keys': inside([int32('keys', 2, 1)]),
};

/** Nodes that cut a packed value into its operands, [batch, tokens, heads * dim]. */
function apart(value, names, dims) {
  const shape = makeTensor('', 'int64', [3], BigInt64Array.from(dims, BigInt));
  return [
    makeNode('Constant', [], ['shape'], { value: shape }),
    makeNode(
      'Split',
      [value],
      names.map((name) => `${name}5`),
      { axis: 3 },
    ),
    ...names.map((name) => makeNode('Reshape', [`${name}5`, 'shape'], [name])),
  ];
}

const modelOf = (nodes, inputs) =>
  makeModel({
    ...{ opset: 17, nodes, inputs: inputs.map((input) => makeValueInfo(...input)) },
    outputs: [makeValueInfo('y', 'float32')],
  });

/** Those that stay with onnxruntime. */
export const leftContrib = {
  'projections and a cache inside': makeModel({
    opset: 17,
    nodes: [
      makeNode('Attention', ['x', 'weights', 'bias', '', 'past'], ['y', 'present'], { num_heads: 3 }, theirs.domain),
    ],
    inputs: [...projected, floats('past', 2, 2, 3, 4, 8)].map((input) => makeValueInfo(...input)),
    outputs: ['y', 'present'].map((name) => makeValueInfo(name, 'float32')),
  }),
};

const attend = (...inputs) => makeNode('MultiHeadAttention', inputs, ['y'], { num_heads: 3 }, theirs.domain);
const projecting = (bias) => makeNode('Attention', ['x', 'weights', bias], ['y'], { num_heads: 3 }, theirs.domain);
const [qkv, q, kv] = [floats('qkv', 2, 5, 3, 3, 8), floats('q', 2, 5, 24), floats('kv', 2, 7, 3, 2, 8)];

/** Forms that onnxruntime has no kernel for on processors, or that end the process there; and the same in another form. */
export const packed = {
  'queries, keys and values': modelOf([attend('qkv')], [qkv]),
  'queries, keys and values, apart': modelOf(
    [...apart('qkv', ['q', 'k', 'v'], [2, 5, 24]), attend('q', 'k', 'v')],
    [qkv],
  ),
  'keys and values': modelOf([attend('q', 'kv')], [q, kv]),
  'keys and values, apart': modelOf([...apart('kv', ['k', 'v'], [2, 7, 24]), attend('q', 'k', 'v')], [q, kv]),
  'projections without a bias': modelOf([projecting('')], projected.slice(0, 2)),
  'projections without a bias, apart': modelOf(
    [
      makeNode('Constant', [], ['zeros'], { value: makeTensor('', 'float32', [72], new Float32Array(72)) }),
      projecting('zeros'),
    ],
    projected.slice(0, 2),
  ),
};
