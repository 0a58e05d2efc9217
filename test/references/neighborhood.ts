// Neighborhood attention (Hassani et al., CVPR 2023; strides from arXiv 2504.16922) by construction: groups of tokens are
// listed, a leader is elected, and the run of keys nearest to it is searched for. Reader: someone who wants to see what
// kernelSize, stride and dilation mean, edges included. No closed form: nothing here can share a mistake with one.

import { range } from './operand.js';

export interface NeighborhoodAxis {
  length: number;
  kernelSize: number;
  stride: number;
  dilation: number;
  causal: boolean;
  /** Whether windows are cut at the edges, not shifted; default shifted. */
  border?: 'shift' | 'clip';
}

export interface Neighborhood {
  kind: 'neighborhood';
  axes: NeighborhoodAxis[]; // outermost first
}

/** The keys of one token of one axis, ascending. */
function keysOfToken(
  token: number,
  { length, kernelSize, stride, dilation, causal, border }: NeighborhoodAxis,
): number[] {
  // Dilation: tokens a multiple of `dilation` apart know only each other.
  const group = range(0, length).filter((other) => other % dilation === token % dilation);

  // Stride: so many neighbours in the group share one window, which follows their leader.
  const index = group.indexOf(token);
  if (border === 'clip') {
    // The same on an axis without edges, where all sharers and all keys are there; then what is not on the axis is left out.
    const first = Math.floor(index / stride) * stride;
    const begin = causal ? first + stride - kernelSize : first + Math.floor(stride / 2) - Math.floor(kernelSize / 2);
    return group.filter((key, i) => i >= begin && i < begin + kernelSize && !(causal && key > token));
  }
  const sharers = group.filter((_, i) => Math.floor(i / stride) === Math.floor(index / stride));
  const last = sharers[sharers.length - 1];
  const leader = causal ? last : (sharers[Math.floor(stride / 2)] ?? last);

  // Of all runs of kernelSize tokens, the one whose anchor is nearest to the leader: windows shift at the edges.
  const anchor = causal ? kernelSize - 1 : Math.floor(kernelSize / 2);
  const distance = (first: number): number => Math.abs(group[first + anchor] - leader);
  const nearest = range(0, group.length - kernelSize + 1).reduce((best, first) =>
    distance(first) < distance(best) ? first : best,
  );
  const run = group.slice(nearest, nearest + kernelSize);
  return causal ? run.filter((key) => key <= token) : run;
}

/** The keys of every token of one axis. */
export function keysOfAxis(axis: NeighborhoodAxis): number[][] {
  return range(0, axis.length).map((token) => keysOfToken(token, axis));
}

/** A row-major index as coordinates. */
export function coordinates(index: number, lengths: readonly number[]): number[] {
  const coordinate = new Array<number>(lengths.length);
  for (let axis = lengths.length - 1; axis >= 0; axis--) {
    coordinate[axis] = index % lengths[axis];
    index = Math.floor(index / lengths[axis]);
  }
  return coordinate;
}

/** Does the query see the key? Both row-major. A key is seen when it is seen along every axis. */
export function neighborhoodRule({ axes }: Neighborhood): (query: number, key: number) => boolean {
  const lengths = axes.map((axis) => axis.length);
  const seen = axes.map((axis) => keysOfAxis(axis).map((keys) => new Set(keys)));
  const places = range(
    0,
    lengths.reduce((a, n) => a * n, 1),
  ).map((token) => coordinates(token, lengths));
  return (query, key) => axes.every((_, a) => seen[a][places[query][a]].has(places[key][a]));
}

/** Where a relative bias [2 K0 - 1, ...] keeps the entry of a pair: (key - query) / dilation + K - 1 along every axis. */
export function relativeIndex({ axes }: Neighborhood, query: number, key: number): number[] {
  const lengths = axes.map((axis) => axis.length);
  const [from, to] = [coordinates(query, lengths), coordinates(key, lengths)];
  return axes.map(({ kernelSize, dilation }, a) => (to[a] - from[a]) / dilation + kernelSize - 1);
}
