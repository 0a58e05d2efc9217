// Models that keep keys and values from run to run, one layer each. Reader: someone who adds a form of a decoder.
// Names of inputs and of lengths are the same in all, so that one program feeds them: see onnxruntime/caches.mjs.

import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';

const [heads, kvHeads, dim, positions] = [4, 2, 32, 64];
const pastOf = (type = 'float32', of = kvHeads) =>
  ['past_key', 'past_value'].map((name) => [name, type, ['batch', of, 'past', dim]]);
const rows = (name, width) => [name, 'float32', ['batch', 'tokens', width]];
const operands = (keyHeads = kvHeads) => [rows('q', heads * dim), rows('k', keyHeads * dim), rows('v', keyHeads * dim)];
const outputs = ['y', 'present_key', 'present_value'];

/** A model of these nodes; q is what Neg makes of the input, and y what it makes of `a`, so that there is something to cut. */
function model(opset, nodes, inputs, initializers = [], presentType = 'float32') {
  return makeModel({
    opset,
    nodes: [makeNode('Neg', ['q'], ['negative']), ...nodes, makeNode('Neg', ['a'], ['y'])],
    initializers,
    inputs: inputs.map((input) => makeValueInfo(...input)),
    outputs: outputs.map((name) => makeValueInfo(name, name === 'y' ? 'float32' : presentType)),
  });
}

/** Cosines or sines of 10000^(-2i / turned) times the position. */
function table(name, of, turned = dim) {
  const numbers = Array.from({ length: (positions * turned) / 2 }, (_, at) => {
    const [position, i] = [Math.floor(at / (turned / 2)), at % (turned / 2)];
    return of(position * 10000 ** ((-2 * i) / turned));
  });
  return makeTensor(name, 'float32', [positions, turned / 2], Float32Array.from(numbers));
}
const tables = [table('cos', Math.cos), table('sin', Math.sin)];

const counted = [
  ['seqlens_k', 'int32', ['batch']],
  ['total', 'int32', []],
];

/** @param more names of the inputs from cos_cache on, and what the model needs for them */
function groupQuery(attributes = {}, { names = [], infos = [], initializers = [], inputs = operands() } = {}) {
  const given = inputs.length > 1 ? ['negative', 'k', 'v'] : ['negative', '', ''];
  const all = [...given, 'past_key', 'past_value', 'seqlens_k', 'total', ...names];
  const node = makeNode(
    'GroupQueryAttention',
    all,
    ['a', ...outputs.slice(1)],
    { num_heads: heads, kv_num_heads: kvHeads, ...attributes },
    'com.microsoft',
  );
  return model(21, [node], [...inputs, ...pastOf(), ...counted, ...infos], initializers);
}

/** float16 inside; casts are around it. @param more inputs from cos_cache on, each of which is cast */
function halfGroupQuery(attributes, more, infos, initializers) {
  const casts = ['negative', 'k', 'v', ...more.filter((name) => name !== '')].map((name) =>
    makeNode('Cast', [name], [`${name}16`], { to: 10 }),
  );
  const node = makeNode(
    'GroupQueryAttention',
    [
      ...['negative16', 'k16', 'v16', 'past_key', 'past_value', 'seqlens_k', 'total'],
      ...more.map((name) => name && `${name}16`),
    ],
    ['a16', ...outputs.slice(1)],
    { num_heads: heads, kv_num_heads: kvHeads, ...attributes },
    'com.microsoft',
  );
  const nodes = [...casts, node, makeNode('Cast', ['a16'], ['a'], { to: 1 })];
  return model(21, nodes, [...operands(), ...pastOf('float16'), ...counted, ...infos], initializers, 'float16');
}

const whole = (name, ...numbers) => makeTensor(name, 'int64', [numbers.length], BigInt64Array.from(numbers, BigInt));

/** [batch, tokens, heads * dim] as [batch, heads, tokens, dim]. */
const split = (from, to, count) => [
  makeNode('Reshape', [from, `${count} heads`], [`${to}_rows`]),
  makeNode('Transpose', [`${to}_rows`], [to], { perm: [0, 2, 1, 3] }),
];

