// The same numbers anywhere in memory give the same bits: layouts, strides of any sign and size, odd alignment, and
// offsets past 2^31 elements. Reader: someone who changed address arithmetic.

import { describe, expect, it } from 'vitest';
import { attentionSync } from '../../dist/index.js';
import { type Built, build, type Case, callOf } from '../conformance/case.js';
import { expectedOf, run } from '../conformance/judge.js';
import { bitsOf, encode, operandOf, storages, toTensor } from '../conformance/memory.js';
import { Random } from '../conformance/random.js';
import { expectRight, expectSameBits, onEveryBackend, runCase } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { type ElementType, forEachIndex, type Operand, rowMajor } from '../references/operand.js';
import type { Problem } from '../references/problem.js';

// TypeScript's es2022 library does not know it yet; Node has it from version 24 on.
const Float16 = (globalThis as { Float16Array?: new (buffer: ArrayBufferLike) => Uint16Array }).Float16Array;

const shapes: Case[] = [
  { batch: 2, heads: [4, 2], queries: 70, keys: 90, dims: [20, 12], causal: true },
  { batch: 2, heads: [6, 2], queries: 1, keys: 300, dims: [64, 64] },
];

const strided = (problem: Problem): Built => ({ layout: 'bhnd', storage: 'gaps', is3d: false, problem });

/** An array that the system backs with memory only where it is touched; a reason instead where it gives out none. */
function allocate<T>(Type: new (length: number) => T, length: number): T | string {
  try {
    return new Type(length);
  } catch (error) {
    return `no ${length} elements of address space here: ${error}`;
  }
}

function fill(operand: Operand, seed: number): Operand {
  const random = new Random(seed);
  forEachIndex(operand, (index) => {
    operand.data[index] = encode(operand.type, [random.normal()])[0];
  });
  return operand;
}

onEveryBackend((backend) => {
  it('[head/stride layout] both layouts and every storage give the same bits', () => {
    for (const c of shapes) {
      for (const dtype of dtypes) {
        const dense = runCase({ ...c, dtype }, backend);
        for (const layout of ['bnhd', 'bhnd'] as const) {
          for (const storage of storages) {
            if (storage === 'repeated') continue; // holds other numbers
            expectSameBits(runCase({ ...c, dtype, layout, storage }, backend), dense, `${dtype} ${layout} ${storage}`);
          }
        }
      }
    }
  });

  it('[alignment] any element-aligned address will do', () => {
    for (const c of shapes) {
      for (const dtype of dtypes) {
        const built = build({ ...c, dtype });
        const straight = run(built, backend);
        for (const shift of [1, 3, 7]) {
          const move = (operand: Operand): Operand => {
            const data = new (operand.data.constructor as typeof Float32Array)(operand.data.length + shift);
            data.set(operand.data, shift);
            return { ...operand, data: data.subarray(shift) };
          };
          const { query, key, value } = built.problem;
          const problem = { ...built.problem, query: move(query), key: move(key), value: move(value) };
          expectSameBits(run({ ...built, problem }, backend), straight, `${dtype} shifted by ${shift}`);
        }
      }
    }
  });

  it.skipIf(!Float16)('float16 numbers in a Float16Array are the bits in a Uint16Array', () => {
    for (const c of shapes) {
      const built = build({ ...c, dtype: 'float16' });
      const { query, key, value } = built.problem;
      const asNumbers = (operand: Operand): Operand => ({ ...operand, data: new Float16!(operand.data.buffer) });
      const problem = { ...built.problem, query: asNumbers(query), key: asNumbers(key), value: asNumbers(value) };
      expectSameBits(run({ ...built, problem }, backend), run(built, backend));
    }
  });

  it('stride 0 repeats a token, a head, a batch entry, or one element of a whole row', () => {
    const dims = [2, 3, 40, 8];
    const views = [
      [0, 320, 8, 1],
      [960, 0, 8, 1],
      [960, 320, 0, 1],
      [960, 320, 8, 0],
      [0, 0, 0, 0],
    ];
    for (const dtype of dtypes) {
      for (const strides of views) {
        const view = (seed: number): Operand => ({
          ...fill(operandOf(dtype, dims, new Float64Array(1920)), seed),
          strides,
        });
        // Values that are all one number would add up to the same rounding error 40 times over.
        const value = strides.some((stride) => stride > 0) ? view(3) : { ...view(3), strides: rowMajor(dims) };
        const problem = { query: view(1), key: view(2), value, causal: true };
        expectRight(run(strided(problem), backend), expectedOf(problem), `${dtype} ${strides}`);
        const decode = { ...problem, query: { ...problem.query, dims: [2, 3, 1, 8] } };
        expectRight(run(strided(decode), backend), expectedOf(decode), `${dtype} ${strides}, one query`);
      }
    }
  });

  it('windows of one buffer that overlap (a convolution without a copy)', () => {
    const signal = fill(operandOf('float32', [1, 1, 1, 200], new Float64Array(200)), 4);
    const view: Operand = { ...signal, dims: [1, 1, 180, 16], strides: [0, 0, 1, 1] };
    const problem = { query: view, key: view, value: view, left: 10, right: 10 };
    expectRight(run(strided(problem), backend), expectedOf(problem));
  });

  it('bias and mask under negative, zero and uneven strides', () => {
    const built = build({ batch: 2, heads: [2, 2], queries: 30, keys: 50, dims: [8, 8] });
    const dense = fill(operandOf('float16', [4000], new Float64Array(4000)), 9);
    const bits = operandOf(
      'bool',
      [4000],
      Array.from({ length: 4000 }, (_, i) => (i % 3 ? 1 : 0)),
    );
    const dims = [2, 2, 30, 50];
    for (const [strides, offset] of [
      [[1000, 500, -7, 3], 300],
      [[0, 0, 1, -1], 60],
      [[13, 17, 0, 5], 0],
      [[1, 1, 50, 1], 2],
    ] as const) {
      const view = (operand: Operand): Operand => ({ ...operand, dims, strides: [...strides], offset });
      for (const change of [{ bias: view(dense) }, { mask: view(bits) }, { bias: view(dense), mask: view(bits) }]) {
        const problem = { ...built.problem, ...change };
        expectRight(run({ ...built, problem }, backend), expectedOf(problem), `${strides}`);
        const decode = {
          ...problem,
          query: { ...problem.query, dims: [2, 2, 1, 8] },
          ...(problem.bias && { bias: { ...problem.bias, dims: [2, 2, 1, 50] } }),
          ...(problem.mask && { mask: { ...problem.mask, dims: [2, 2, 1, 50] } }),
        };
        expectRight(
          run({ ...built, storage: 'gaps', problem: decode }, backend),
          expectedOf(decode),
          `${strides}, one query`,
        );
      }
    }
  });
});

