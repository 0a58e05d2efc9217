// Keys that a bias chooses: the largest of a row of numbers, or those above 0. Reader: someone who asks which keys
// dynamicMaskAttention() keeps. Rule: DMA (arXiv 2508.02124); ties go to the smaller index.

import { allocating } from '../check/errors.js';

/** Which numbers of a row are kept. */
export type KeepRule = { readonly topKeys: number } | 'positive';

/** The indices of the numbers of a row that are kept, ascending. NaN counts as the largest number, and is not above 0. */
export function keptOf(row: Float32Array, rule: KeepRule): Int32Array {
  if (rule === 'positive') return positiveOf(row);
  const count = Math.min(rule.topKeys, row.length);
  if (count === 0) return new Int32Array(0);
  if (count === row.length) return Int32Array.from(row.keys());
  const { indices, places } = candidatesOf(row, count);
  const { least, ties } = largest(places, count);
  const kept = new Int32Array(count);
  for (let i = 0, n = 0, left = ties; n < count; ++i) {
    if (places[i] > least || (places[i] === least && left-- > 0)) kept[n++] = indices[i];
  }
  return kept;
}

function positiveOf(row: Float32Array): Int32Array {
  const indices = allocating(() => new Int32Array(row.length));
  let count = 0;
  for (let i = 0; i < row.length; ++i) if (row[i] > 0) indices[count++] = i;
  return indices.subarray(0, count);
}

/** A whole number in the order of a float with these bits: those below 0 are turned round. */
const placeOf = (bits: number) =>
  bits >= 0 ? bits : bits === minusZero ? 0 : bits > minusInfinity ? notANumber : bits ^ 0x7fffffff;
const [minusZero, minusInfinity, notANumber] = new Int32Array(Float32Array.of(-0, -Infinity, Number.NaN).buffer);

/**
 * The numbers of a row among which the `count` largest are: the indices, ascending, and whole numbers in their order. A row is read
 * twice, however long it is: by how many numbers have the same first bits, and for those that are not behind.
 */
function candidatesOf(row: Float32Array, count: number): { indices: Int32Array; places: Int32Array } {
  const bits = new Int32Array(row.buffer, row.byteOffset, row.length);
  counts.fill(0);
  for (let i = 0; i < bits.length; ++i) ++counts[(placeOf(bits[i]) >> firstBits) + counts.length / 2];
  let first = counts.length - 1;
  let most = counts[first];
  while (most < count) most += counts[--first];
  const least = (first - counts.length / 2) << firstBits;
  const indices = allocating(() => new Int32Array(most));
  const places = allocating(() => new Int32Array(most));
  for (let i = 0, n = 0; n < most; ++i) {
    const place = placeOf(bits[i]);
    if (place < least) continue;
    indices[n] = i;
    places[n++] = place;
  }
  return { indices, places };
}
const firstBits = 20;
const counts = new Int32Array(1 << (32 - firstBits));

/**
 * The `count`th largest number, from 1, and how many that equal it are among the `count` largest: its bytes one after the
 * other, by how many numbers have each (radix selection). Numbers whose first bytes are others are not looked at again.
 */
function largest(row: Int32Array, count: number): { least: number; ties: number } {
  const ofByte = new Int32Array(256);
  let candidates = row;
  let ties = count;
  let found = 0; // its bytes so far, the sign's bit turned round
  for (let shift = 24; ; shift -= 8) {
    ofByte.fill(0);
    for (let i = 0; i < candidates.length; ++i) ++ofByte[((candidates[i] ^ signBit) >>> shift) & 255];
    let byte = 255;
    while (ofByte[byte] < ties) ties -= ofByte[byte--];
    found |= byte << shift;
    if (shift === 0) return { least: found ^ signBit, ties };
    const left = new Int32Array(ofByte[byte]);
    for (let i = 0, kept = 0; kept < left.length; ++i) {
      if ((((candidates[i] ^ signBit) >>> shift) & 255) === byte) left[kept++] = candidates[i];
    }
    candidates = left;
  }
}
const signBit = -(2 ** 31);
