// Attention in graphs: every one of the exporters' graphs is found, and forms are read as the numbers they mean.
// Reader: someone who adds an exporter's form. Counts and sizes are those of the models' configs: two layers, four heads of 16;
// Llama's two KV heads are repeated in its graphs. Scales are worked out by hand.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { makeNode, makeTensor } from '../../dist/adapters/onnx/make.js';
import type { Message } from '../../dist/adapters/onnx/message.js';
import { readModel } from '../../dist/adapters/onnx/model.js';
import { findSites } from '../../dist/adapters/onnx/sites/find.js';
import type { MaskKind, Site, SiteKind } from '../../dist/adapters/onnx/sites/site.js';
import { decomposed, type Input, one, sitesOf } from './onnx-graphs.js';

const fixtures = fileURLToPath(new URL('../clients/fixtures', import.meta.url));

describe("exporters' graphs", () => {
  const expected: Record<string, [SiteKind, MaskKind]> = {
    'bert-eager-script17.onnx': ['decomposed', 'boolean'],
    'bert-sdpa-dynamo18.onnx': ['decomposed', 'boolean'],
    'clip-eager-script17.onnx': ['decomposed', 'boolean'],
    'clip-sdpa-dynamo23.onnx': ['Attention', 'causal'],
    'gpt2-eager-script17.onnx': ['decomposed', 'boolean'],
    'gpt2-sdpa-dynamo23.onnx': ['Attention', 'boolean'],
    'llama-eager-dynamo18.onnx': ['decomposed', 'boolean'],
    'llama-sdpa-script17.onnx': ['decomposed', 'boolean'],
    't5-eager-script17.onnx': ['decomposed', 'additive'],
    'vit-eager-dynamo18.onnx': ['decomposed', 'none'],
    'vit-sdpa-script17.onnx': ['decomposed', 'none'],
  };

  it('are all here', () => {
    expect(readdirSync(fixtures).filter((name) => name.endsWith('.onnx'))).toEqual(Object.keys(expected));
  });

  it.each(Object.entries(expected))('%s has two sites, both swappable', (name, [kind, mask]) => {
    const sites = findSites(readModel(readFileSync(path.join(fixtures, name))));
    // Heads that exporters repeat are counted once.
    const kvHeads = name.startsWith('llama') ? 2 : 4;
    const size = { queryHeads: 4, kvHeads, headDim: 16, valueDim: 16 };
    expect(sites).toMatchObject([
      { kind, mask, ...size },
      { kind, mask, ...size },
    ]);
    for (const site of sites) {
      expect(site.reason).toBeUndefined();
      // T5 has no scale; the others' is 1/sqrt(16), however they spread it.
      expect(site.swap!.scale).toBeCloseTo(name.startsWith('t5') ? 1 : 0.25, 12);
    }
  });
});

