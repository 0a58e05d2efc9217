// sampledBlocks({ unbiased }): what is added to the scores of kept blocks, and that it makes up for those left out.
// Reader: someone who changes what lists add. The reference is attention with a mask of the kept blocks and a bias.

import { describe, expect, it } from 'vitest';
import {
  attentionSync,
  causal,
  numThreads,
  type SampledBlocksOptions,
  sampledBlocks,
  setNumThreads,
  Tensor,
} from '../../dist/index.js';
import { build, type Case, callOf } from '../conformance/case.js';
import { expectedOf } from '../conformance/judge.js';
import { fromOutput, fromTensor, operandOf } from '../conformance/memory.js';
import { expectRight, onEveryBackend } from '../conformance/suite.js';
import { range, toNumbers } from '../references/operand.js';
import type { Problem } from '../references/problem.js';
import { isKept, piOf, type Rule } from '../references/sampled-blocks.js';
import { isSame, tensor } from '../support/tensors.js';
import { view } from '../support/views.js';

const cpu = { returnLse: true, device: 'cpu' } as const;
const [heads, kvHeads] = [4, 2];
const operands = [tensor(1, 200, heads, 16), tensor(1, 200, kvHeads, 16), tensor(1, 200, kvHeads, 16)] as const;
const called = (options: SampledBlocksOptions) =>
  attentionSync(...operands, { pattern: sampledBlocks(options), ...cpu });

const rules = [
  { keep: [1, 0.9, 0.5, 0, 0.2] },
  { keep: [1, 1, 1, 0.3] },
  { geometric: { rho: 0.5, floor: 0.1 } },
  { power: 1.5 },
];

describe('what is added', () => {
  it.each(rules)('weights: a kept block weighs 1 / probability times what it would, its own block once: %j', (rule) => {
    const [block, tokens, seed] = [4, 50, 9];
    const identity = new Float32Array(tokens * tokens);
    for (let j = 0; j < tokens; ++j) identity[j * tokens + j] = 1;
    const zeros = Tensor.zeros('float32', [1, tokens, 1, 4]);
    const pattern = sampledBlocks({ block, ...rule, seed, unbiased: true });
    const values = new Tensor('float32', identity, [1, tokens, 1, tokens]);
    const { out, lse } = attentionSync(zeros, zeros, values, { pattern, ...cpu });
    for (let i = 0; i < tokens; ++i) {
      const queryBlock = Math.floor(i / block);
      const weights = range(0, tokens).map((j) => {
        const keyBlock = Math.floor(j / block);
        const isSeen = j <= i && isKept({ seed, layer: 0, head: 0, queryBlock, keyBlock }, piOf(rule));
        return isSeen ? 1 / piOf(rule)(queryBlock - keyBlock) : 0;
      });
      const sum = weights.reduce((a, w) => a + w, 0);
      expect(lse.data[i], `query ${i}`).toBeCloseTo(Math.log(sum), 5);
      weights.forEach((w, j) => {
        expect(out.data[i * tokens + j], `query ${i}, key ${j}`).toBeCloseTo(w / sum, 5);
      });
    }
  });

  it('is off by default', () => {
    const rule = { block: 16, keep: 0.5, seed: 3 };
    const [plain, off, on] = [called(rule), called({ ...rule, unbiased: false }), called({ ...rule, unbiased: true })];
    expect(isSame(off.out.data, plain.out.data)).toBe(true);
    expect(isSame(on.out.data, plain.out.data)).toBe(false);
  });

  it('certain: with probability 1 it changes no bit', () => {
    for (const rule of [{ keep: 1 }, { keep: [0.5, 1] }, { geometric: { rho: 0.1, floor: 1 } }, { power: 0 }]) {
      const [plain, on] = [called({ block: 16, ...rule }), called({ block: 16, ...rule, unbiased: true })];
      expect(isSame(on.out.data, plain.out.data)).toBe(true);
      expect(isSame(on.lse.data, plain.lse.data)).toBe(true);
    }
  });

  it('determinism: the same bits for any number of threads', () => {
    const rule = { block: 8, keep: 0.5, seed: 7, unbiased: true };
    const first = called(rule);
    const before = numThreads();
    try {
      for (const threads of [1, 3]) {
        setNumThreads(threads);
        expect(isSame(called(rule).out.data, first.out.data)).toBe(true);
      }
    } finally {
      setNumThreads(before);
    }
  });
});

describe('what it is for', () => {
  it('over the seeds both sums of a row are on average those of causal attention, within five deviations', () => {
    const [block, tokens, dim, seeds] = [4, 24, 8, 1000];
    const [q, k, v] = [tensor(1, tokens, 1, dim), tensor(1, tokens, 1, dim), tensor(1, tokens, 1, dim)];
    const rule = { keep: [1, 0.7, 0.4, 0.25] };
    const dense = attentionSync(q, k, v, { pattern: causal(), ...cpu });
    // Weights of causal attention: a block kept with probability pi and weighed 1 / pi has mean w and variance
    // w^2 (1 / pi - 1), w being its part of the sum.
    const means = new Float64Array(tokens * (dim + 1));
    for (let seed = 0; seed < seeds; ++seed) {
      const { out, lse } = attentionSync(q, k, v, {
        pattern: sampledBlocks({ block, ...rule, seed, unbiased: true }),
        ...cpu,
      });
      for (let i = 0; i < tokens; ++i) {
        const sum = Math.exp(lse.data[i] - dense.lse.data[i]);
        means[i * (dim + 1)] += sum / seeds;
        for (let d = 0; d < dim; ++d) means[i * (dim + 1) + 1 + d] += (sum * out.data[i * dim + d]) / seeds;
      }
    }
    const weightOf = (i: number, j: number) => {
      const score = range(0, dim).reduce((s, d) => s + q.data[i * dim + d] * k.data[j * dim + d], 0) / Math.sqrt(dim);
      return Math.exp(score - dense.lse.data[i]);
    };
    for (let i = 0; i < tokens; ++i) {
      for (let term = 0; term <= dim; ++term) {
        const termOf = (j: number) => (term === 0 ? 1 : v.data[j * dim + term - 1]);
        let [mean, variance] = [0, 0];
        for (let first = 0; first <= i; first += block) {
          const keys = range(first, Math.min(first + block, i + 1));
          const part = keys.reduce((sum, j) => sum + weightOf(i, j) * termOf(j), 0);
          mean += part;
          variance += part ** 2 * (1 / piOf(rule)(Math.floor(i / block) - first / block) - 1);
        }
        const allowed = 5 * Math.sqrt(variance / seeds) + 1e-5;
        expect(Math.abs(means[i * (dim + 1) + term] - mean), `query ${i}, term ${term}`).toBeLessThan(allowed);
      }
    }
  });
});

