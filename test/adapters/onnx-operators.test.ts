// Attention as one operator: what its inputs and attributes mean, and what keeps it with onnxruntime.
// Reader: someone who adds an operator, or an input of one. Sizes are those of the inputs.

import { describe, expect, it } from 'vitest';
import { type AttributeSetting, makeNode } from '../../dist/adapters/onnx/make.js';
import type { Message } from '../../dist/adapters/onnx/message.js';
import { Node } from '../../dist/adapters/onnx/node.js';
import { elementTypes } from '../../dist/adapters/onnx/numbers.js';
import type { Site } from '../../dist/adapters/onnx/sites/site.js';
import { type Input, sitesOf } from './onnx-graphs.js';

describe('operators', () => {
  const merged: Input[] = ['a', 'b', 'c'].map((name) => [name, 'float32', ['batch', 'tokens', 64]]);
  const more: Input[] = [
    ...merged,
    ['keys', 'int32', ['batch', 'tokens']],
    ['lengths', 'int32', ['batch']],
    ['counts', 'int64', ['batch']],
    ['bias', 'float32', [1, 4, 'tokens', 'tokens']],
    ['seen', 'bool', ['tokens', 'tokens']],
    ['past', 'float32', ['batch', 4, 'past', 16]],
    ['x', 'float32', ['batch', 'tokens', 40]],
    ['weights', 'float32', [40, 192]],
    ['unsized', 'float32', [40, 'columns']],
    ['qkv', 'float32', ['batch', 'tokens', 4, 3, 16]],
    ['kv', 'float32', ['batch', 'tokens', 4, 2, 16]],
    ['rows', 'int32', ['batch', 'tokens', 'tokens']],
    ['square', 'int32', ['batch', 1, 'tokens', 'tokens']],
    ['odd', 'float32', [1, 1, 1, 'tokens', 'tokens']],
  ];
  const single = (
    op: string,
    inputs: string[],
    attributes: Record<string, AttributeSetting>,
    domain = '',
    outputs = ['y'],
  ) => {
    const sites = sitesOf([makeNode(op, inputs, outputs, attributes, domain)], [], more, outputs.filter(Boolean), 23);
    expect(sites.length).toBe(1);
    return sites[0];
  };
  const size = { queryHeads: 4, kvHeads: 4, headDim: 16, valueDim: 16 };
  const ms = 'com.microsoft';

  it('Attention of four axes, and of three', () => {
    expect(single('Attention', ['q', 'k', 'v', 'seen'], { is_causal: 1, softcap: 0.5, scale: 0.25 })).toMatchObject({
      ...{ kind: 'Attention', mask: 'boolean', ...size },
      swap: {
        causal: true,
        softcap: 0.5,
        scale: 0.25,
        q: { order: [0, 1, 2, 3] },
        masks: [{ value: 'seen', as: 'mask' }],
      },
    });
    const three = single('Attention', ['a', 'b', 'c', 'bias'], { q_num_heads: 8, kv_num_heads: 4 });
    expect(three).toMatchObject({
      ...size,
      queryHeads: 8,
      headDim: 8,
      mask: 'additive',
      swap: { causal: false, softcap: 0 },
    });
    expect(three.swap!.q).toEqual({ value: 'a' });
    expect(three.swap).not.toHaveProperty('scale');
  });

  it('Attention with counted keys, and what says nothing about results', () => {
    const site = single('Attention', ['q', 'k', 'v', '', '', '', 'counts'], {
      ...{ is_causal: 1, softmax_precision: elementTypes.float32, qk_matmul_output_mode: 3 },
    });
    expect(site).toMatchObject({ ...size, mask: 'causal', swap: { causal: true, keyLengths: 'counts', masks: [] } });
    expect(single('Attention', ['q', 'k', 'v', '', '', '', 'counts'], {}).mask).toBe('padding');
  });

  it.each<[string, Message[], string]>([
    ['a Cast says', [makeNode('Cast', ['keys'], ['m'], { to: elementTypes.float32 })], 'bias'],
    ['a Cast says to be bool', [makeNode('Cast', ['keys'], ['m'], { to: elementTypes.bool })], 'mask'],
    ['a comparison has', [makeNode('Less', ['keys', 'lengths'], ['l']), makeNode('Unsqueeze', ['l'], ['m'])], 'mask'],
    [
      'the shown side of a Where has',
      [makeNode('Cast', ['keys'], ['c'], { to: elementTypes.float32 }), makeNode('Where', ['seen', 'c', 'c'], ['m'])],
      'bias',
    ],
    ['nothing says', [makeNode('Gelu', ['bias'], ['m'])], 'the type of its mask is not known before a run'],
  ])('Attention with a mask of the type that %s', (_, nodes, expected) => {
    const [site] = sitesOf([...nodes, makeNode('Attention', ['q', 'k', 'v', 'm'], ['y'])], [], more, ['y'], 23);
    expect(site.reason ?? site.swap!.masks[0].as).toBe(expected);
  });

  it('MultiHeadAttention', () => {
    const attributes = { num_heads: 4, unidirectional: 1, mask_filter_value: -10000.5 };
    expect(single('MultiHeadAttention', ['a', 'b', 'c', '', 'keys', 'bias'], attributes, ms)).toMatchObject({
      ...{ kind: 'MultiHeadAttention', mask: 'additive', ...size },
      swap: {
        causal: true,
        masks: [
          { value: 'keys', as: 'keyMask' },
          { value: 'bias', as: 'bias' },
        ],
      },
    });
    const padded = single('MultiHeadAttention', ['a', 'b', 'c', '', 'keys'], { num_heads: 4 }, ms);
    expect(padded.mask).toBe('padding');
    const weak = { num_heads: 4, mask_filter_value: { float: -5 } };
    expect(single('MultiHeadAttention', ['a', 'b', 'c', '', 'keys'], weak, ms).mask).toBe('additive');
  });

  it('MultiHeadAttention with one bias for all: the nodes in front of it add its parts', () => {
    const { swap } = single('MultiHeadAttention', ['a', 'b', 'c', 'bias'], { num_heads: 4 }, ms);
    const nodes = swap!.before!.map((message) => new Node(message));
    expect(nodes.map(({ op }) => op)).toEqual(Array(3).fill(['Constant', 'Gather', 'Add']).flat());
    const indices = nodes
      .flatMap((node) => node.tensor('value') ?? [])
      .map((tensor) => Array.from(tensor.data(), Number));
    expect(indices).toEqual([0, 64, 128].map((begin) => Array.from({ length: 64 }, (_, i) => begin + i)));
    const added = nodes.filter(({ op }) => op === 'Add');
    expect(added.map(({ inputs }) => inputs[0])).toEqual(['a', 'b', 'c']);
    expect([swap!.q, swap!.k, swap!.v]).toEqual(added.map(({ outputs }) => ({ value: outputs[0] })));
  });

  it('MultiHeadAttention of packed operands, and of keys of four axes', () => {
    const part = (value: string, i: number) => ({
      ...{ value, order: [0, 2, 1, 3] },
      part: { axis: 3, begin: i, end: i + 1 },
    });
    const all = single('MultiHeadAttention', ['qkv'], { num_heads: 4 }, ms);
    expect(all).toMatchObject({ ...size, swap: { q: part('qkv', 0), k: part('qkv', 1), v: part('qkv', 2) } });
    const two = single('MultiHeadAttention', ['a', 'kv'], { num_heads: 4 }, ms);
    expect(two).toMatchObject({ ...size, swap: { q: { value: 'a' }, k: part('kv', 0), v: part('kv', 1) } });
    const apart = single('MultiHeadAttention', ['a', 'k', 'v'], { num_heads: 4 }, ms);
    expect(apart).toMatchObject({ ...size, swap: { k: { value: 'k', order: [0, 1, 2, 3] } } });
  });

  it('Attention of com.microsoft: its projections are nodes in front of it, and operands parts of their output', () => {
    const site = single('Attention', ['x', 'weights', 'bias', 'lengths'], { num_heads: 4, unidirectional: 1 }, ms);
    const nodes = site.swap!.before!.map((message) => new Node(message));
    expect(nodes.map(({ op, inputs }) => [op, ...inputs])).toEqual([
      ['MatMul', 'x', 'weights'],
      ['Add', nodes[0].outputs[0], 'bias'],
    ]);
    const part = (begin: number) => ({
      ...{ value: nodes[1].outputs[0] },
      part: { axis: 2, begin, end: begin + 64 },
    });
    expect(site).toMatchObject({
      ...{ kind: 'com.microsoft.Attention', mask: 'causal', ...size },
      swap: {
        ...{ causal: true, q: part(0), k: part(64), v: part(128) },
        masks: [{ value: 'lengths', as: 'maskIndex', hidden: -10000 }],
      },
    });
    const sizes = { num_heads: 4, qkv_hidden_sizes: [32, 32, 128] };
    expect(single('Attention', ['x', 'weights'], sizes, ms)).toMatchObject({
      ...{ ...size, headDim: 8, valueDim: 32, mask: 'none' },
      swap: { q: { part: { begin: 0, end: 32 } }, v: { part: { begin: 64, end: 192 } } },
    });
    expect(single('Attention', ['x', 'weights', '', 'rows'], { num_heads: 4 }, ms).mask).toBe('boolean');
  });

  it.each<[string, () => Site, string]>([
    [
      'half a cache',
      () => single('Attention', ['q', 'k', 'v', '', 'past'], {}),
      'it has one of past_key and past_value',
    ],
    [
      'a cache and lengths',
      () => single('Attention', ['q', 'k', 'v', '', 'past', 'past', 'lengths'], {}),
      'it has nonpad_kv_seqlen next to a cache',
    ],
    [
      'a cache behind packed keys',
      () => single('MultiHeadAttention', ['a', 'k', 'v', '', '', '', 'past', 'past'], { num_heads: 4 }, ms),
      'it has a cache, and its keys are no [batch, tokens, width]',
    ],
    [
      'scores as an output',
      () => single('Attention', ['q', 'k', 'v'], {}, '', ['y', '', '', 's']),
      'it has qk_matmul_output',
    ],
    [
      'a softmax in float64',
      () => single('Attention', ['q', 'k', 'v'], { softmax_precision: elementTypes.float64 }),
      'its softmax is taken in float64',
    ],
    ['an attribute of a later opset', () => single('Attention', ['q', 'k', 'v'], { ring: 1 }), 'it has ring'],
    ['a mask of rank 5', () => single('Attention', ['q', 'k', 'v', 'odd'], {}), 'its mask has rank 5'],
    ['heads that are not said', () => single('Attention', ['a', 'b', 'c'], {}), 'its heads are dynamic'],
    [
      'a bias of packed operands',
      () => single('MultiHeadAttention', ['qkv', '', '', 'bias'], { num_heads: 4 }, ms),
      'it has bias, and its operands are packed',
    ],
    [
      'queries alone that are not packed',
      () => single('MultiHeadAttention', ['a'], { num_heads: 4 }, ms),
      "'a' is not [batch, tokens, heads, 3, dim]",
    ],
    [
      'keys packed as queries are',
      () => single('MultiHeadAttention', ['a', 'qkv'], { num_heads: 4 }, ms),
      "'qkv' is not [batch, tokens, heads, 2, dim]",
    ],
    [
      'the mask of Megatron',
      () => single('Attention', ['x', 'weights', '', 'square'], { num_heads: 4 }, ms),
      'its mask has rank 4',
    ],
    [
      'rotary embedding inside',
      () => single('Attention', ['x', 'weights'], { num_heads: 4, do_rotary: 1 }, ms),
      'its rotary embedding is inside the operator',
    ],
    [
      'weights whose columns a run decides',
      () => single('Attention', ['x', 'unsized'], { num_heads: 4 }, ms),
      'its heads are dynamic',
    ],
    [
      'columns that are not whole heads',
      () => single('Attention', ['x', 'weights'], { num_heads: 5 }, ms),
      'do not split into 5 heads',
    ],
    [
      'a cache and projections',
      () => single('Attention', ['x', 'weights', '', '', 'past'], { num_heads: 4 }, ms),
      'it has past',
    ],
    [
      'lengths that are not said',
      () => single('GroupQueryAttention', ['a', 'b', 'c'], { num_heads: 4, kv_num_heads: 2 }, ms),
      'it has no seqlens_k or total_sequence_length',
    ],
    [
      'another of theirs',
      () => single('SparseAttention', ['a', 'b', 'c'], {}, ms),
      'com.microsoft.SparseAttention is not swapped',
    ],
    [
      'an unknown domain',
      () => single('FlashAttention', ['a', 'b', 'c'], {}, 'my.ops'),
      "the domain 'my.ops' is unknown here",
    ],
  ])('with %s stays where it is', (_, make, reason) => {
    const site = make();
    expect(site.swap).toBeUndefined();
    expect(site.reason).toContain(reason);
  });
});
