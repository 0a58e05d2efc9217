// The jobs with a pattern that peers are given: the pattern as ours, as a mask, and as onnxruntime's block lists.
// Reader: someone who adds one. A shape's `pattern` is plain JSON, because PyTorch's process gets it too; the rule of its
// mask is stated here and in peers-torch.py apart from the library, so that agreement of the outputs says something.
import { attention, documents, explain, neighborhood, s2Layout, slidingWindow, stridedShards } from 'tilewise';

/** 2-D windows of an image, shifted inward at its edges. */
export function neighborhoodShape(base, tokens, kernelSize) {
  const count = tokens.reduce((a, b) => a * b, 1);
  return { ...base, queries: count, keys: count, causal: false, pattern: { kind: 'neighborhood', tokens, kernelSize } };
}

/** S2: causal, blocks of the local window and every `vertStride`-th older one. */
export function s2Shape(base, tokens, pattern) {
  const headStep = Math.max(1, Math.floor(pattern.vertStride / base.heads));
  return { ...base, queries: tokens, keys: tokens, causal: true, pattern: { kind: 's2', headStep, ...pattern } };
}

/** Causal documents one after the other. */
export function documentsShape(base, lengths) {
  const tokens = lengths.reduce((a, b) => a + b, 0);
  return { ...base, queries: tokens, keys: tokens, causal: true, pattern: { kind: 'documents', lengths } };
}

/** Causal windows with a number of recent tokens per head, and sink tokens: heads that retrieve and heads that stream. */
export function windowsShape(base, tokens, recentTokens, sinkTokens) {
  const pattern = { kind: 'windows', recentTokens, sinkTokens };
  return {
    ...base,
    heads: recentTokens.length,
    kvHeads: recentTokens.length,
    ...{ queries: tokens, keys: tokens, causal: true, pattern },
  };
}

const names = {
  s2: ({ blockSize, localBlocks, vertStride }) => `S2 ${blockSize} local ${localBlocks} stride ${vertStride}`,
  neighborhood: ({ tokens, kernelSize }) => `neighborhood ${tokens.join('x')} kernel ${kernelSize.join('x')}`,
  documents: ({ lengths }) => `${lengths.length} documents`,
  windows: ({ recentTokens, sinkTokens }) => `windows of ${recentTokens.join('/')} and ${sinkTokens} sinks`,
};
export const patternName = ({ pattern }) => names[pattern.kind](pattern);

/** The library finds `headStep` itself, by the same rule. */
function s2Options({ blockSize, localBlocks, vertStride }) {
  return { blockSize, localBlocks, vertStride, layoutPer: 'q' };
}

const ours = {
  s2: (pattern) => stridedShards(s2Options(pattern)),
  neighborhood: ({ kernelSize }) => neighborhood({ kernelSize }),
  documents: ({ lengths }) => documents({ lengths, causal: true }),
  windows: ({ recentTokens, sinkTokens }) => slidingWindow({ recentTokens, sinkTokens }),
};
const ourPattern = ({ pattern }) => ours[pattern.kind](pattern);

/** Our asynchronous call for a shape with a pattern, on operands of layout bnhd. */
export function patternCall(shape) {
  const pattern = ourPattern(shape);
  const tokens = shape.pattern.tokens ?? [shape.queries];
  const onGrid = ({ type, data, dims: [batch, , heads, dim] }) => ({
    type,
    data,
    dims: [batch, ...tokens, heads, dim],
  });
  return ({ q, k, v }) => attention(onGrid(q), onGrid(k), onGrid(v), { pattern });
}

/** FLOPs by visible pairs, and how many times as many a masked dense product computes. */
export function patternWork(shape) {
  const { heads, kvHeads, headDim, dtype, keys, queries } = shape;
  const tokens = shape.pattern.tokens ?? keys;
  const { flops } = explain(ourPattern(shape), { queryHeads: heads, kvHeads, headDim, dtype, tokens });
  return { flops, flopRatio: (4 * queries * keys * headDim * heads) / flops };
}

/** Additive mask [1, 1 or heads, queries, keys]: 0 where a key is visible, -Infinity elsewhere. */
export function additiveMask(shape) {
  const { queries, keys, heads, pattern } = shape;
  const count = pattern.kind === 's2' || pattern.kind === 'windows' ? heads : 1;
  const isVisible = rules[pattern.kind](pattern);
  const data = new Float32Array(count * queries * keys).fill(Number.NEGATIVE_INFINITY);
  let at = 0;
  for (let head = 0; head < count; head++) {
    for (let query = 0; query < queries; query++) {
      for (let key = 0; key < keys; key++, at++) if (isVisible(head, query, key)) data[at] = 0;
    }
  }
  return { dims: [1, count, queries, keys], data };
}

/** Who sees whom, by definition. */
const rules = {
  s2: isVisibleInS2,
  neighborhood: isVisibleNearby,
  documents: ({ lengths }) => {
    const documentOf = lengths.flatMap((length, document) => new Array(length).fill(document));
    return (_, query, key) => documentOf[query] === documentOf[key] && key <= query;
  },
  windows:
    ({ recentTokens, sinkTokens }) =>
    (head, query, key) =>
      key <= query && (query - key < recentTokens[head] || key < sinkTokens),
};

function isVisibleInS2({ blockSize, localBlocks, vertStride, headStep }) {
  return (head, query, key) => {
    const queryBlock = Math.floor(query / blockSize);
    const keyBlock = Math.floor(key / blockSize);
    const isFar = queryBlock - keyBlock >= localBlocks;
    return key <= query && (!isFar || (keyBlock + head * headStep) % vertStride === 0);
  };
}

function isVisibleNearby({ tokens: [, width], tokens, kernelSize }) {
  const isNear = (axis, query, key) => {
    const kernel = kernelSize[axis];
    const begin = Math.min(Math.max(query - Math.floor(kernel / 2), 0), tokens[axis] - kernel);
    return key >= begin && key < begin + kernel;
  };
  return (_, query, key) =>
    isNear(0, Math.floor(query / width), Math.floor(key / width)) && isNear(1, query % width, key % width);
}

/** onnxruntime's block_row_indices and block_col_indices. */
export function s2Rows({ pattern, heads, keys }) {
  return s2Layout({ ...s2Options(pattern), numHeads: heads }).csr(Math.ceil(keys / pattern.blockSize));
}