// Buffers of which a handful of pages is ever touched. Indices and strides of 2^29 elements fit an int32, their products
// do not.
const stride = 2 ** 29;
const inputs = allocate(Uint16Array, 5 * stride + 4096);
const outputs = allocate(Uint16Array, 5 * stride + 4096);
const floats = allocate(Float32Array, 2 ** 31 + 8192);
const bytes = allocate(Uint8Array, 5 * stride + 4096);
const refusals = [inputs, outputs, floats, bytes].filter((buffer) => typeof buffer === 'string');

describe.skipIf(refusals.length > 0)(`offsets past 2^31 elements ${refusals.join('; ')}`, () => {
  const far = (
    type: ElementType,
    data: unknown,
    dims: number[],
    strides: number[],
    offset: number,
    seed: number,
  ): Operand => fill({ type, data: data as Uint16Array, dims, strides, offset }, seed);

  onEveryBackend((backend) => {
    const expectFar = (problem: Problem): void => expectRight(run(strided(problem), backend), expectedOf(problem));

    it.each([
      ['tokens', [1, 1, 6, 8], [0, 0, stride, 1], 0],
      ['heads', [1, 6, 5, 8], [0, stride, 8, 1], 0],
      ['batch entries', [6, 1, 5, 8], [stride, 0, 8, 1], 0],
      ['elements of a row', [1, 1, 5, 6], [0, 0, 8, stride], 0],
      ['tokens, backwards,', [1, 1, 6, 8], [0, 0, -stride, 1], 5 * stride],
    ])('[int32 offset overflow] %s 2^29 elements apart', (_, dims, strides, offset) => {
      const operand = (nth: number): Operand => far('float16', inputs, dims, strides, offset + 100 * nth, nth + 1);
      const problem = { query: operand(0), key: operand(1), value: operand(2), causal: true };
      expectFar(problem);
      const [b, h, , d] = dims;
      expectFar({ ...problem, query: { ...problem.query, dims: [b, h, 1, d] } });
    });

    it('[int32 offset overflow] dense tensors behind 2^31 elements', () => {
      const dims = [1, 2, 20, 16];
      const operand = (nth: number): Operand =>
        far('float32', floats, dims, [0, 320, 16, 1], 2 ** 31 + 1000 * nth, nth + 1);
      expectFar({ query: operand(0), key: operand(1), value: operand(2) });
    });

    it('[int32 offset overflow] bias and mask rows 2^29 elements apart', () => {
      const built = build({ queries: 6, keys: 40, dims: [8, 8] });
      const bias = far('float16', inputs, [6, 40], [stride, 1], 3000, 7);
      const mask = far('bool', bytes, [6, 40], [stride, 1], 5, 8);
      forEachIndex(mask, (index) => {
        mask.data[index] = index % 2;
      });
      for (const change of [{ bias }, { mask }]) {
        const problem = { ...built.problem, ...change };
        expectRight(run({ ...built, problem }, backend), expectedOf(problem));
      }
    });

    it('[int32 offset overflow] rows of out 2^29 elements apart', () => {
      for (const queries of [1, 5]) {
        const built = build({ batch: 6, queries, keys: 7, dims: [8, 8], dtype: 'float16', layout: 'bhnd' });
        const { query, key, value, options } = callOf(built);
        const out: Operand = {
          type: 'float16',
          data: outputs as Uint16Array,
          dims: [6, 1, queries, 8],
          strides: [stride, 0, 8, 1],
          offset: 0,
        };
        attentionSync(query, key, value, { ...options, out: toTensor(out, 'bhnd'), device: backend.device });
        expect(bitsOf(out)).toEqual(bitsOf(run(built, backend).out));
      }
    });
  });
});
