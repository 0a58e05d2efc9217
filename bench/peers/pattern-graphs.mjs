// onnxruntime's ways to compute a pattern: an operator with block lists, and dense ones with a mask.
// Reader: someone who adds a peer. As graphs.mjs; a shape here has a `pattern`, see patterns.mjs.

import { makeNode, makeTensor } from '../../dist/adapters/onnx/make.js';
import { graphOf, HEADS_FIRST, TOKENS_FIRST } from './graphs.mjs';
import { additiveMask, s2Rows } from './patterns.mjs';

/** Graphs with the additive mask as one more input. Masks of long sequences are gigabytes: those go without. */
function masked({ opset, layout, nodes, constants }) {
  return (shape) => {
    if (shape.dtype !== 'float32' || shape.keys > 8192) return null;
    const { dims, data } = additiveMask(shape);
    const inputs = [{ name: 'mask', type: 'float32', dims, value: data }];
    return graphOf({ opset, layout, nodes: nodes(shape), constants: constants?.(shape), inputs })(shape);
  };
}

const maskedAttention = masked({
  opset: 23,
  layout: HEADS_FIRST,
  nodes: () => [makeNode('Attention', ['q', 'k', 'v', 'mask'], ['y'])],
});

const maskedMultiHeadAttention = masked({
  opset: 17,
  layout: TOKENS_FIRST,
  nodes: ({ heads }) => [
    makeNode('MultiHeadAttention', ['q', 'k', 'v', '', '', 'mask'], ['y'], { num_heads: heads }, 'com.microsoft'),
  ],
});

const maskedMatmuls = masked({
  opset: 17,
  layout: HEADS_FIRST,
  nodes: () => [
    makeNode('Transpose', ['k'], ['kT'], { perm: [0, 1, 3, 2] }),
    makeNode('Mul', ['q', 'scale'], ['scaled']),
    makeNode('MatMul', ['scaled', 'kT'], ['scores']),
    makeNode('Add', ['scores', 'mask'], ['masked']),
    makeNode('Softmax', ['masked'], ['p'], { axis: -1 }),
    makeNode('MatMul', ['p', 'v'], ['y']),
  ],
  constants: ({ headDim }) => [makeTensor('scale', 'float32', [1], Float32Array.of(1 / Math.sqrt(headDim)))],
});

/**
 * The operator for Phi-3-small. Its caches must be the same memory before and after, so the outputs that hold them are
 * given the inputs' tensors: `shared` names the pairs. Here the whole sequence is new and the caches start empty.
 */
function sparseAttention(shape) {
  const { heads, kvHeads, keys, headDim, dtype, pattern } = shape;
  if (pattern.kind !== 's2') return null;
  const { rowOffsets, columns } = s2Rows(shape);
  const cache = (name) => ({ name, type: dtype, dims: [1, kvHeads, keys, headDim] });
  const blank = (name) => {
    const { dims } = cache(name);
    const size = dims.reduce((a, b) => a * b, 1);
    return { ...cache(name), value: dtype === 'float32' ? new Float32Array(size) : new Uint16Array(size) };
  };
  const list = (name, { data, dims }) => ({ name, type: 'int32', dims, value: data });
  const names = ['pastK', 'pastV', 'rows', 'columns', 'total', 'lengths'];
  const attributes = { num_heads: heads, kv_num_heads: kvHeads, sparse_block_size: pattern.blockSize };
  const graph = graphOf({
    opset: 17,
    layout: TOKENS_FIRST,
    nodes: [
      makeNode(
        'SparseAttention',
        ['q', 'k', 'v', ...names],
        ['y', 'presentK', 'presentV'],
        attributes,
        'com.microsoft',
      ),
    ],
    inputs: [
      blank('pastK'),
      blank('pastV'),
      list('rows', rowOffsets),
      list('columns', columns),
      { name: 'total', type: 'int32', dims: [1], value: Int32Array.of(keys) },
      { name: 'lengths', type: 'int32', dims: [1], value: Int32Array.of(keys) },
    ],
    outputs: [cache('presentK'), cache('presentV')],
  })(shape);
  return { ...graph, shared: { presentK: 'pastK', presentV: 'pastV' } };
}

/** name -> (shape) => graph, or null where the peer has no such computation. */
export const patternGraphs = {
  SparseAttention: sparseAttention,
  'Attention-23 with mask': maskedAttention,
  'MultiHeadAttention with mask': maskedMultiHeadAttention,
  'MatMul-Add-Softmax-MatMul': maskedMatmuls,
};
