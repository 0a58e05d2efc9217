// Attention as one operator: what its inputs and attributes mean, and what keeps it with onnxruntime.
// Reader: someone who adds an operator, or an input of one. Sizes are those of the inputs.

import { describe, expect, it } from 'vitest';
import { type AttributeSetting, makeNode } from '../../dist/adapters/onnx/make.js';
import type { Site } from '../../dist/adapters/onnx/sites/site.js';
import { type Input, sitesOf } from './onnx-graphs.js';

describe('operators', () => {
  const merged: Input[] = ['a', 'b', 'c'].map((name) => [name, 'float32', ['batch', 'tokens', 64]]);
  const more: Input[] = [
    ...merged,
    ['keys', 'int32', ['batch', 'tokens']],
    ['lengths', 'int32', ['batch']],
    ['bias', 'float32', [1, 4, 'tokens', 'tokens']],
    ['seen', 'bool', ['tokens', 'tokens']],
    ['past', 'float32', ['batch', 4, 'past', 16]],
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

  it.each<[string, () => Site, string]>([
    ['a cache', () => single('Attention', ['q', 'k', 'v', '', 'past', 'past'], {}), 'it has past_key, past_value'],
    [
      'scores as an output',
      () => single('Attention', ['q', 'k', 'v'], {}, '', ['y', '', '', 's']),
      'it has qk_matmul_output',
    ],
    ['an attribute of a later opset', () => single('Attention', ['q', 'k', 'v'], { ring: 1 }), 'it has ring'],
    ['a mask of rank 5', () => single('Attention', ['q', 'k', 'v', 'odd'], {}), 'its mask has rank 5'],
    ['heads that are not said', () => single('Attention', ['a', 'b', 'c'], {}), 'its heads are dynamic'],
    [
      'a projection bias',
      () => single('MultiHeadAttention', ['a', 'b', 'c', 'bias'], { num_heads: 4 }, ms),
      'it has bias',
    ],
    ['packed operands', () => single('MultiHeadAttention', ['a'], { num_heads: 4 }, ms), 'packed with the queries'],
    ['keys of four axes', () => single('MultiHeadAttention', ['a', 'k', 'v'], { num_heads: 4 }, ms), "'k' has rank 4"],
    [
      'lengths instead of a mask',
      () => single('MultiHeadAttention', ['a', 'b', 'c', '', 'lengths'], { num_heads: 4 }, ms),
      'key_padding_mask is not [batch, keys]',
    ],
    ['projections inside', () => single('Attention', ['a', 'b'], { num_heads: 4 }, ms), 'its projections are inside'],
    [
      'a cache inside',
      () => single('GroupQueryAttention', ['a', 'b', 'c'], { num_heads: 4, kv_num_heads: 2 }, ms),
      'its cache is inside the operator',
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
