// Head counts that differ between queries and keys, against numbers computed elsewhere (golden/sqa.json): grouped,
// multi-query and sparse-query attention (arXiv 2510.01817), and reverse SQA in both pairings.
// Reader: someone who wants to see which head meets which. The reference and every backend have to agree with the file.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Backend } from './conformance/backends.js';
import type { Built } from './conformance/case.js';
import { run } from './conformance/judge.js';
import { operandOf } from './conformance/memory.js';
import { onEveryBackend } from './conformance/suite.js';
import { attention } from './reference/attention.js';
import { type Operand, toNumbers } from './reference/operand.js';

type Rows = number[][]; // [token][feature]
type Heads = number[][][]; // [token][head][dim]

interface Golden {
  ops: {
    name: string;
    causal: boolean;
    pairing: 'gqa' | 'tile' | 'interleave';
    scale: number;
    q: Heads;
    k: Heads;
    v: Heads;
    out: Heads;
    lse: Rows;
  }[];
  layer: {
    Hq: number;
    Hkv: number;
    headDim: number;
    scale: number;
    X: Rows;
    Wq: Rows;
    Wk: Rows;
    Wv: Rows;
    headsOut: Heads;
  };
}

const golden: Golden = JSON.parse(readFileSync(new URL('./golden/sqa.json', import.meta.url), 'utf8'));

/** [token][head][dim] as an operand [1, heads, tokens, dim]. */
function operand(heads: Heads): Operand {
  const [tokens, count, dim] = [heads.length, heads[0].length, heads[0][0].length];
  const dense = operandOf('float32', [1, tokens, count, dim], heads.flat(2));
  return { ...dense, dims: [1, count, tokens, dim], strides: [0, dim, count * dim, 1] };
}

const headsFirst = (heads: Heads): number[] => heads[0].flatMap((_, h) => heads.flatMap((token) => token[h]));

const cases = golden.ops.map((op) => {
  const problem = { query: operand(op.q), key: operand(op.k), value: operand(op.v), scale: op.scale };
  const built: Built = {
    layout: 'bnhd',
    storage: 'dense',
    is3d: false,
    problem: {
      ...problem,
      ...(op.causal && { causal: true }),
      ...(op.pairing !== 'gqa' && { pairing: op.pairing }),
    },
  };
  const lse = op.lse[0].flatMap((_, h) => op.lse.map((token) => token[h]));
  return { name: `${op.name}${op.causal ? ', causal' : ''}`, built, out: headsFirst(op.out), lse };
});

function expectClose(got: Float64Array, want: number[], digits: number): void {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < want.length; i++) expect(got[i]).toBeCloseTo(want[i], digits);
}

describe('the reference', () => {
  it.each(cases)('$name', ({ built, out, lse }) => {
    const result = attention(built.problem);
    expectClose(result.out, out, 9);
    expectClose(result.lse, lse, 9);
  });
});

onEveryBackend((backend: Backend) => {
  it.each(cases)('$name', ({ built, out, lse }) => {
    const result = run(built, backend);
    expectClose(toNumbers(result.out), out, 5);
    expectClose(toNumbers(result.lse), lse, 5);
  });

  it('a layer with fewer query heads: project, attend, and the heads come out in order', () => {
    const { X, Wq, Wk, Wv, Hq, Hkv, headDim, scale, headsOut } = golden.layer;
    const project = (weights: Rows, heads: number): Operand => {
      const rows = X.map((x) => weights[0].map((_, o) => x.reduce((sum, value, i) => sum + value * weights[i][o], 0)));
      return operand(
        rows.map((row) => Array.from({ length: heads }, (_, h) => row.slice(h * headDim, (h + 1) * headDim))),
      );
    };
    const problem = {
      query: project(Wq, Hq),
      key: project(Wk, Hkv),
      value: project(Wv, Hkv),
      scale,
      causal: true,
    };
    const { out } = run({ layout: 'bnhd', storage: 'dense', is3d: false, problem }, backend);
    expectClose(toNumbers(out), headsFirst(headsOut), 4);
  });
});