type Sampled = Rule & { readonly block: number; readonly seed: number; readonly layer: number };

/** Keys that a query keeps, and what is added to their scores, as a mask and a bias of [batch, heads, queries, keys]. */
function asMaskAndBias({ block, seed, layer, ...rule }: Sampled, c: Case) {
  const { batch = 1, queries, keys, keyLengths = new Array<number>(batch).fill(keys) } = c;
  const pi = piOf(rule);
  const [kept, addends] = [[] as number[], [] as number[]];
  for (let b = 0; b < batch; ++b)
    for (let h = 0; h < heads; ++h)
      for (let i = 0; i < queries; ++i) {
        const position = i + keyLengths[b] - queries;
        const queryBlock = Math.floor(position / block);
        for (let j = 0; j < keys; ++j) {
          const keyBlock = Math.floor(j / block);
          const isSeen =
            j <= position && isKept({ seed, layer, head: Math.floor((h * kvHeads) / heads), queryBlock, keyBlock }, pi);
          kept.push(Number(isSeen));
          addends.push(isSeen ? -Math.log(pi(queryBlock - keyBlock)) : 0);
        }
      }
  const dims = [batch, heads, queries, keys];
  return { mask: operandOf('bool', dims, kept), bias: operandOf('float32', dims, addends) };
}

onEveryBackend((backend) => {
  const cases: [string, Rule & { block: number }, Partial<Case> & Pick<Case, 'queries' | 'keys'>][] = [
    ['prefill', { block: 16, keep: [1, 0.5, 0.3] }, { queries: 150, keys: 150 }],
    ['blocks longer than tiles', { block: 100, power: 1 }, { batch: 1, queries: 220, keys: 220 }],
    ['a chunk inside of a block', { block: 24, keep: 0.4 }, { queries: 50, keys: 130 }],
    ['decode', { block: 64, power: 0.5 }, { queries: 1, keys: 700 }],
    ['decode of short blocks', { block: 5, geometric: { rho: 0.9, floor: 0.2 } }, { queries: 1, keys: 600 }],
    ['a few queries', { block: 32, keep: 0.5 }, { queries: 5, keys: 300, dims: [20, 24] }],
    ['lengths', { block: 16, keep: 0.5 }, { queries: 30, keys: 200, keyLengths: [200, 117] }],
    ['softcap, ALiBi, sinks', { block: 16, keep: 0.5 }, { queries: 90, keys: 90, softcap: 2, alibi: 'h', sinks: true }],
    ['a scale of -2', { block: 16, keep: 0.5 }, { queries: 90, keys: 90, scale: -2 }],
    ['extra keys', { block: 16, keep: 0.5 }, { queries: 90, keys: 90, extra: 7 }],
  ];
  const unbiased = (problem: Problem, options: Parameters<typeof sampledBlocks>[0]) => {
    const { query, key, value, options: told } = callOf(view(problem));
    const pattern = sampledBlocks({ ...options, unbiased: true });
    return attentionSync(query, key, value, { ...told, pattern, device: backend.device });
  };
  it.each(cases)('is right with every type: %s', (_, rule, sizes) => {
    for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
      const c: Case = { batch: 2, heads: [heads, kvHeads], dims: [24, 20], dtype, seed: 4, ...sizes };
      const options = { ...rule, seed: 5, layer: 2 };
      const { problem } = build(c);
      const { out, lse } = unbiased(problem, options);
      const found = { out: fromOutput(out, 'bhnd'), lse: fromTensor(lse!) };
      expectRight(found, expectedOf({ ...problem, ...asMaskAndBias(options, c) }), dtype);
    }
  });

  it('with a mask and a bias of the call, too', () => {
    const c: Case = {
      ...{ heads: [heads, kvHeads], queries: 70, keys: 140, dims: [32, 32] },
      ...{ bias: { axes: 'hqk' }, mask: { axes: 'qk', hidden: 0.3 } },
    };
    const options = { block: 16, keep: 0.6, seed: 1, layer: 0 };
    const { problem } = build(c);
    const { out, lse } = unbiased(problem, options);
    const { mask, bias } = asMaskAndBias(options, c);
    const [given, hidden] = [toNumbers(problem.bias!), toNumbers(problem.mask!)];
    const both = toNumbers(bias).map((x, n) => x + given[n]);
    const seen = toNumbers(mask).map((x, n) => x * hidden[n % hidden.length]);
    const whole = { ...problem, bias: operandOf('float32', bias.dims, both), mask: operandOf('bool', mask.dims, seen) };
    expectRight({ out: fromOutput(out, 'bhnd'), lse: fromTensor(lse!) }, expectedOf(whole));
  });
});