/** Each KV head as often as query heads read it, as transformers writes it; lengths come from the value itself. */
const repeat = (from, to) => [
  makeNode('Shape', [from], [`${to}_dims`]),
  makeNode('Gather', [`${to}_dims`, 'batch and tokens'], [`${to}_some`]),
  makeNode('Split', [`${to}_some`, 'one each'], [`${to}_batch`, `${to}_keys`], { axis: 0 }),
  makeNode('Concat', [`${to}_batch`, 'kv heads', 'times', `${to}_keys`, 'dim'], [`${to}_spread`], { axis: 0 }),
  makeNode('Concat', [`${to}_batch`, 'query heads', `${to}_keys`, 'dim'], [`${to}_shape`], { axis: 0 }),
  makeNode('Unsqueeze', [from, 'two'], [`${to}_more`]),
  makeNode('Expand', [`${to}_more`, `${to}_spread`], [`${to}_all`]),
  makeNode('Reshape', [`${to}_all`, `${to}_shape`], [to]),
];

const eagerConstants = [
  whole(`${heads} heads`, 0, 0, heads, dim),
  whole(`${kvHeads} heads`, 0, 0, kvHeads, dim),
  ...[whole('batch and tokens', 0, 2), whole('one each', 1, 1), whole('kv heads', kvHeads), whole('dim', dim)],
  ...[
    whole('times', heads / kvHeads),
    whole('query heads', heads),
    whole('zero', 0),
    whole('two', 2),
    whole('three', 3),
  ],
  makeTensor('root', 'float32', [], Float32Array.of(Math.sqrt(dim))),
  makeTensor('lowest', 'float32', [], Float32Array.of(-(2 ** 128 - 2 ** 104))),
];

/** The mask is added, or is true where a key is shown, and the lowest number is put in the place of other scores. */
const maskings = {
  float32: [makeNode('Add', ['scores', 'mask'], ['masked'])],
  bool: [makeNode('Where', ['mask', 'scores', 'lowest'], ['masked'])],
};

/**
 * Attention in pieces. The past is asked how long it is, and the mask is cut to the length of the repeated keys.
 * @param keyHeads as many as queries have: nothing is repeated
 */
function eager(keyHeads, hiding) {
  const isRepeated = keyHeads !== heads;
  const nodes = [
    ...split('negative', 'query', heads),
    ...split('k', 'fresh_key', keyHeads),
    ...split('v', 'fresh_value', keyHeads),
    makeNode('Concat', ['past_key', 'fresh_key'], ['present_key'], { axis: -2 }),
    makeNode('Concat', ['past_value', 'fresh_value'], ['present_value'], { axis: 2 }),
    ...(isRepeated ? [...repeat('present_key', 'keys'), ...repeat('present_value', 'values')] : []),
    makeNode('Shape', [isRepeated ? 'keys' : 'present_key'], ['key_dims']),
    makeNode('Gather', ['key_dims', 'two'], ['length']),
    makeNode('Slice', [hiding[0], 'zero', 'length', 'three'], ['mask']),
    makeNode('Transpose', [isRepeated ? 'keys' : 'present_key'], ['keysT'], { perm: [0, 1, 3, 2] }),
    makeNode('MatMul', ['query', 'keysT'], ['products']),
    makeNode('Div', ['products', 'root'], ['scores']),
    ...maskings[hiding[1]],
    makeNode('Softmax', ['masked'], ['weights'], { axis: -1 }),
    makeNode('MatMul', ['weights', isRepeated ? 'values' : 'present_value'], ['rows']),
    makeNode('Transpose', ['rows'], ['inOrder'], { perm: [0, 2, 1, 3] }),
    // How many tokens there were is a number that a model goes on with.
    makeNode('Shape', ['past_key'], ['past_dims']),
    makeNode('Gather', ['past_dims', 'two'], ['past_length']),
    makeNode('Cast', ['past_length'], ['past_number'], { to: 1 }),
    makeNode('Add', ['inOrder', 'past_number'], ['a']),
  ];
  return model(17, nodes, [...operands(keyHeads), ...pastOf('float32', keyHeads), hiding], eagerConstants);
}