describe('what is around the scores', () => {
  const mask: Input = ['mask', 'float32', ['batch', 1, 'tokens', 'tokens']];
  const seen: Input = ['seen', 'bool', ['batch', 1, 'tokens', 'tokens']];
  const constants = [one('two', 2), one('eight', 8), one('low', -1e9), one('zero', 0), one('cap', 50)];
  const read = (between: Message[]): Site => {
    const sites = decomposed(between, constants, [mask, seen]);
    expect(sites.length).toBe(1);
    return sites[0];
  };

  it('factors multiply, wherever they are', () => {
    expect(read([makeNode('Div', ['qk', 'eight'], ['s'])]).swap).toMatchObject({ scale: 1 / 8, softcap: 0, masks: [] });
    const twice = [makeNode('Mul', ['two', 'qk'], ['a']), makeNode('Div', ['a', 'eight'], ['s'])];
    expect(read(twice).swap!.scale).toBe(2 / 8);
    expect(read([makeNode('Identity', ['qk'], ['s'])]).swap!.scale).toBe(1);
  });

  it('tanh between a quotient and a product is a softcap', () => {
    const capped = [
      makeNode('Mul', ['qk', 'two'], ['a']),
      makeNode('Div', ['a', 'cap'], ['b']),
      makeNode('Tanh', ['b'], ['c']),
      makeNode('Mul', ['c', 'cap'], ['s']),
    ];
    // 50 tanh(2 q·k / 50)
    const { swap } = read(capped);
    expect(swap!.softcap).toBe(50);
    expect(swap!.scale).toBeCloseTo(2, 12);
  });

  it.each<[string, Message, object, MaskKind]>([
    ['added', makeNode('Add', ['qk', 'mask'], ['s']), { value: 'mask', as: 'bias' }, 'additive'],
    ['added from the left', makeNode('Add', ['mask', 'qk'], ['s']), { value: 'mask', as: 'bias' }, 'additive'],
    [
      'that shows where it is true',
      makeNode('Where', ['seen', 'qk', 'low'], ['s']),
      { value: 'seen', as: 'mask', isInverted: false, hidden: -1e9 },
      'boolean',
    ],
    [
      'that hides where it is true',
      makeNode('Where', ['seen', 'low', 'qk'], ['s']),
      { value: 'seen', as: 'mask', isInverted: true, hidden: -1e9 },
      'boolean',
    ],
  ])('a mask %s', (_, node, expected, kind) => {
    const site = read([node]);
    expect(site.swap!.masks).toMatchObject([expected]);
    expect(site.mask).toBe(kind);
  });

  it('a mask of two numbers is boolean, through views of it', () => {
    const nodes = [
      makeNode('Where', ['seen', 'zero', 'low'], ['m']),
      makeNode('Cast', ['m'], ['n'], { to: 1 }),
      makeNode('Add', ['qk', 'n'], ['s']),
    ];
    expect(read(nodes).mask).toBe('boolean');
  });

  it.each<[string, number[], MaskKind]>([
    ['0 everywhere', [0, 0, 0, 0], 'none'],
    ['the causal triangle', [0, -1e9, 0, 0], 'causal'],
    ['the first key alone', [0, -1e9, 0, -1e9], 'padding'],
    ['a cross', [-1e9, 0, 0, -1e9], 'boolean'],
    ['numbers', [0, -1, 0, 0], 'additive'],
  ])('a constant that is %s', (_, numbers, kind) => {
    const constant = makeTensor('c', 'float32', [1, 1, 2, 2], Float32Array.from(numbers));
    expect(decomposed([makeNode('Add', ['qk', 'c'], ['s'])], [constant])).toMatchObject([{ mask: kind }]);
  });

  it('a mask that is added and one that takes the place of scores go together, where that is a lowest number', () => {
    const lowest = makeTensor('lowest', 'float32', [], Float32Array.of(-3e38));
    const nodes = [makeNode('Where', ['seen', 'qk', 'lowest'], ['a']), makeNode('Add', ['a', 'mask'], ['s'])];
    const [site] = decomposed(nodes, [lowest], [mask, seen]);
    expect(site.swap!.masks.map(({ as }) => as)).toEqual(['mask', 'bias']);
  });

  it.each<[string, Message[], string]>([
    [
      'added masks in front of a factor',
      [makeNode('Add', ['qk', 'mask'], ['a']), makeNode('Mul', ['a', 'two'], ['s'])],
      'in front of a factor',
    ],
    [
      'a Where in front of a factor',
      [makeNode('Where', ['seen', 'qk', 'low'], ['a']), makeNode('Div', ['a', 'two'], ['s'])],
      'in front of a factor',
    ],
    [
      'two masks of which one is near',
      [makeNode('Where', ['seen', 'qk', 'low'], ['a']), makeNode('Add', ['a', 'mask'], ['s'])],
      'puts -1000000000 in the place of scores',
    ],
    ['two masks', [makeNode('Add', ['qk', 'mask'], ['a']), makeNode('Add', ['a', 'mask'], ['s'])], 'two masks'],
    ['tanh of a mask', [makeNode('Add', ['qk', 'mask'], ['a']), makeNode('Tanh', ['a'], ['s'])], 'tanh'],
  ])('%s stay where they are', (_, between, reason) => {
    const site = read(between);
    expect(site.swap).toBeUndefined();
    expect(site.reason).toContain(reason);
  });
});

