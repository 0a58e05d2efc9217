// The zero border of haloAttention(): what keys outside the map add to a softmax. Reader: someone who asks how positions that
// are nowhere get their share. Their keys and values are 0: per query they are one number, the log of the sum of exp of their
// logits, and merge as a part whose output is 0. The sum is a product of sums per axis, so no window is walked.

import { axesOf, tokenAxesOf } from '../tensor/axes.js';
import { backendName, cpu, type Location } from '../tensor/devices.js';
import { Tensor } from '../tensor/tensor.js';
import { allocate, deviceOf, type View } from '../tensor/views.js';
import type { Part } from './calls.js';
import { forEachRow, type HaloAxis, type HaloGrid, type RelativeLogits, windowOf } from './halo-logits.js';

/** Sums of exp(logit - greatest logit) over the places of a window along one axis, inside the map and outside. */
interface Shares {
  readonly greatest: number;
  readonly inside: number;
  readonly outside: number;
}

/** The border as a part next to the result for the map. */
export function outsidePart(
  { out, lse }: Part,
  { axes }: HaloGrid,
  isHeadsFirst: boolean,
  relative?: RelativeLogits,
): Part {
  const { dims } = out as View;
  const at = axesOf(dims.length, isHeadsFirst);
  const tokens = tokenAxesOf(at, dims.length);
  const [batch, heads] = [dims[at.batch], dims[at.head]];
  const perHead = axes.reduce((count, { length }) => count * length, 1);
  const ofRows = new Float32Array(batch * heads * perHead);
  if (relative === undefined) {
    // The same for batch entries and heads.
    const lengths = axes.map(({ length }) => length);
    forEachRow([...lengths, 1], { first: 0, count: lengths.length }, (token, place) => {
      const share = logOutside(axes.map((axis, a) => sharesOf(axis, place[a])));
      for (let row = token; row < ofRows.length; row += perHead) ofRows[row] = share;
    });
    return zerosWith(out as View, ofRows, (lse as View).dims);
  }
  const { products, scale } = relative;
  forEachRow(dims, tokens, (row, place) => {
    const shares = axes.map((axis, a) => sharesOf(axis, place[a], { products: products[a], row, scale }));
    const token = axes.reduce((index, { length }, a) => index * length + place[a], 0);
    const headRow = isHeadsFirst
      ? Math.floor(row / perHead)
      : Math.floor(row / (perHead * heads)) * heads + (row % heads);
    ofRows[headRow * perHead + token] = logOutside(shares);
  });
  return zerosWith(out as View, ofRows, (lse as View).dims);
}

/** A part whose outputs are 0, which is one zero for all rows, where `out` is. */
function zerosWith(out: View, lse: Float32Array, lseDims: readonly number[]): Part {
  const { type, dims } = out;
  const zeros = new Tensor(type, allocate(type, 1), dims, { strides: dims.map(() => 0) });
  const ofBorder = new Tensor('float32', lse, lseDims);
  const device = deviceOf(out);
  const bring = (tensor: Tensor) => (device === cpu ? tensor : tensor.toSync(backendName(device) as Location));
  return { out: bring(zeros), lse: bring(ofBorder) } as Part;
}

function sharesOf(
  axis: HaloAxis,
  token: number,
  logits?: { readonly products: Float32Array; readonly row: number; readonly scale: number },
): Shares {
  const [begin, end] = windowOf(axis, token);
  const [from, to] = [Math.max(begin, 0), Math.min(end, axis.length)];
  if (!logits) return { greatest: 0, inside: to - from, outside: end - begin - (to - from) };
  const { products, row, scale } = logits;
  const reach = axis.block + axis.halo - 1;
  const zero = row * (2 * reach + 1) + reach - token;
  let greatest = -Infinity;
  for (let key = begin; key < end; ++key) greatest = Math.max(greatest, scale * products[zero + key]);
  let [inside, outside] = [0, 0];
  for (let key = begin; key < end; ++key) {
    const share = Math.exp(scale * products[zero + key] - greatest);
    if (key >= from && key < to) inside += share;
    else outside += share;
  }
  return { greatest, inside, outside };
}

/** ln of the sum over places that are outside along some axis: outside along the first such axis, anywhere along those behind. */
function logOutside(axes: readonly Shares[]): number {
  let [sum, insideBefore, greatest] = [0, 1, 0];
  axes.forEach(({ inside, outside, greatest: most }, a) => {
    const behind = axes.slice(a + 1).reduce((product, other) => product * (other.inside + other.outside), 1);
    sum += insideBefore * outside * behind;
    insideBefore *= inside;
    greatest += most;
  });
  return greatest + Math.log(sum);
}
