// Zoology's multi-query associative recall (MQAR, arXiv 2312.04927) as an acceptance test, by construction and without training:
// what a window of 64 tokens forgets, a Taylor state of fixed size recalls. Reader: someone who asks what BASED's two halves are for.
// A text names pairs of a key and a value, then asks for the values of keys, some of them long after the pairs.

import { describe, expect, it } from 'vitest';
import { attentionSync, LinearState, linearAttentionStepSync, linearAttentionSync, Tensor } from '../../dist/index.js';
import { onEveryCpu } from '../support/ext-linear.js';
import { uniformNumbers } from '../support/uniform.mjs';

const [pairs, tokens, window] = [16, 600, 64];
/** Length of a key's row: keys that match have s = q.k / sqrt(16) = 225, others 0. */
const length = 30;

interface Text {
  /** Per token: the key it is, or -1; and the value it is. */
  readonly keys: readonly number[];
  readonly values: readonly number[];
  /** Tokens that ask for a value, which, and how far back the pair is. */
  readonly questions: readonly { token: number; value: number; gap: number }[];
}

/** Pairs in random order, then questions at gaps that grow like a power, with fillers between. */
function textOf(seed: number): Text {
  const next = uniformNumbers(seed);
  const shuffled = () =>
    Array.from({ length: pairs }, (_, i) => ({ i, at: next() }))
      .sort((a, b) => a.at - b.at)
      .map(({ i }) => i);
  const [order, valueOfKey] = [shuffled(), shuffled()];
  const keys = new Array<number>(tokens).fill(-1);
  const values = new Array<number>(tokens).fill(-1);
  order.forEach((key, i) => {
    keys[2 * i] = key;
    values[2 * i + 1] = valueOfKey[key];
  });
  const questions = shuffled().map((key, i) => {
    const token = 2 * pairs + Math.floor((tokens - 2 * pairs) * ((i + 0.5) / pairs) ** 2);
    keys[token] = key;
    return { token, value: valueOfKey[key], gap: token - (2 * order.indexOf(key) + 1) };
  });
  return { keys, values, questions };
}

/** A row of 16 numbers for every token: `size` at the place that `of` names, 0 elsewhere. */
const oneHot = (of: (token: number) => number, size: number) => {
  const data = new Float32Array(tokens * pairs);
  for (let t = 0; t < tokens; t++) if (of(t) >= 0) data[t * pairs + of(t)] = size;
  return new Tensor('float32', data, [1, tokens, 1, pairs]);
};

/** A token asks with the key it is, and is found by the key of the token before it. */
const operandsOf = ({ keys, values }: Text) =>
  [oneHot((t) => keys[t], length), oneHot((t) => keys[t - 1] ?? -1, length), oneHot((t) => values[t], 1)] as const;

/** The value a row names, -1 if none has half of the weight. */
const namedBy = (row: ArrayLike<number>): number => Array.from(row).findIndex((x) => x > 0.5);
const rowsOf =
  ({ data }: Tensor<'float32'>) =>
  (token: number) =>
    data.subarray(token * pairs, (token + 1) * pairs);

onEveryCpu(() => {
  describe.each([1, 2, 3])('text %i', (seed) => {
    const text = textOf(seed);
    const [q, k, v] = operandsOf(text);
    const near = attentionSync(q, k, v, { recentTokens: window, device: 'cpu' }).out;
    const options = { featureMap: 'taylor2', normalize: 'sum' } as const;
    const far = linearAttentionSync(q, k, v, { ...options, device: 'cpu' }).out;

    it('a window answers what it still sees, and nothing else', () => {
      const old = text.questions.filter(({ gap }) => gap >= window);
      expect(old.length).toBeGreaterThan(4);
      expect(text.questions.length - old.length).toBeGreaterThan(2);
      for (const { token, value, gap } of text.questions) {
        expect(namedBy(rowsOf(near)(token))).toBe(gap < window ? value : -1);
      }
    });

    it('a window and a Taylor state answer everything', () => {
      for (const { token, value } of text.questions) {
        const sum = rowsOf(near)(token).map((x, e) => x + rowsOf(far)(token)[e]);
        expect(namedBy(sum)).toBe(value);
      }
    });

    it('a Taylor state answers a token at a time, in memory that does not grow', () => {
      const state = new LinearState({ kvHeads: 1, headDim: pairs, valueDim: pairs, ...options });
      const { bytes } = state;
      const asked = new Map(text.questions.map(({ token, value }) => [token, value]));
      for (let t = 0; t < tokens; t++) {
        const at = (x: Tensor<'float32'>) => x.slice(1, t, t + 1);
        const { out } = linearAttentionStepSync(at(q), at(k), at(v), state, { device: 'cpu' });
        if (asked.has(t)) expect(namedBy(out.data)).toBe(asked.get(t));
      }
      expect(state.bytes).toBe(bytes);
    });
  });
});
