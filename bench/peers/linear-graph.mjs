// Linear attention with decay as one writes it for onnxruntime: chunks as MatMul and Mul, and one MatMul that carries states from
// chunk to chunk. Reader: someone who asks what bench:linear compares with. Operands are chunked, [heads, chunks, chunk, dim].
import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';

/** Numbers [heads, ...dims] of a function of the head and the places. */
function table(decay, dims, of) {
  const [rows, columns] = dims;
  const data = new Float32Array(decay.length * rows * columns);
  decay.forEach((g, h) => {
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) data[(h * rows + i) * columns + j] = of(g, i, j);
  });
  return data;
}

/** The bytes of the graph (q, k, v) -> y. @param {{tokens: number, headDim: number, chunk: number, decay: Float32Array}} sizes */
export function linearGraph({ tokens, headDim, chunk, decay }) {
  const heads = decay.length;
  const chunks = tokens / chunk;
  const dims = [heads, chunks, chunk, headDim];
  const constants = {
    pairs: [[heads, 1, chunk, chunk], table(decay, [chunk, chunk], (g, i, j) => (j <= i ? Math.exp(g * (i - j)) : 0))],
    fromStart: [[heads, 1, chunk, 1], table(decay, [chunk, 1], (g, i) => Math.exp(g * (i + 1)))],
    toEnd: [[heads, 1, chunk, 1], table(decay, [chunk, 1], (g, i) => Math.exp(g * (chunk - 1 - i)))],
    carries: [
      [heads, chunks, chunks],
      table(decay, [chunks, chunks], (g, i, j) => (j < i ? Math.exp(g * chunk * (i - 1 - j)) : 0)),
    ],
  };
  const nodes = [
    makeNode('Transpose', ['k'], ['kT'], { perm: [0, 1, 3, 2] }),
    makeNode('MatMul', ['q', 'kT'], ['scores']),
    makeNode('Mul', ['scores', 'pairs'], ['weights']),
    makeNode('MatMul', ['weights', 'v'], ['inside']),
    makeNode('Mul', ['k', 'toEnd'], ['keys']),
    makeNode('Transpose', ['keys'], ['keysT'], { perm: [0, 1, 3, 2] }),
    makeNode('MatMul', ['keysT', 'v'], ['ends']),
    makeNode('Reshape', ['ends', 'flat'], ['flatEnds']),
    makeNode('MatMul', ['carries', 'flatEnds'], ['flatStates']),
    makeNode('Reshape', ['flatStates', 'square'], ['states']),
    makeNode('MatMul', ['q', 'states'], ['seen']),
    makeNode('Mul', ['seen', 'fromStart'], ['before']),
    makeNode('Add', ['inside', 'before'], ['y']),
  ];
  const shape = (name, ...axes) => makeTensor(name, 'int64', [axes.length], BigInt64Array.from(axes, BigInt));
  return makeModel({
    opset: 17,
    nodes,
    initializers: [
      ...Object.entries(constants).map(([name, [axes, data]]) => makeTensor(name, 'float32', axes, data)),
      shape('flat', heads, chunks, headDim * headDim),
      shape('square', heads, chunks, headDim, headDim),
    ],
    inputs: ['q', 'k', 'v'].map((name) => makeValueInfo(name, 'float32', dims)),
    outputs: [makeValueInfo('y', 'float32', dims)],
  }).bytes;
}
