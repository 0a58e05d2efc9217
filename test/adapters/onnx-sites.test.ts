// Attention in graphs: every one of the exporters' graphs is found, forms are read as the numbers they mean, and what attention()
// cannot say has a reason. Reader: someone who adds an exporter's form. Counts and sizes are those of the models' configs: two
// layers, four heads of 16; Llama's two KV heads are repeated in its graphs. Scales are worked out by hand.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  type AttributeSetting,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
} from '../../dist/adapters/onnx/make.js';
import type { Message } from '../../dist/adapters/onnx/message.js';
import { readModel } from '../../dist/adapters/onnx/model.js';
import { type ElementType, tensorFields } from '../../dist/adapters/onnx/numbers.js';
import { findSites } from '../../dist/adapters/onnx/sites/find.js';
import type { MaskKind, Site, SiteKind } from '../../dist/adapters/onnx/sites/site.js';
import { bytesField, integerField, textField } from '../../dist/adapters/onnx/wire.js';

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
    const size = { queryHeads: 4, kvHeads: 4, headDim: 16, valueDim: 16 };
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

type Input = [name: string, type: ElementType, dims: (number | string)[]];
const heads = (name: string): Input => [name, 'float32', ['batch', 4, 'tokens', 16]];
const operands: Input[] = ['q', 'k', 'v'].map(heads);
const one = (name: string, value: number): Message => makeTensor(name, 'float32', [], Float32Array.of(value));

/** The sites of a model. */
function sitesOf(
  nodes: Message[],
  initializers: Message[] = [],
  more: Input[] = [],
  outputs = ['y'],
  opset = 17,
): Site[] {
  const inputs = [...operands, ...more].map(([name, type, dims]) => makeValueInfo(name, type, dims));
  const out = outputs.map((name) => makeValueInfo(name, 'float32'));
  return findSites(readModel(makeModel({ opset, nodes, initializers, inputs, outputs: out }).bytes));
}

/** softmax(f(q·kᵀ)) v, where `between` makes `s` of `qk`. */
function decomposed(between: Message[], initializers: Message[] = [], more: Input[] = []): Site[] {
  const nodes = [
    makeNode('Transpose', ['k'], ['kT'], { perm: [0, 1, 3, 2] }),
    makeNode('MatMul', ['q', 'kT'], ['qk']),
    ...between,
    makeNode('Softmax', ['s'], ['p'], { axis: -1 }),
    makeNode('MatMul', ['p', 'v'], ['y']),
  ];
  return sitesOf(nodes, initializers, more);
}

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

describe('what is left, with its reason', () => {
  const plain = (axis = -1) => [
    makeNode('Transpose', ['k'], ['kT'], { perm: [0, 1, 3, 2] }),
    makeNode('MatMul', ['q', 'kT'], ['s']),
    makeNode('Softmax', ['s'], ['p'], { axis }),
    makeNode('MatMul', ['p', 'v'], ['y']),
  ];
  const reasonOf = (sites: Site[]): string | undefined => {
    expect(sites.length).toBe(1);
    expect(sites[0].swap).toBeUndefined();
    return sites[0].reason;
  };

  it('a softmax over another axis', () => expect(reasonOf(sitesOf(plain(2)))).toBe('its softmax is over axis 2'));

  it('weights that are an output, or read twice', () => {
    expect(reasonOf(sitesOf(plain(), [], [], ['y', 'p']))).toBe('its weights are read elsewhere');
    expect(reasonOf(sitesOf([...plain(), makeNode('Neg', ['p'], ['z'])], [], [], ['y', 'z']))).toBe(
      'its weights are read elsewhere',
    );
  });

  it('a mask of rank 5', () => {
    const mask: Input = ['mask', 'float32', [1, 1, 1, 'tokens', 'tokens']];
    expect(reasonOf(decomposed([makeNode('Add', ['qk', 'mask'], ['s'])], [], [mask]))).toBe('its mask has rank 5');
  });

  it('a quantized product', () => {
    const nodes = [
      makeNode('MatMulInteger', ['q', 'k'], ['i']),
      makeNode('Cast', ['i'], ['f'], { to: 1 }),
      makeNode('Mul', ['f', 'two'], ['s']),
      makeNode('Softmax', ['s'], ['p'], { axis: -1 }),
    ];
    expect(reasonOf(sitesOf(nodes, [one('two', 2)], [], ['p']))).toBe('its product is quantized (MatMulInteger)');
  });

  it('heads that a run decides', () => {
    const dynamic: Input[] = ['a', 'b', 'c'].map((name) => [name, 'float32', ['batch', 'heads', 'tokens', 16]]);
    const nodes = [
      makeNode('Transpose', ['b'], ['bT'], { perm: [0, 1, 3, 2] }),
      makeNode('MatMul', ['a', 'bT'], ['s']),
      makeNode('Softmax', ['s'], ['p'], { axis: -1 }),
      makeNode('MatMul', ['p', 'c'], ['y']),
    ];
    expect(reasonOf(sitesOf(nodes, [], dynamic))).toContain('its heads are dynamic');
  });

  it('a constant mask whose file is missing', () => {
    const entry = (key: string, value: string) =>
      bytesField(
        tensorFields.externalData,
        Uint8Array.from([...textField(1, key).whole, ...textField(2, value).whole]),
      );
    const mask = makeTensor('mask', 'float32', [1, 1, 2, 2], new Uint8Array(0)).with({
      [tensorFields.rawData]: [],
      [tensorFields.dataLocation]: [integerField(tensorFields.dataLocation, 1)],
      [tensorFields.externalData]: [entry('location', 'gone.data')],
    });
    const inputs = operands.map(([name, type, dims]) => makeValueInfo(name, type, dims));
    const nodes = [
      makeNode('Transpose', ['k'], ['kT'], { perm: [0, 1, 3, 2] }),
      makeNode('MatMul', ['q', 'kT'], ['qk']),
      makeNode('Add', ['qk', 'mask'], ['s']),
      makeNode('Softmax', ['s'], ['p'], { axis: -1 }),
      makeNode('MatMul', ['p', 'v'], ['y']),
    ];
    const outputs = [makeValueInfo('y', 'float32')];
    const model = readModel(makeModel({ opset: 17, nodes, initializers: [mask], inputs, outputs }).bytes);
    expect(reasonOf(findSites(model, fixtures))).toMatch(/gone\.data.*ENOENT/);
  });

  it('a softmax that is no attention is no site', () => {
    const weight = makeTensor('w', 'float32', [16, 10], new Float32Array(160));
    const nodes = [makeNode('MatMul', ['q', 'w'], ['s']), makeNode('Softmax', ['s'], ['y'], { axis: -1 })];
    expect(sitesOf(nodes, [weight])).toEqual([]);
  });
});

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

