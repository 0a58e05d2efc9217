// Every golden mask beyond the five families, handed over as ranges: what a query sees is the file's, and so are the
// outputs. Reader: someone who changed ranges() or how its runs are planned.

import { describe, expect, it } from 'vitest';
import { attentionSync, ranges, type TensorLike } from '../../dist/index.js';
import { fromOutput, fromTensor, toTensor } from '../conformance/memory.js';
import { onEveryBackend } from '../conformance/suite.js';
import { toNumbers } from '../references/operand.js';
import { type ExtCase, extHeadsFirst, extNumbers, extOperand, extPatterns } from '../support/ext-patterns.js';
import { expectClose } from '../support/golden.js';

/** Masks that are the same for the whole batch, of calls without another option that counts positions. */
const cases = (extPatterns.cases as ExtCase[]).filter(
  ({ op, options, visible, out }) =>
    op === 'attention' && visible && out && !options.alibiSlopes && !Array.isArray((options.qPos as unknown[])?.[0]),
);

/** [heads, queries, most] of the visible runs: begins, or ends. */
function boundsOf(visible: number[][][], end: 0 | 1): TensorLike {
  const most = Math.max(1, ...visible.flat().map((runs) => runs.length / 2));
  const rows = visible.flat().flatMap((runs) => Array.from({ length: most }, (_, i) => runs[2 * i + end] ?? 0));
  return { type: 'int32', data: Int32Array.from(rows), dims: [visible.length, visible[0].length, most] };
}

it('there are golden masks of every kind', () => {
  expect(cases.length).toBeGreaterThan(90);
  expect(new Set(cases.map(({ options }) => options.pattern?.kind)).size).toBeGreaterThan(4);
});

onEveryBackend((backend) => {
  describe('outputs and lse', () => {
    it.each(cases.map((c) => [c.name, c] as const))('%s', (_, { q, k, v, visible, out, lse }) => {
      const [query, key, value] = [q, k, v].map((tensor) => toTensor(extOperand(tensor), 'bnhd'));
      const pattern = ranges({ begins: boundsOf(visible, 0), ends: boundsOf(visible, 1) });
      const got = attentionSync(query, key, value, { pattern, returnLse: true, device: backend.device });
      expectClose(toNumbers(fromOutput(got.out, 'bnhd')), extHeadsFirst(out), 5);
      const [found, wanted] = [toNumbers(fromTensor(got.lse)), extNumbers(lse)];
      for (const [i, want] of wanted.entries()) {
        if (Number.isFinite(want)) expect(found[i], `row ${i}`).toBeCloseTo(want, 5);
        else expect(found[i]).toBe(want);
      }
    });
  });
});
