// Keys that a bias chooses: the largest of a row of numbers, or those above 0. Reader: someone who asks which keys
// dynamicMaskAttention() keeps. Rule: DMA (arXiv 2508.02124); ties go to the smaller index.

import { allocating } from '../check/errors.js';

/** Which numbers of a row are kept. */
export type KeepRule = { readonly topKeys: number } | 'positive';

/** The indices of the numbers of a row that are kept, ascending. NaN counts as the largest number, and is not above 0. */
export function keptOf(row: Float32Array, rule: KeepRule): Int32Array {
  if (rule === 'positive') return indicesWhere(row, (value) => value > 0, row.length);
  const count = Math.min(rule.topKeys, row.length);
  if (count === row.length) return Int32Array.from(row.keys());
  const order = orderOf(row);
  const least = largest(order, count);
  let ties = count;
  for (let i = 0; i < order.length; ++i) if (order[i] > least) --ties;
  return indicesWhere(order, (place) => place > least || (place === least && ties-- > 0), count);
}

function indicesWhere<Row extends Float32Array | Int32Array>(
  row: Row,
  isKept: (value: number) => boolean,
  most: number,
): Int32Array {
  const indices = allocating(() => new Int32Array(most));
  let count = 0;
  for (let i = 0; i < row.length; ++i) if (isKept(row[i])) indices[count++] = i;
  return indices.subarray(0, count);
}

/** Whole numbers in the order of a row's numbers: the bits of a float, those below 0 turned round. */
function orderOf(row: Float32Array): Int32Array {
  const order = allocating(() => new Int32Array(row.slice().buffer));
  for (let i = 0; i < order.length; ++i) {
    const bits = order[i];
    if (bits >= 0) continue;
    if (bits === minusZero) order[i] = 0;
    else order[i] = bits > minusInfinity ? notANumber : bits ^ 0x7fffffff;
  }
  return order;
}
const [minusZero, minusInfinity, notANumber] = new Int32Array(Float32Array.of(-0, -Infinity, Number.NaN).buffer);

/** The `count`th largest number, from 1: its bytes one after the other, by how many numbers have each (radix selection). */
function largest(row: Int32Array, count: number): number {
  const counts = new Uint32Array(256);
  let left = count;
  let found = 0; // its bytes so far, the sign's bit turned round
  for (let shift = 24; shift >= 0; shift -= 8) {
    counts.fill(0);
    const above = shift === 24 ? 0 : found >>> (shift + 8);
    for (let i = 0; i < row.length; ++i) {
      const turned = row[i] ^ signBit;
      if (shift === 24 || turned >>> (shift + 8) === above) ++counts[(turned >>> shift) & 255];
    }
    let byte = 255;
    while (counts[byte] < left) left -= counts[byte--];
    found |= byte << shift;
  }
  return found ^ signBit;
}
const signBit = -(2 ** 31);
