// Sites that keep keys and values: what they read of their model, and what they leave to onnxruntime.
// Reader: someone whose decoder is listed with a reason. That the numbers are right is test/clients/onnxruntime/caches.mjs.

import { describe, expect, it } from 'vitest';
import { GraphView } from '../../dist/adapters/onnx/graph-view.js';
import { makeModel, makeNode, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import type { Message } from '../../dist/adapters/onnx/message.js';
import { readModel } from '../../dist/adapters/onnx/model.js';
import { findSites } from '../../dist/adapters/onnx/sites/find.js';
import type { Site } from '../../dist/adapters/onnx/sites/site.js';
import { cut, type SwappedSite } from '../../dist/adapters/onnxruntime/cut.js';

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