describe('views', () => {
  it('transposes in front of operands and behind the output are read as the order of axes', () => {
    const tokensFirst: Input[] = ['a', 'b', 'c'].map((name) => [name, 'float32', ['batch', 'tokens', 4, 16]]);
    const nodes = [
      makeNode('Transpose', ['a'], ['aT'], { perm: [0, 2, 1, 3] }),
      makeNode('Transpose', ['b'], ['bT'], { perm: [0, 2, 3, 1] }),
      makeNode('Transpose', ['c'], ['cT'], { perm: [0, 2, 1, 3] }),
      makeNode('MatMul', ['aT', 'bT'], ['s']),
      makeNode('Softmax', ['s'], ['p'], { axis: 3 }),
      makeNode('MatMul', ['p', 'cT'], ['o']),
      makeNode('Transpose', ['o'], ['y'], { perm: [0, 2, 1, 3] }),
    ];
    expect(sitesOf(nodes, [], tokensFirst)).toMatchObject([
      {
        ...{ queryHeads: 4, headDim: 16 },
        swap: Object.fromEntries(
          Object.entries({ q: 'a', k: 'b', v: 'c', out: 'y' }).map(([name, value]) => [
            name,
            { value, order: [0, 2, 1, 3] },
          ]),
        ),
      },
    ]);
  });

  // PaddlePaddle's, of opset 9: axes are attributes, and the parts of a shape are cast one by one.
  it('queries, keys and values are cut out of one projection', () => {
    const whole = (name: string, ...numbers: number[]) =>
      makeTensor(name, 'int32', [numbers.length], Int32Array.from(numbers));
    const parts = ['batch', 'length', 'three', 'heads', 'dim'];
    const nodes = [
      makeNode('Shape', ['qkv'], ['shape']),
      makeNode('Slice', ['shape'], ['length'], { axes: [0], starts: [1], ends: [2] }),
      ...parts.map((name) => makeNode('Cast', [name], [`${name}64`], { to: 7 })),
      makeNode(
        'Concat',
        parts.map((name) => `${name}64`),
        ['split'],
        { axis: 0 },
      ),
      makeNode('Reshape', ['qkv', 'split'], ['five']),
      makeNode('Transpose', ['five'], ['packed'], { perm: [2, 0, 3, 1, 4] }),
      ...['a', 'b', 'c'].flatMap((name, i) => [
        makeNode('Slice', ['packed'], [`${name}5`], { axes: [0], starts: [i], ends: [i + 1] }),
        makeNode('Squeeze', [`${name}5`], [name], { axes: [0] }),
      ]),
      makeNode('Transpose', ['b'], ['bT'], { perm: [0, 1, 3, 2] }),
      makeNode('MatMul', ['a', 'bT'], ['s']),
      makeNode('Softmax', ['s'], ['p'], { axis: 3 }),
      makeNode('MatMul', ['p', 'c'], ['y']),
    ];
    const constants = [whole('batch', 0), whole('three', 3), whole('heads', 8), whole('dim', 15)];
    expect(sitesOf(nodes, constants, [['qkv', 'float32', ['batch', 'tokens', 360]]], ['y'], 9)).toMatchObject([
      { queryHeads: 8, kvHeads: 8, headDim: 15, valueDim: 15, swap: { q: { value: 'a' }, k: { value: 'b' } } },
    ]);
  });

  it('rows of a table have the width of the table', () => {
    const table = makeTensor('table', 'float32', [9, 96], new Float32Array(9 * 96));
    const columns = makeTensor('columns', 'float32', [64, 9], new Float32Array(9 * 64));
    const nodes = [
      makeNode('Gather', ['table', 'ids'], ['x']),
      // By its last axis, and put in front of the others.
      makeNode('Gather', ['columns', 'ids'], ['turned'], { axis: -1 }),
      makeNode('Transpose', ['turned'], ['z'], { perm: [1, 2, 0] }),
      makeNode('MultiHeadAttention', ['x', 'x', 'x'], ['y'], { num_heads: 4 }, 'com.microsoft'),
      makeNode('MultiHeadAttention', ['z', 'z', 'z'], ['w'], { num_heads: 4 }, 'com.microsoft'),
    ];
    expect(sitesOf(nodes, [table, columns], [['ids', 'int64', ['batch', 'tokens']]], ['y', 'w'])).toMatchObject([
      { headDim: 24, valueDim: 24, swap: {} },
      { headDim: 16, valueDim: 16, swap: {} },
    ]);
  });

  it('a guard against NaN is looked through', () => {
    const nodes = [
      makeNode('MatMul', ['q', 'kT'], ['s']),
      makeNode('Softmax', ['s'], ['p'], { axis: -1 }),
      makeNode('IsNaN', ['p'], ['n']),
      makeNode('Where', ['n', 'zero', 'p'], ['w']),
      makeNode('MatMul', ['w', 'v'], ['y']),
    ];
    const transposed: Input = ['kT', 'float32', ['batch', 4, 16, 'tokens']];
    expect(sitesOf(nodes, [one('zero', 0)], [transposed])).toMatchObject([
      { swap: { k: { value: 'kT', order: [0, 1, 3, 2] } } },
    ]);
    expect(sitesOf(nodes, [one('zero', 1)], [transposed])).toEqual([]);
  });
});