/** @param given names of all inputs, the past among them */
const single = (op, given, attributes, infos, { domain = '', keyHeads = kvHeads } = {}) =>
  model(
    23,
    [makeNode(op, given, ['a', ...outputs.slice(1)], attributes, domain)],
    [...operands(keyHeads), ...pastOf('float32', keyHeads), ...infos],
  );
const grouped = { q_num_heads: heads, kv_num_heads: kvHeads };
const ms = { domain: 'com.microsoft', keyHeads: heads };

const turned = { names: ['cos', 'sin'], initializers: tables };

const models = {
  'group query': groupQuery(),
  'group query, rotary': groupQuery({ do_rotary: 1 }, turned),
  'group query, rotary of a half, interleaved': groupQuery(
    { do_rotary: 1, rotary_interleaved: 1 },
    { names: ['cos', 'sin'], initializers: [table('cos', Math.cos, dim / 2), table('sin', Math.sin, dim / 2)] },
  ),
  'group query, packed, rotary': groupQuery(
    { do_rotary: 1 },
    { ...turned, inputs: [rows('q', (heads + 2 * kvHeads) * dim)] },
  ),
  'group query, positions': groupQuery(
    { do_rotary: 1 },
    { ...turned, names: ['cos', 'sin', 'positions'], infos: [['positions', 'int64', ['batch', 'tokens']]] },
  ),
  'group query, window, softcap, scale': groupQuery({ local_window_size: 4, softcap: 0.7, scale: 0.3 }),
  'group query, smooth': groupQuery({ smooth_softmax: 1 }),
  'group query, sinks': groupQuery({}, { names: ['', '', '', '', 'sinks'], infos: [['sinks', 'float32', [heads]]] }),
  'group query, bias': groupQuery(
    {},
    { names: ['', '', '', 'bias'], infos: [['bias', 'float32', [1, heads, 'tokens', 'total']]] },
  ),
  'group query, float16': halfGroupQuery({ do_rotary: 1 }, ['cos', 'sin'], [], tables),
  'group query, float16, sinks': halfGroupQuery({}, ['', '', '', '', 'sinks'], [['sinks', 'float32', [heads]]], []),
  'attention, causal': single(
    'Attention',
    ['negative', 'k', 'v', '', 'past_key', 'past_value'],
    { ...grouped, is_causal: 1 },
    [],
  ),
  'attention, ordered by a mask': single(
    'Attention',
    ['negative', 'k', 'v', 'order', 'past_key', 'past_value'],
    { ...grouped, softcap: 2.5 },
    [['order', 'bool', ['tokens', 'total']]],
  ),
  'multi-head, causal': single(
    'MultiHeadAttention',
    ['negative', 'k', 'v', '', '', '', 'past_key', 'past_value'],
    { num_heads: heads, unidirectional: 1 },
    [],
    ms,
  ),
  'multi-head, projection bias and numbers added': single(
    'MultiHeadAttention',
    ['negative', 'k', 'v', 'shift', '', 'bias', 'past_key', 'past_value'],
    { num_heads: heads, scale: 0.3 },
    [
      ['shift', 'float32', [3 * heads * dim]],
      ['bias', 'float32', [1, heads, 'tokens', 'total']],
    ],
    ms,
  ),
  'in pieces, keys repeated': eager(kvHeads, ['hiding', 'float32', [1, 1, 'tokens', 'total']]),
  'in pieces': eager(heads, ['hiding', 'float32', ['batch', 1, 'tokens', 'total']]),
  'in pieces, scores replaced': eager(kvHeads, ['shown', 'bool', ['batch', 1, 'tokens', 'total']]),
};

/** Writes the models into a folder. */
export function writeCacheModels(folder) {
  mkdirSync(folder, { recursive: true });
  for (const [name, { bytes }] of Object.entries(models)) writeFileSync(path.join(folder, `${name}.onnx`), bytes);
}
