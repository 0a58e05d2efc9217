// Numbers per head: what options that may differ from head to head are given, and how patterns keep it.
// Reader: someone who adds such an option. Which head has which entry is core's to say (core/op/head_windows.h).

import { mismatch, type Shape } from '../call/shape.js';
import { invalid } from '../check/validate.js';
import { isList } from '../tensor/nested.js';

/** A number for all heads, or one per head. */
export type PerHead = number | ArrayLike<number>;

/** The same in a pattern: a number, or a frozen array of more than one. */
export type HeadNumbers = number | readonly number[];

/**
 * Reads a number, or an array with one per KV head or per query head; how many heads there are, tensors say later.
 * @param check refuses a single number, by name
 */
export function readPerHead(
  name: string,
  value: unknown,
  check: (name: string, value: unknown) => number,
): HeadNumbers {
  if (!isList(value)) return check(name, value);
  if (value.length === 0) throw invalid(name, 'a number, or an array of one per KV head or per query head', value);
  const numbers = Array.from(value, (one, head) => check(`${name}[${head}]`, one));
  return numbers.length === 1 ? numbers[0] : Object.freeze(numbers);
}

export const entriesOf = (numbers: HeadNumbers): readonly number[] =>
  typeof numbers === 'number' ? [numbers] : numbers;

/** The most that a head has. */
export const mostOf = (numbers: HeadNumbers): number => Math.max(...entriesOf(numbers));

/** Refuses an array that is neither per KV head nor per query head. */
export function checkEntries(name: string, numbers: HeadNumbers, { kvHeads, queryHeads }: Shape): void {
  const count = entriesOf(numbers).length;
  if (count === 1 || count === kvHeads || count === queryHeads) return;
  const counts = kvHeads === queryHeads ? `${kvHeads}` : `${kvHeads} (KV heads) or ${queryHeads} (query heads)`;
  throw mismatch(`${name} must be a number, or an array of ${counts} entries, not of ${count}`);
}
