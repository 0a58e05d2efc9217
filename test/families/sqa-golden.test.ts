// Head counts that differ between queries and keys, against numbers computed elsewhere (golden/sqa.json): grouped,
// multi-query and sparse-query attention (arXiv 2510.01817), and reverse SQA in both pairings.
// Reader: someone who wants to see which head meets which. The reference and every backend have to agree with the file.

import { describe, it } from 'vitest';
import type { Backend } from '../conformance/backends.js';
import type { Built } from '../conformance/case.js';
import { run } from '../conformance/judge.js';
import { onEveryBackend } from '../conformance/suite.js';
import { attention } from '../references/attention.js';
import { type Operand, toNumbers } from '../references/operand.js';
import {
  expectClose,
  type Heads,
  headsFirst,
  operandOfHeads,
  type Rows,
  readGolden,
  rowsFirst,
} from '../support/golden.js';

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

const golden = readGolden<Golden>('sqa');

const cases = golden.ops.map((op) => {
  const problem = {
    query: operandOfHeads(op.q),
    key: operandOfHeads(op.k),
    value: operandOfHeads(op.v),
    scale: op.scale,
  };
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
  return { name: `${op.name}${op.causal ? ', causal' : ''}`, built, out: headsFirst(op.out), lse: rowsFirst(op.lse) };
});

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
      return operandOfHeads(
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