describe('a graph that is none', () => {
  const tail = [makeNode('Softmax', ['s'], ['p'], { axis: -1 }), makeNode('MatMul', ['p', 'v'], ['y'])];
  const product = makeNode('MatMul', ['q', 'k'], ['t']);
  const constants = [one('two', 2), one('zero', 0), one('low', -1e9)];

  it.each<[string, Message[]]>([
    [
      'a transposed operand',
      [makeNode('Transpose', ['x'], ['x'], { perm: [0, 1, 3, 2] }), makeNode('MatMul', ['x', 'k'], ['s'])],
    ],
    ['a scaled operand', [makeNode('Mul', ['x', 'two'], ['x']), makeNode('MatMul', ['x', 'k'], ['s'])]],
    ['scores', [makeNode('Mul', ['s', 'two'], ['s'])]],
    ['a mask', [product, makeNode('Identity', ['m'], ['m']), makeNode('Add', ['t', 'm'], ['s'])]],
    ['a factor', [product, makeNode('Identity', ['c'], ['c']), makeNode('Mul', ['t', 'c'], ['s'])]],
    [
      'two nodes that read each other',
      [makeNode('Neg', ['b'], ['a']), makeNode('Neg', ['a'], ['b']), makeNode('MatMul', ['a', 'k'], ['s'])],
    ],
  ])('is refused: %s made of itself', (_, nodes) => {
    expect(() => sitesOf([...nodes, ...tail], constants)).toThrow(
      expect.objectContaining({
        code: 'ERR_TILEWISE_INVALID_FILE',
        message: expect.stringContaining('before it is made'),
      }),
    );
  });

  it('is refused: a value that is made twice', () => {
    const nodes = [
      product,
      makeNode('Softmax', ['t'], ['p']),
      makeNode('Identity', ['p'], ['r']),
      makeNode('Identity', ['r'], ['p']),
    ];
    expect(() => sitesOf(nodes)).toThrow(/'p' is made twice/);
  });

  it('is none because it is long: a mask at the end of 20000 nodes is read', () => {
    const name = (i: number) => (i === 20000 ? 'mask' : `m${i}`);
    const nodes = [
      ...[product, makeNode('Where', ['seen', 'zero', 'low'], ['m0'])],
      ...Array.from({ length: 20000 }, (_, i) => makeNode('Identity', [name(i)], [name(i + 1)])),
      ...[makeNode('Add', ['t', 'mask'], ['s']), ...tail],
    ];
    const seen: Input = ['seen', 'bool', ['batch', 1, 'tokens', 'tokens']];
    expect(sitesOf(nodes, constants, [seen])).toMatchObject([{ mask: 'boolean' }]);
  }, 60_000);
});
