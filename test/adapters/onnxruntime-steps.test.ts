// Tokens one by one after a prompt: GroupQueryAttention with packed operands and rotary embedding, against float64.
// Reader: someone who changes kept-step.ts or turn.ts. Every token from the second on repeats the call of the one before, with other
// memory.

import * as ort from 'onnxruntime-common';
import { describe, expect, it, vi } from 'vitest';
import { makeModel, makeNode, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { fuse } from '../../dist/adapters/onnxruntime/index.js';
import { KvCache } from '../../dist/caches/kv-cache.js';

const [heads, kvHeads, dim, pairs, positions] = [4, 2, 8, 4, 16];
const width = (heads + 2 * kvHeads) * dim;
const numbers = (size: number, seed: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(seed + 1.3 * i));
const [cos, sin] = [Math.cos, Math.sin].map((of) =>
  Float32Array.from({ length: positions * pairs }, (_, i) => of(Math.floor(i / pairs) / 3 ** (i % pairs))),
);

function session(isInterleaved: boolean) {
  const inputs = ['x', '', '', 'past_key', 'past_value', 'seqlens_k', 'total', 'cos', 'sin'];
  const outputs = ['y', 'present_key', 'present_value'];
  const attributes = {
    ...{ num_heads: heads, kv_num_heads: kvHeads, do_rotary: 1 },
    rotary_interleaved: Number(isInterleaved),
  };
  const past = ['past_key', 'past_value'].map((name) => makeValueInfo(name, 'float32', [1, kvHeads, 'past', dim]));
  const tables = ['cos', 'sin'].map((name) => makeValueInfo(name, 'float32', [positions, pairs]));
  const { bytes } = makeModel({
    opset: 21,
    inputs: [
      makeValueInfo('x', 'float32', [1, 'tokens', width]),
      ...past,
      makeValueInfo('seqlens_k', 'int32', [1]),
      makeValueInfo('total', 'int32', []),
      ...tables,
    ],
    outputs: outputs.map((name) => makeValueInfo(name, 'float32')),
    nodes: [makeNode('GroupQueryAttention', inputs, outputs, attributes, 'com.microsoft')],
  });
  return fuse(ort as never, bytes);
}

/** The head of a token's row, turned to its place: halves, or neighbours. */
function turned(row: Float32Array, head: number, place: number, isInterleaved: boolean): number[] {
  const x = Array.from(row.subarray(head * dim, (head + 1) * dim));
  const to = x.slice();
  for (let pair = 0; pair < pairs; ++pair) {
    const [a, b] = isInterleaved ? [2 * pair, 2 * pair + 1] : [pair, pair + pairs];
    const at = place * pairs + pair;
    to[a] = x[a] * cos[at] - x[b] * sin[at];
    to[b] = x[a] * sin[at] + x[b] * cos[at];
  }
  return to;
}

/** What the last of some tokens sees, heads one behind the other. */
function lastSees(rows: readonly Float32Array[], isInterleaved: boolean): number[] {
  const last = rows.length - 1;
  return Array.from({ length: heads }, (_, head) => {
    const kvHead = Math.floor((head * kvHeads) / heads);
    const q = turned(rows[last], head, last, isInterleaved);
    const keys = rows.map((row, place) => turned(row, heads + kvHead, place, isInterleaved));
    const weights = keys.map((k) => Math.exp(k.reduce((sum, value, d) => sum + value * q[d], 0) / Math.sqrt(dim)));
    const whole = weights.reduce((sum, weight) => sum + weight, 0);
    const begin = (heads + kvHeads + kvHead) * dim;
    return Array.from({ length: dim }, (_, d) =>
      rows.reduce((sum, row, place) => sum + (weights[place] / whole) * row[begin + d], 0),
    );
  }).flat();
}

describe('tokens that follow a prompt one by one', () => {
  it.each([
    ['halves', false],
    ['neighbours', true],
  ])('see what they should, with other queries, keys and values in each: %s are turned', async (_, isInterleaved) => {
    const model = await session(isInterleaved);
    using steps = vi.spyOn(KvCache.prototype, 'step');
    const rows: Float32Array[] = [];
    const tensor = (data: Float32Array, ...dims: number[]) => new ort.Tensor('float32', data, dims);
    let past = [0, 1].map(() => tensor(new Float32Array(0), 1, kvHeads, 0, dim));
    for (const [i, tokens] of [3, 1, 1, 1, 1].entries()) {
      const x = numbers(tokens * width, 5 * i);
      for (let t = 0; t < tokens; ++t) rows.push(x.subarray(t * width, (t + 1) * width));
      const { y, present_key, present_value } = (await model.run({
        x: tensor(x, 1, tokens, width),
        ...{ past_key: past[0], past_value: past[1], cos: tensor(cos, positions, pairs) },
        seqlens_k: new ort.Tensor('int32', Int32Array.of(rows.length - 1), [1]),
        ...{ total: new ort.Tensor('int32', Int32Array.of(rows.length), []), sin: tensor(sin, positions, pairs) },
      } as never)) as unknown as Record<string, ort.Tensor>;
      past = [present_key, present_value] as typeof past;
      const seen = (y.data as Float32Array).subarray((tokens - 1) * heads * dim);
      const expected = lastSees(rows, isInterleaved);
      for (const [i, value] of seen.entries()) expect(value).toBeCloseTo(expected[i], 5);
    }
    expect(steps.mock.results.map(({ value }) => value)).toEqual([true, true, true]);
  });
});
