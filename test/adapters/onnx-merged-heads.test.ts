// Reshapes that split heads and put them together: they fall away where batch and tokens are known to stay, and stay where not.
// Reader: someone who changes merged-heads.ts or lengths.ts. What each graph asks for is in its name; sizes are worked out by hand.

import { describe, expect, it } from 'vitest';
import { makeNode, makeTensor } from '../../dist/adapters/onnx/make.js';
import type { Message } from '../../dist/adapters/onnx/message.js';
import { type Input, sitesOf } from './onnx-graphs.js';

const numbers = (name: string, ...values: number[]): Message =>
  makeTensor(
    name,
    'int64',
    values.length === 1 && name === 'index' ? [] : [values.length],
    BigInt64Array.from(values, BigInt),
  );
const [heads, dim] = [4, 16];
const x: Input = ['x', 'float32', ['batch', 'tokens', heads * dim]];
const weight = makeTensor('weight', 'float32', [heads * dim, heads * dim], new Float32Array((heads * dim) ** 2));

/** Axis `at` of a value, as a list of one length. */
const length = (value: string, at: number, as: string): Message[] => [
  makeNode('Shape', [value], [`${as}_dims`]),
  makeNode('Constant', [], [`${as}_at`], { value: makeTensor('', 'int64', [], BigInt64Array.of(BigInt(at))) }),
  makeNode('Gather', [`${as}_dims`, `${as}_at`], [`${as}_one`], { axis: 0 }),
  makeNode('Unsqueeze', [`${as}_one`, 'zero'], [as]),
];

/** Attention of projections of x: all are split by the shape `split`, and the output is put together by `merged`. */
function operandsOf(before: Message[], more: Message[] = [], allowzero = 0) {
  const rows = (name: string) => [
    makeNode('MatMul', ['x', 'weight'], [`${name}_rows`]),
    makeNode('Reshape', [`${name}_rows`, 'split'], [`${name}_split`], { allowzero }),
  ];
  const nodes = [
    ...before,
    ...['q', 'k', 'v'].flatMap((name) => rows(`my_${name}`)),
    makeNode('Transpose', ['my_q_split'], ['q_'], { perm: [0, 2, 1, 3] }),
    makeNode('Transpose', ['my_k_split'], ['k_'], { perm: [0, 2, 3, 1] }),
    makeNode('Transpose', ['my_v_split'], ['v_'], { perm: [0, 2, 1, 3] }),
    makeNode('MatMul', ['q_', 'k_'], ['scores']),
    makeNode('Softmax', ['scores'], ['weights'], { axis: -1 }),
    makeNode('MatMul', ['weights', 'v_'], ['attended']),
    makeNode('Transpose', ['attended'], ['rows'], { perm: [0, 2, 1, 3] }),
    makeNode('Reshape', ['rows', 'merged'], ['y']),
  ];
  const [{ swap, reason }] = sitesOf(nodes, [weight, numbers('zero', 0), ...more], [x]);
  expect(reason).toBeUndefined();
  return { q: swap!.q, k: swap!.k, v: swap!.v, out: swap!.out };
}

const whole = (name: string) => ({ value: name });
const fallen = { q: whole('my_q_rows'), k: whole('my_k_rows'), v: whole('my_v_rows'), out: whole('y') };
const order = [0, 2, 1, 3];
const kept = {
  ...{ q: { value: 'my_q_split', order }, k: { value: 'my_k_split', order } },
  ...{ v: { value: 'my_v_split', order }, out: { value: 'rows', order } },
};

describe('a Reshape falls away', () => {
  it.each([
    [
      [0, 0, 4, 16],
      [0, 0, 64],
    ],
    [
      [0, 0, -1, 16],
      [0, 0, -1],
    ],
  ])('that asks for %j, and %j behind it', (split, merged) => {
    expect(operandsOf([], [numbers('split', ...split), numbers('merged', ...merged)])).toEqual(fallen);
  });

  it('whose lengths are those of the input, by Shape', () => {
    const before = [
      ...length('x', 0, 'batch'),
      ...length('x', -2, 'tokens'),
      makeNode('Concat', ['batch', 'tokens', 'free', 'dim'], ['split'], { axis: 0 }),
      makeNode('Concat', ['batch', 'tokens', 'free'], ['merged'], { axis: 0 }),
    ];
    expect(operandsOf(before, [numbers('free', -1), numbers('dim', dim)])).toEqual(fallen);
  });

  it('whose tokens are what is left next to the batch, in front', () => {
    const before = [
      ...length('x', 0, 'batch'),
      makeNode('Concat', ['batch', 'free', 'heads', 'dim'], ['split'], { axis: 0 }),
      makeNode('Concat', ['batch', 'free', 'width'], ['merged'], { axis: 0 }),
    ];
    const more = [numbers('free', -1), numbers('heads', heads), numbers('dim', dim), numbers('width', heads * dim)];
    // Behind attention the batch may be that of keys, and the free length takes what does not fit.
    expect(operandsOf(before, more)).toEqual({ ...fallen, out: kept.out });
  });
});

describe('a Reshape stays', () => {
  it('that makes one batch entry of all', () => {
    const shapes = [numbers('split', 1, -1, 4, 16), numbers('merged', 1, -1, 64)];
    expect(operandsOf([], shapes)).toEqual(kept);
  });

  it('whose lengths are those of something else, or exchanged', () => {
    const before = [
      ...length('x', 1, 'tokens'),
      ...length('x', 0, 'batch'),
      makeNode('Concat', ['tokens', 'batch', 'heads', 'dim'], ['split'], { axis: 0 }),
      makeNode('Concat', ['tokens', 'batch', 'width'], ['merged'], { axis: 0 }),
    ];
    const more = [numbers('heads', heads), numbers('dim', dim), numbers('width', heads * dim)];
    // Behind attention they are those of its own.
    expect(operandsOf(before, more)).toEqual({ ...kept, out: fallen.out });
  });

  it('whose zeros are lengths', () => {
    const shapes = [numbers('split', 0, 0, 4, 16), numbers('merged', 0, 0, 64)];
    expect(operandsOf([], shapes, 1)).toMatchObject({ q: kept.q, k: kept.k, v: kept.v });
  });
});
