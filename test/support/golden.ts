// Numbers computed elsewhere, as the files in test/golden/ hold them: [token][head][dim].
// Reader: someone who compares with a golden file.

import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { operandOf } from '../conformance/memory.js';
import type { Operand } from '../references/operand.js';

export type Rows = number[][]; // [token][feature]
export type Heads = number[][][]; // [token][head][dim]

export function readGolden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../golden/${name}.json`, import.meta.url), 'utf8')) as T;
}

/** [token][head][dim] as an operand [1, heads, tokens, dim]. */
export function operandOfHeads(heads: Heads): Operand {
  const [tokens, count, dim] = [heads.length, heads[0].length, heads[0][0].length];
  const dense = operandOf('float32', [1, tokens, count, dim], heads.flat(2));
  return { ...dense, dims: [1, count, tokens, dim], strides: [0, dim, count * dim, 1] };
}

/** [token][head][dim] in the order [head][token][dim]. */
export const headsFirst = (heads: Heads): number[] => heads[0].flatMap((_, h) => heads.flatMap((token) => token[h]));

/** [token][head] in the order [head][token]. */
export const rowsFirst = (rows: Rows): number[] => rows[0].flatMap((_, h) => rows.map((row) => row[h]));

export function expectClose(got: ArrayLike<number>, want: ArrayLike<number>, digits: number): void {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < want.length; i++) expect(got[i], `element ${i}`).toBeCloseTo(want[i], digits);
}
