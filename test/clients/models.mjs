// Models for the clients that run models: weights beside a model, and the operators that attention() takes the place of.
// Reader: someone who adds an operator. Graphs are made by lib/adapters/onnx; sizes are small, and no two are alike.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { externalEntries } from '../../dist/adapters/onnx/external.js';
import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { readModel } from '../../dist/adapters/onnx/model.js';
import { externalLocation, graphFields, modelFields, tensorFields } from '../../dist/adapters/onnx/numbers.js';
import { bytesField, integerField } from '../../dist/adapters/onnx/wire.js';
import { contrib, leftContrib, packed } from './contrib.mjs';
import { failures } from './failures.mjs';
import { randomForms } from './forms.mjs';
import { floats, single } from './single.mjs';

const keysAndValues = [floats('k', 2, 7, 3, 8), floats('v', 2, 3, 7, 6)];

/** softmax(q·kᵀ/8 masked) v in pieces, with masks as `masking` makes `s` of `scores`. */
function decomposed(masking, masks, [k, v] = keysAndValues, q = floats('q', 2, 3, 5, 8)) {
  const nodes = [
    makeNode('Transpose', ['k'], ['kT'], { perm: [0, 2, 3, 1] }),
    makeNode('MatMul', ['q', 'kT'], ['products']),
    makeNode('Div', ['products', 'eight'], ['scores']),
    ...masking,
    makeNode('Softmax', ['s'], ['p'], { axis: -1 }),
    makeNode('MatMul', ['p', 'v'], ['a']),
    makeNode('Transpose', ['a'], ['b'], { perm: [0, 2, 1, 3] }),
    makeNode('Neg', ['b'], ['y']),
  ];
  const inputs = [q, k, v, ...masks];
  const constants = [
    makeTensor('eight', 'float32', [], Float32Array.of(8)),
    makeTensor('low', 'float32', [], Float32Array.of(-1e9)),
    makeTensor('near', 'float32', [], Float32Array.of(-1e4)),
    makeTensor('lowest', 'float32', [], Float32Array.of(-(2 ** 128 - 2 ** 104))),
    makeTensor('tiny', 'float32', [], Float32Array.of(1e-9)),
  ];
  const infos = inputs.map((input) => makeValueInfo(...input));
  return makeModel({
    opset: 17,
    nodes,
    initializers: constants,
    inputs: infos,
    outputs: [makeValueInfo('y', 'float32')],
  });
}

const seen = ['seen', 'bool', [2, 1, 5, 7]];
const bias = floats('bias', 2, 1, 5, 7);
const where = (scores, hidden, output) => makeNode('Where', ['seen', scores, hidden], [output]);

const counted = [
  ...[floats('q', 2, 4, 5, 8), floats('k', 2, 4, 7, 8), floats('v', 2, 4, 7, 8)],
  ...[undefined, undefined, undefined, ['lengths', 'int64', [2]]],
];

/** Attention that is swapped. */
const operators = {
  ...contrib,
  'attention of four axes': single(
    'Attention',
    [floats('q', 2, 4, 5, 8), floats('k', 2, 2, 7, 8), floats('v', 2, 2, 7, 6)],
    {
      is_causal: 1,
      scale: 0.3,
    },
  ),
  'attention of three axes, with softcap and a mask': single(
    'Attention',
    [floats('q', 2, 5, 32), floats('k', 2, 7, 16), floats('v', 2, 7, 12), ['mask', 'bool', [5, 7]]],
    { q_num_heads: 4, kv_num_heads: 2, softcap: 0.5 },
  ),
  'attention with counted keys': single('Attention', counted, {}, { opset: 24 }),
  'attention with counted keys, causal': single('Attention', counted, { is_causal: 1 }, { opset: 24 }),
  'attention with counted keys and a mask': single(
    'Attention',
    counted.with(3, ['mask', 'bool', [2, 1, 5, 7]]),
    { is_causal: 1 },
    { opset: 24 },
  ),
  'attention, causal, with a mask and a softmax in float32': single(
    'Attention',
    [floats('q', 2, 4, 5, 8), floats('k', 2, 4, 7, 8), floats('v', 2, 4, 7, 8), ['mask', 'bool', [5, 7]]],
    { is_causal: 1, softmax_precision: 1, qk_matmul_output_mode: 2 },
  ),
  'attention with a bias': single(
    'Attention',
    [floats('q', 2, 4, 5, 8), floats('k', 2, 4, 7, 8), floats('v', 2, 4, 7, 8), floats('bias', 1, 4, 5, 7)],
    {},
  ),
  'pieces, with an added mask': decomposed([makeNode('Add', ['scores', 'bias'], ['s'])], [bias]),
  'pieces, shown where true': decomposed([where('scores', 'low', 's')], [seen]),
  'pieces, hidden where true': decomposed([makeNode('Where', ['seen', 'low', 'scores'], ['s'])], [seen]),
  'pieces, -10000 where not shown': decomposed([where('scores', 'near', 's')], [seen]),
  'pieces, shown where true and with an added mask': decomposed(
    [where('scores', 'lowest', 't'), makeNode('Add', ['t', 'bias'], ['s'])],
    [seen, bias],
  ),
  'pieces, shown where true and with one that hides': decomposed(
    [where('scores', 'lowest', 't'), makeNode('Add', ['t', 'hiding'], ['s'])],
    [seen, floats('hiding', 2, 1, 5, 7)],
  ),
  'pieces, with an added mask that hides, shown where true': decomposed(
    [makeNode('Add', ['scores', 'hiding'], ['t']), where('t', 'lowest', 's')],
    [seen, floats('hiding', 1, 3, 1, 7)],
  ),
  'pieces, keys of one batch entry for all': decomposed(
    [makeNode('Identity', ['scores'], ['s'])],
    [],
    [floats('k', 1, 7, 3, 8), floats('v', 1, 3, 7, 6)],
  ),
  'pieces, keys of one head for all': decomposed(
    [makeNode('Identity', ['scores'], ['s'])],
    [],
    [floats('k', 2, 7, 1, 8), floats('v', 2, 3, 7, 6)],
  ),
};

