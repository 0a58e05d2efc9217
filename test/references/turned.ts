// A problem of queries and keys that are to be turned first, as the one of turned rows. Reader: someone who checks what the option
// `rotary` means. The rule is rotary.ts's; positions are those that causal order counts.

import type { FloatType } from './half.js';
import { type Operand, rowMajor, toNumbers } from './operand.js';
import { type Problem, placesOf, sequencesOf } from './problem.js';
import { turnedRow } from './rotary.js';

/** @param rounded what becomes of a turned number; exact: nothing */
export function turned(problem: Problem, rounded: (type: FloatType, x: number) => number = (_, x) => x): Problem {
  const { rotary, query, key } = problem;
  if (!rotary) return problem;
  // Rows of no sequence stay where they are: nobody reads them.
  const [ofQueries, ofKeys] = [query, key].map(({ dims: [batch, , tokens] }) =>
    Array.from({ length: batch }, () => new Array<number>(tokens).fill(0)),
  );
  for (const sequence of sequencesOf(problem)) {
    const { positionOf, placeOf } = placesOf(problem, sequence);
    for (let i = 0; i < sequence.queries; i++) ofQueries[sequence.batch][sequence.firstQuery + i] = positionOf(i);
    for (let j = 0; j < sequence.keys; j++) ofKeys[sequence.keyBatch][sequence.firstKey + j] = placeOf(j);
  }
  const turn = (operand: Operand, positions: number[][]): Operand => {
    const [, heads, tokens, dim] = operand.dims;
    const data = toNumbers(operand);
    for (let at = 0; at < data.length; at += dim) {
      const row = at / dim;
      const position = positions[Math.floor(row / (heads * tokens))][row % tokens];
      const numbers = turnedRow(data.subarray(at, at + dim), position, rotary);
      data.set(
        numbers.map((x) => rounded(operand.type as FloatType, x)),
        at,
      );
    }
    return { type: 'float32', data, dims: operand.dims, strides: rowMajor(operand.dims), offset: 0 };
  };
  return { ...problem, query: turn(query, ofQueries), key: turn(key, ofKeys) };
}
