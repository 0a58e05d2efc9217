// Sites that keep keys and values: what they read of their model, and what they leave to onnxruntime.
// Reader: someone whose decoder is listed with a reason. That the numbers are right is test/clients/onnxruntime/caches.mjs.

import { describe, expect, it } from 'vitest';
import { GraphView } from '../../dist/adapters/onnx/graph-view.js';
import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import type { Message } from '../../dist/adapters/onnx/message.js';
import { readModel } from '../../dist/adapters/onnx/model.js';
import { findSites } from '../../dist/adapters/onnx/sites/find.js';
import type { Site } from '../../dist/adapters/onnx/sites/site.js';
import { withKnownShapes } from '../../dist/adapters/onnxruntime/caches/known-shapes.js';
import { cut, type SwappedSite } from '../../dist/adapters/onnxruntime/segments/cut.js';

type Input = Parameters<typeof makeValueInfo>;

const past: Input[] = ['past_key', 'past_value'].map((name) => [name, 'float32', ['batch', 2, 'past', 16]]);
const rows = (name: string, heads: number): Input => [name, 'float32', ['batch', 'tokens', heads * 16]];
const inputs: Input[] = [
  ...[rows('q', 4), rows('k', 2), rows('v', 2), rows('qkv', 8), ...past],
  ...['cos', 'sin'].map((name): Input => [name, 'float32', [64, 8]]),
  ...[['seqlens_k', 'int32', ['batch']] as Input, ['total', 'int32', []] as Input],
  ['sinks', 'float32', [4]],
];

function modelOf(nodes: readonly Message[], outputs: readonly string[]) {
  const infos = (names: readonly string[]) => names.map((name) => makeValueInfo(name, 'float32'));
  const info = inputs.map((input) => makeValueInfo(...input));
  return readModel(makeModel({ opset: 21, nodes, inputs: info, outputs: infos(outputs) }).bytes);
}

describe('GroupQueryAttention', () => {
  const heads = { num_heads: 4, kv_num_heads: 2 };
  const usual = ['q', 'k', 'v', 'past_key', 'past_value', 'seqlens_k', 'total'];
  const outputs = ['y', 'present_key', 'present_value'];

  function siteOf(names: readonly string[], attributes = {}, read = outputs): Site {
    const node = makeNode('GroupQueryAttention', names, outputs, { ...heads, ...attributes }, 'com.microsoft');
    const sites = findSites(modelOf([node], read));
    expect(sites.length).toBe(1);
    return sites[0];
  }

  it('is causal, with its heads, its cache and what is turned', () => {
    const turned = { do_rotary: 1, rotary_interleaved: 1, local_window_size: 8 };
    expect(siteOf([...usual, 'cos', 'sin', '', '', 'sinks'], turned)).toMatchObject({
      ...{ kind: 'GroupQueryAttention', queryHeads: 4, kvHeads: 2, headDim: 16, valueDim: 16, mask: 'causal' },
      swap: {
        ...{ causal: true, window: 8, sinks: { value: 'sinks' } },
        cache: {
          past: { k: { value: 'past_key' }, v: { value: 'past_value' } },
          present: { k: { value: 'present_key' }, v: { value: 'present_value' } },
          counts: { lastPlaces: 'seqlens_k', total: 'total' },
          rotary: { cos: 'cos', sin: 'sin', isInterleaved: true },
        },
      },
    });
  });

  it('packed with its keys and values has them behind the heads of the queries', () => {
    const { swap, headDim } = siteOf(['qkv', '', '', ...usual.slice(3)]);
    expect(headDim).toBe(16);
    expect([swap!.q, swap!.k, swap!.v].map(({ part }) => part)).toEqual([
      { axis: 2, begin: 0, end: 64 },
      { axis: 2, begin: 64, end: 96 },
      { axis: 2, begin: 96, end: 128 },
    ]);
  });

  it('gives no present that nobody reads, and needs no past', () => {
    const { swap } = siteOf(['q', 'k', 'v', '', '', 'seqlens_k', 'total'], {}, ['y']);
    expect(swap!.cache).toMatchObject({ present: { k: { value: '' }, v: { value: '' } } });
    expect(swap!.cache).not.toHaveProperty('past');
  });

  it.each<[string, readonly string[], object, string]>([
    ['no lengths', usual.slice(0, 5), {}, 'it has no seqlens_k or total_sequence_length'],
    ['half a past', ['q', 'k', 'v', 'past_key', '', 'seqlens_k', 'total'], {}, 'it has one of past_key and past_value'],
    ['half of keys and values', ['q', 'k', '', ...usual.slice(3)], {}, 'it has one of key and value'],
    ['tables that are not there', usual, { do_rotary: 1 }, 'it has do_rotary and no cos_cache or sin_cache'],
    ['scales of a quantized cache', [...usual, ...Array(5).fill(''), 'sinks'], {}, 'it has k_scale'],
    ['an attribute of quantized caches', usual, { k_quant_type: 'PER_TENSOR' }, 'it has k_quant_type'],
  ])('%s: onnxruntime runs it', (_, names, attributes, reason) => {
    expect(siteOf(names, attributes)).toMatchObject({ reason });
  });

  it('is cut out whole: onnxruntime sees neither past nor present', () => {
    const model = modelOf(
      [
        makeNode('Neg', ['q'], ['n']),
        makeNode('GroupQueryAttention', ['n', ...usual.slice(1)], ['a', ...outputs.slice(1)], heads, 'com.microsoft'),
        makeNode('Neg', ['a'], ['y']),
      ],
      outputs,
    );
    const stages = cut(new GraphView(model), findSites(model) as SwappedSite[]);
    expect(stages.map(({ segment, sites }) => [segment?.needs, segment?.gives, sites.length])).toEqual([
      [['q'], ['n'], 1],
      [['a'], ['y'], 0],
    ]);
  });
});

