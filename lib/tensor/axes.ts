// Axes: which axis of a tensor is what, and grids, one to three token axes read as rows of tokens.
// Reader: someone who asks how an image becomes a sequence. Native code knows one token stride per operand; axes that
// nest into one are only renamed, others are copied.

import { showDims, TilewiseRangeError } from '../check/errors.js';
import { toDense } from './dense.js';
import { isOnHost, type View } from './views.js';

/** Which axis of a tensor is what, `token` being the first of its token axes; batch -1: rows without a batch axis. */
export interface Axes {
  readonly batch: number;
  readonly token: number;
  readonly head: number;
  readonly dim: number;
}

/** The axes of q, k, v and out: [tokens, heads, dim] packed, else [batch, tokens, heads, dim] with 1 to 3 token axes. */
export function axesOf(rank: number, isHeadsFirst: boolean): Axes {
  const dim = rank - 1;
  if (rank === 3) return isHeadsFirst ? { batch: -1, token: 1, head: 0, dim } : { batch: -1, token: 0, head: 1, dim };
  return isHeadsFirst ? { batch: 0, token: 2, head: 1, dim } : { batch: 0, token: 1, head: rank - 2, dim };
}

/** The names of the axes of q, k, v and out, as messages have them. */
export const layoutWords = (rank: number, isHeadsFirst: boolean): string => {
  const tokens = rank > 4 ? '...tokens' : 'tokens';
  const axes = isHeadsFirst ? ['heads', tokens, 'dim'] : [tokens, 'heads', 'dim'];
  return `[${(rank === 3 ? axes : ['batch', ...axes]).join(', ')}]`;
};

type Place = Pick<View, 'dims' | 'strides' | 'offset'>;

/** Where the token axes of a tensor begin, and how many there are. */
export interface TokenAxes {
  readonly first: number;
  readonly count: number;
}

/** The token axes of a tensor of this rank; packed rows, which have no batch axis, have one like others. */
export const tokenAxesOf = ({ token }: { readonly token: number }, rank: number): TokenAxes => ({
  first: token,
  count: Math.max(1, rank - 3),
});

/** The same of a [batch, heads, ...tokens] or [heads, tokens] tensor. */
export const rowAxesOf = (rank: number): TokenAxes =>
  rank === 2 ? { first: 1, count: 1 } : { first: 2, count: rank - 2 };

/** The lengths of the token axes. */
export const lengthsOf = ({ dims }: Pick<View, 'dims'>, { first, count }: TokenAxes): number[] =>
  dims.slice(first, first + count);

/** A view with its token axes as one; undefined when no stride walks them in order. */
function flattened<V extends Place>(view: V, { first, count }: TokenAxes): V | undefined {
  const { dims, strides } = view;
  const isEmpty = dims.includes(0);
  let tokens = 1;
  let stride = 0;
  for (let axis = first + count - 1; axis >= first; --axis) {
    if (dims[axis] > 1 && !isEmpty) {
      if (tokens === 1) stride = strides[axis];
      else if (strides[axis] !== stride * tokens) return undefined;
    }
    tokens *= dims[axis];
  }
  return { ...view, dims: dims.toSpliced(first, count, tokens), strides: strides.toSpliced(first, count, stride) };
}

/** An input with its token axes as one, copied when its strides do not allow that. */
export function flatten(name: string, view: View, axes: TokenAxes): View {
  const flat = axes.count === 1 ? view : flattened(view, axes);
  if (flat) return flat;
  if (!isOnHost(view)) throw uneven(`\`${name}\` on a device`, view, axes);
  return flattened(toDense(name, view), axes) as View;
}

/** Where results go, with the token axes as one. */
export function flattenOut(out: Place, axes: TokenAxes): Place {
  const flat = axes.count === 1 ? out : flattened(out, axes);
  if (flat) return flat;
  throw uneven('`out`', out, axes);
}

const uneven = (what: string, place: Place, axes: TokenAxes): Error =>
  new TilewiseRangeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `${what} must have token axes ${showDims(lengthsOf(place, axes))} that one stride walks in order, not the strides ` +
      showDims(place.strides.slice(axes.first, axes.first + axes.count)),
  );
