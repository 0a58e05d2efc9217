// What attention() cannot say stays with onnxruntime, and has a reason; graphs that ONNX forbids are refused.
// Reader: someone who adds a reason, or takes one away.

import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import type { Message } from '../../dist/adapters/onnx/message.js';
import { readModel } from '../../dist/adapters/onnx/model.js';
import { elementTypes, tensorFields } from '../../dist/adapters/onnx/numbers.js';
import { findSites } from '../../dist/adapters/onnx/sites/find.js';
import type { Site } from '../../dist/adapters/onnx/sites/site.js';
import { bytesField, integerField, textField } from '../../dist/adapters/onnx/wire.js';
import { decomposed, type Input, one, operands, sitesOf } from './onnx-graphs.js';

const fixtures = fileURLToPath(new URL('../clients/fixtures', import.meta.url));

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

  it('weights that are replaced, or are no floats on their way', () => {
    const behind = (...between: Message[]) => [
      ...plain().slice(0, 3),
      ...between,
      makeNode('MatMul', ['w', 'v'], ['y']),
    ];
    const seen: Input = ['seen', 'bool', ['batch', 1, 'tokens', 'tokens']];
    for (const inputs of [
      ['seen', 'zero', 'p'],
      ['seen', 'p', 'zero'],
    ]) {
      expect(reasonOf(sitesOf(behind(makeNode('Where', inputs, ['w'])), [one('zero', 0)], [seen]))).toBe(
        'its weights are replaced by a Where behind the softmax',
      );
    }
    const cast = (to: number) => [makeNode('Cast', ['p'], ['c'], { to }), makeNode('Cast', ['c'], ['w'], { to: 1 })];
    expect(reasonOf(sitesOf(behind(...cast(elementTypes.int64))))).toBe('its weights are cast to int64');
    expect(reasonOf(sitesOf(behind(...cast(elementTypes.bool))))).toBe('its weights are cast to bool');
    expect(reasonOf(sitesOf(behind(...cast(17))))).toBe('its weights are cast to the element type 17');
    for (const type of ['float16', 'bfloat16', 'float64'] as const) {
      expect(sitesOf(behind(...cast(elementTypes[type])))).toMatchObject([{ swap: {} }]);
    }
    expect(sitesOf([...plain().slice(0, 3), makeNode('Where', ['seen', 'zero', 'p'], ['y'])], [], [seen])).toEqual([]);
  });

  it('scores that are no floats on their way', () => {
    const cast = (to: number) => [makeNode('Cast', ['qk'], ['c'], { to }), makeNode('Cast', ['c'], ['s'], { to: 1 })];
    expect(reasonOf(decomposed(cast(elementTypes.int32)))).toBe('its scores are cast to int32');
    expect(decomposed(cast(elementTypes.float16))).toMatchObject([{ swap: {} }]);
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

  describe('a constant whose file is missing', () => {
    const entry = (key: string, value: string) =>
      bytesField(
        tensorFields.externalData,
        Uint8Array.from([...textField(1, key).whole, ...textField(2, value).whole]),
      );
    const gone = (name: string, dims: number[]) =>
      makeTensor(name, 'float32', dims, new Uint8Array(0)).with({
        [tensorFields.rawData]: [],
        [tensorFields.dataLocation]: [integerField(tensorFields.dataLocation, 1)],
        [tensorFields.externalData]: [entry('location', 'gone.data')],
      });
    const nodes = [
      makeNode('Transpose', ['k'], ['kT'], { perm: [0, 1, 3, 2] }),
      makeNode('MatMul', ['q', 'kT'], ['qk']),
      makeNode('Add', ['qk', 'mask'], ['s']),
      makeNode('Softmax', ['s'], ['p'], { axis: -1 }),
      makeNode('MatMul', ['p', 'v'], ['y']),
    ];
    const mask: Input = ['mask', 'float32', [1, 1, 2, 2]];

    it.each([
      ['a mask', gone('mask', [1, 1, 2, 2])],
      ['values', gone('v', [1, 4, 2, 16])],
    ])('%s', (_, missing) => {
      const inputs = [...operands, mask].map(([name, type, dims]) => makeValueInfo(name, type, dims));
      const given = inputs.filter((info) => info.text(1) !== missing.text(tensorFields.name));
      const outputs = [makeValueInfo('y', 'float32')];
      const { bytes } = makeModel({ opset: 17, nodes, initializers: [missing], inputs: given, outputs });
      expect(reasonOf(findSites(readModel(bytes), fixtures))).toMatch(/gone\.data.*ENOENT/);
    });
  });

  it('a softmax that is no attention is no site', () => {
    const weight = makeTensor('w', 'float32', [16, 10], new Float32Array(160));
    const nodes = [makeNode('MatMul', ['q', 'w'], ['s']), makeNode('Softmax', ['s'], ['y'], { axis: -1 })];
    expect(sitesOf(nodes, [weight])).toEqual([]);
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