describe('Attention and MultiHeadAttention', () => {
  const whole = { present: { k: { value: 'present_key' }, v: { value: 'present_value' } } };
  const outputs = ['y', 'present_key', 'present_value'];

  it.each<[string, readonly string[], object, string]>([
    ['Attention', ['q', 'k', 'v', '', 'past_key', 'past_value'], { q_num_heads: 4, kv_num_heads: 2 }, ''],
    ['MultiHeadAttention', ['k', 'k', 'v', '', '', '', 'past_key', 'past_value'], { num_heads: 2 }, 'com.microsoft'],
  ])('%s keeps what it is fed and gives', (op, names, attributes, domain) => {
    const [site] = findSites(modelOf([makeNode(op, names, outputs, attributes as never, domain)], outputs));
    const past = { k: { value: 'past_key' }, v: { value: 'past_value' } };
    expect(site).toMatchObject({ kind: op, kvHeads: 2, headDim: 16, swap: { cache: { past, ...whole } } });
  });

  it('a present without a past is kept; without either there is no cache', () => {
    const cacheOf = (read: readonly string[]) => {
      const node = makeNode('Attention', ['q', 'k', 'v'], outputs, { q_num_heads: 4, kv_num_heads: 2 });
      return findSites(modelOf([node], read))[0].swap!.cache;
    };
    expect(cacheOf(outputs)).toMatchObject(whole);
    expect(cacheOf(outputs)).not.toHaveProperty('past');
    expect(cacheOf(['y'])).toBeUndefined();
  });
});