/** Where `seen` is true decides how many numbers cross the cut, and the output has. */
operators['attention of which numbers are picked'] = makeModel({
  opset: 23,
  nodes: [
    makeNode('NonZero', ['seen'], ['found']),
    makeNode('Reshape', ['found', 'all'], ['places']),
    makeNode('Attention', ['q', 'k', 'v'], ['a']),
    makeNode('Reshape', ['a', 'all'], ['numbers']),
    makeNode('Gather', ['numbers', 'places'], ['y']),
  ],
  initializers: [makeTensor('all', 'int64', [1], BigInt64Array.of(-1n))],
  inputs: [
    ...['q', 'k', 'v'].map((name) => makeValueInfo(name, 'float32', [2, 3, 5, 8])),
    makeValueInfo('seen', 'bool', [12]),
  ],
  outputs: [makeValueInfo('y', 'float32')],
});

/** Operators that stay with onnxruntime. */
const left = {
  ...leftContrib,
  'a mask in front of a factor': decomposed(
    [where('scores', 'low', 't'), makeNode('Mul', ['t', 'tiny'], ['s'])],
    [seen],
  ),
  'two masks, one of -10000': decomposed(
    [where('scores', 'near', 't'), makeNode('Add', ['t', 'bias'], ['s'])],
    [seen, bias],
  ),
  // A list of tensors crosses the cut, which a model's inputs cannot say.
  'a sequence around it': makeModel({
    opset: 23,
    nodes: [
      makeNode('SplitToSequence', ['q'], ['parts'], { axis: 3, keepdims: 1 }),
      makeNode('Attention', ['q', 'k', 'v'], ['a']),
      makeNode('SequenceInsert', ['parts', 'a'], ['more']),
      makeNode('SequenceAt', ['more', 'first'], ['b']),
      makeNode('Add', ['a', 'b'], ['y']),
    ],
    initializers: [makeTensor('first', 'int64', [], BigInt64Array.of(0n))],
    inputs: ['q', 'k', 'v'].map((name) => makeValueInfo(name, 'float32', [2, 3, 5, 8])),
    outputs: [makeValueInfo('y', 'float32')],
  }),
};

/** Models that onnxruntime does not run. */
const refused = {
  'an operator of nobody': makeModel({
    opset: 23,
    nodes: [
      makeNode('Frobnicate', ['q'], ['p'], {}, 'nobody'),
      makeNode('Attention', ['p', 'k', 'v'], ['y'], { q_num_heads: 2, kv_num_heads: 2 }),
    ],
    inputs: ['q', 'k', 'v'].map((name) => makeValueInfo(name, 'float32', [1, 'tokens', 16])),
    outputs: [makeValueInfo('y', 'float32')],
  }),
};

/** Lengths of inputs that have one name, and need not be equal: onnxruntime does not ask. */
const named = decomposed(
  [makeNode('Identity', ['scores'], ['s'])],
  [],
  [floats('k', 'batch', 'tokens', 3, 8), floats('v', 'batch', 3, 'tokens', 6)],
  floats('q', 'batch', 3, 'tokens', 8),
);

