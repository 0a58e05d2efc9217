// A call that is made again with other memory: the bits of attentionSync(), and nothing where the memory is not as before.
// Reader: someone who changes lib/ops/attention/again.ts.

import { describe, expect, it } from 'vitest';
import { attentionSync, causal, Tensor } from '../../dist/index.js';
import { type CallMemory, RepeatedCall } from '../../dist/ops/attention/again.js';

const numbers = (size: number, seed: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(seed + 1.7 * i));
const [tokens, heads, dim] = [5, 2, 8];
const dims = [1, tokens, heads, dim];
const size = tokens * heads * dim;

/** A call whose keys are the second half of their memory. */
function prepared() {
  const memory = [numbers(size, 1), numbers(2 * size, 2), numbers(size, 3), new Float32Array(size)] as const;
  const [q, k, v, out] = memory;
  const keys = new Tensor('float32', k, dims, { offset: size });
  const options = { pattern: causal(), scale: 0.4, out: new Tensor('float32', out, dims) };
  const of = (data: Float32Array) => new Tensor('float32', data, dims);
  return RepeatedCall.of(of(q), keys, of(v), options, memory as unknown as CallMemory)!;
}

const again = (seed: number): Float32Array[] => [
  numbers(size, seed),
  numbers(2 * size, seed + 1),
  numbers(size, seed + 2),
  new Float32Array(size),
];

describe('a call that is made again', () => {
  it('gives what attentionSync() gives', () => {
    const call = prepared();
    for (const seed of [10, 20]) {
      const [q, k, v, out] = again(seed);
      expect(call.run([q, k, v, out] as never)).toBe(true);
      const [a, b, c] = [q, k.subarray(size), v].map((data) => new Tensor('float32', data, dims));
      expect(out).toEqual(attentionSync(a, b, c, { causal: true, scale: 0.4 }).out.data);
    }
  });

  it('is not made on memory of another kind or size, or that can be lost', () => {
    const call = prepared();
    const wrong = [
      new Float32Array(size - 1),
      new Uint16Array(size),
      new Float32Array(
        new (ArrayBuffer as never as new (n: number, o: object) => ArrayBuffer)(4 * size, { maxByteLength: 8 * size }),
      ),
    ];
    for (const data of wrong) {
      const memory = again(10);
      memory[0] = data as Float32Array;
      expect(call.run(memory as never)).toBe(false);
      expect(memory[3]).toEqual(new Float32Array(size));
    }
    const moved = again(10);
    structuredClone(moved[2].buffer, { transfer: [moved[2].buffer as ArrayBuffer] });
    expect(call.run(moved as never)).toBe(false);
  });
});