describe('attention in pieces', () => {
  const constants = { two: [2], three: [3], zero: [0], more: [1, 2, 2, 5, 16], heads: [0, 4, -1, 16] };
  const nodes = [
    makeNode('Transpose', ['rows_k'], ['k'], { perm: [0, 2, 1, 3] }),
    ...(['k', 'v'] as const).flatMap((name) => [
      makeNode('Concat', [`past_${name}`, name], [`present_${name}`], { axis: -2 }),
      makeNode('Unsqueeze', [`present_${name}`, 'two'], [`${name}_one`]),
      makeNode('Expand', [`${name}_one`, 'more'], [`${name}_more`]),
      makeNode('Reshape', [`${name}_more`, 'heads'], [`${name}_all`]),
    ]),
    makeNode('Transpose', ['k_all'], ['kT'], { perm: [0, 1, 3, 2] }),
    makeNode('MatMul', ['q4', 'kT'], ['scores']),
    makeNode('Shape', ['kT'], ['dims'], { start: -1 }),
    makeNode('Slice', ['mask', 'zero', 'dims', 'three'], ['cut']),
    makeNode('Add', ['scores', 'cut'], ['masked']),
    makeNode('Softmax', ['masked'], ['p'], { axis: -1 }),
    makeNode('MatMul', ['p', 'v_all'], ['y']),
  ];
  const four = (name: string, heads: number, tokens: string): Input => [name, 'float32', ['batch', heads, tokens, 16]];
  const fed: Input[] = [
    ...[four('q4', 4, 'tokens'), four('v', 2, 'tokens'), four('past_k', 2, 'past'), four('past_v', 2, 'past')],
    ...[
      ['rows_k', 'float32', ['batch', 'tokens', 2, 16]] as Input,
      ['mask', 'float32', [1, 1, 'tokens', 'all']] as Input,
    ],
  ];

  function modelWith(more: readonly Message[], outputs: readonly string[]) {
    const initializers = Object.entries(constants).map(([name, numbers]) =>
      makeTensor(name, 'int64', [numbers.length], BigInt64Array.from(numbers, BigInt)),
    );
    const [infos, results] = [fed.map((input) => makeValueInfo(...input)), outputs.map((name) => makeValueInfo(name))];
    return readModel(
      makeModel({ opset: 17, nodes: [...nodes, ...more], initializers, inputs: infos, outputs: results }).bytes,
    );
  }

  const presents = ['y', 'present_k', 'present_v'];

  it('is read in front of the cache and of the heads that repeat', () => {
    const [site] = findSites(modelWith([], presents));
    expect(site).toMatchObject({
      ...{ queryHeads: 4, kvHeads: 2, headDim: 16 },
      swap: {
        k: { value: 'rows_k', order: [0, 2, 1, 3] },
        v: { value: 'v', order: [0, 1, 2, 3] },
        cache: {
          past: { k: { value: 'past_k' }, v: { value: 'past_v' } },
          present: { k: { value: 'present_k' }, v: { value: 'present_v' } },
        },
      },
    });
  });

  it('crosses to onnxruntime neither repeated nor with its past: lengths are told', () => {
    const model = modelWith([], presents);
    const sites = findSites(model) as SwappedSite[];
    const { view, shapes } = withKnownShapes({ model, view: new GraphView(model) }, sites);
    expect(shapes).toEqual([{ name: 'past_k#dims', past: 'past_k' }]);
    const stages = cut(view, sites);
    expect(
      stages.map(({ segment, sites: after }) => [segment?.needs.toSorted(), segment?.gives, after.length]),
    ).toEqual([
      [['k', 'mask', 'past_k#dims'].map((name) => (name === 'k' ? 'rows_k' : name)).toSorted(), ['cut'], 1],
      [undefined, undefined, 0],
    ]);
    expect(stages[0].segment!.nodes.map(({ op }) => op)).not.toContain('Expand');
  });

  it('with keys that are read elsewhere has its cache put together by onnxruntime', () => {
    const [site] = findSites(modelWith([makeNode('Neg', ['present_k'], ['z'])], [...presents, 'z']));
    expect(site.swap).not.toHaveProperty('cache');
    expect(site).toMatchObject({ kvHeads: 2, swap: { k: { value: 'present_k' }, v: { value: 'present_v' } } });
  });
});