/** A model with its weights in a file beside it. */
function splitWeights(source, folder) {
  const { graph, message } = readModel(readFileSync(source));
  const chunks = [];
  let end = 0;
  const initializers = graph.initializers.map((tensor) => {
    const { buffer } = tensor.data();
    chunks.push(new Uint8Array(buffer));
    const offset = end;
    end += buffer.byteLength;
    return tensor.message.with({
      ...Object.fromEntries(['rawData', 'floatData', 'int32Data', 'int64Data'].map((name) => [tensorFields[name], []])),
      [tensorFields.dataLocation]: [integerField(tensorFields.dataLocation, externalLocation)],
      [tensorFields.externalData]: externalEntries({ location: 'external.data', offset, length: buffer.byteLength }),
    });
  });
  const inner = graph.message.with({
    [graphFields.initializer]: initializers.map(({ bytes }) => bytesField(graphFields.initializer, bytes)),
  });
  writeFileSync(path.join(folder, 'external.data'), Buffer.concat(chunks));
  return message.with({ [modelFields.graph]: [bytesField(modelFields.graph, inner.bytes)] });
}

/** A model of which the weights, beside it, are 2.56 GB: rows that ids pick are the queries, keys and values. */
function largeModel() {
  const rows = [10_000_000, 64];
  const table = makeTensor('table', 'float32', rows, new Float32Array(0)).with({
    [tensorFields.rawData]: [],
    [tensorFields.dataLocation]: [integerField(tensorFields.dataLocation, externalLocation)],
    [tensorFields.externalData]: externalEntries({ location: 'large.data', offset: 0, length: 2_560_000_000 }),
  });
  return makeModel({
    opset: 23,
    nodes: [
      makeNode('Gather', ['table', 'ids'], ['picked']),
      makeNode('Reshape', ['picked', 'dims'], ['x']),
      makeNode('Attention', ['x', 'x', 'x'], ['a'], { q_num_heads: 4, kv_num_heads: 4 }),
      makeNode('Neg', ['a'], ['y']),
    ],
    initializers: [table, makeTensor('dims', 'int64', [3], BigInt64Array.of(1n, -1n, 64n))],
    inputs: [makeValueInfo('ids', 'int64', [1, 'tokens'])],
    outputs: [makeValueInfo('y', 'float32')],
  });
}

/** A model of two attentions: rows of one table, of 1 MB, are looked up before, between and behind them. */
function sharedModel() {
  const table = Float32Array.from({ length: 4096 * 64 }, (_, i) => Math.sin(i));
  const layer = (x, a) => makeNode('Attention', [x, x, x], [a], { q_num_heads: 4, kv_num_heads: 4 });
  return makeModel({
    opset: 23,
    nodes: [
      makeNode('Gather', ['table', 'ids'], ['x']),
      layer('x', 'a'),
      makeNode('Gather', ['table', 'others'], ['picked']),
      makeNode('Mul', ['a', 'picked'], ['b']),
      makeNode('ReduceMax', ['a'], ['most'], { keepdims: 0 }),
      makeNode('Cast', ['most'], ['place'], { to: 7 }),
      makeNode('Gather', ['table', 'place'], ['row']),
      makeNode('Add', ['b', 'row'], ['sum']),
      makeNode('MatMul', ['sum', 'square'], ['c']),
      layer('c', 'd'),
      makeNode('ReduceMin', ['d'], ['least'], { keepdims: 0 }),
      makeNode('Cast', ['least'], ['last'], { to: 7 }),
      makeNode('Gather', ['table', 'last'], ['added']),
      makeNode('Add', ['d', 'added'], ['y']),
    ],
    initializers: [
      makeTensor('table', 'float32', [4096, 64], table),
      makeTensor('square', 'float32', [64, 64], table.subarray(0, 64 * 64)),
    ],
    inputs: ['ids', 'others'].map((name) => makeValueInfo(name, 'int64', [1, 'tokens'])),
    outputs: [makeValueInfo('y', 'float32')],
  });
}

/** Writes the models into a folder. @param source a model whose weights are put beside it */
export function writeModels(folder, source) {
  for (const [kind, all] of Object.entries({ operators, left, packed, refused, failures, forms: randomForms() })) {
    mkdirSync(path.join(folder, kind), { recursive: true });
    for (const [name, model] of Object.entries(all))
      writeFileSync(path.join(folder, kind, `${name}.onnx`), model.bytes);
  }
  writeFileSync(path.join(folder, 'named.onnx'), named.bytes);
  const external = splitWeights(source, folder).bytes;
  writeFileSync(path.join(folder, 'large.onnx'), largeModel().bytes);
  writeFileSync(path.join(folder, 'shared.onnx'), sharedModel().bytes);
  writeFileSync(path.join(folder, 'external.onnx'), external);
  mkdirSync(path.join(folder, 'elsewhere'), { recursive: true });
  writeFileSync(path.join(folder, 'elsewhere', 'no weights.onnx'), external);
}
