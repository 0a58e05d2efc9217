// Documents, slices, power, sampled blocks and MoA's windows, pair by pair as the papers define them. Reader: someone who asks
// whether a query sees a key. The library turns these rules into ranges or lists; nothing of that is here. Semantics: LongCA-bench
// (arXiv 2510.17896), MagiAttention's AttnSlice, PowerAttention (arXiv 2503.03588), PrFlashAttention, MoA (arXiv 2406.14909).

import { isKept, piOf } from './sampled-blocks.js';

/** Documents one after the other, by batch entry or for all of them. */
export interface Documents {
  kind: 'documents';
  lists: number[][]; // lengths
  causal?: true;
  blockCausal?: number; // causal by blocks of so many tokens
  prefix?: number; // leading keys of a document that all of it sees
  shared?: true; // the first document is seen by all others
  lastSeesAll?: true;
  globalTokens?: number; // leading tokens that see and are seen as far as order allows
  window?: { left: number; right: number };
}

export interface Slice {
  q: [begin: number, end: number];
  k: [begin: number, end: number];
  kind: 'full' | 'causal' | 'invcausal' | 'bicausal';
}

/** Rectangles of queries and keys: one list, one per KV head or one per query head. */
export interface Slices {
  kind: 'slices';
  lists: Slice[][];
}

export interface Power {
  kind: 'power';
  block: number;
  window: number; // blocks, the query's own included
  sinkBlocks: number;
}

export interface SampledBlocks {
  kind: 'sampledBlocks';
  block: number;
  keep?: number[]; // by distance, the last for all larger ones
  geometric?: { rho: number; floor: number };
  power?: number;
  seed: number;
  layer: number;
  scope: 'head' | 'kv' | 'layer';
  unbiased?: boolean;
}

/** Windows of so many tokens as the length of a text asks for, per KV head or query head. */
export interface Moa {
  kind: 'moa';
  alpha: number[];
  beta: number[];
  seqLen: number;
  sink: number;
  min: number;
  multiple: number;
}

/** By indices of rows. */
type ByIndex = (query: number, key: number) => boolean;
/** By positions. */
type ByPosition = (position: number, place: number) => boolean;

/** The entry of a list with one for all, or one for equally many heads each. */
const ofHead = <T>(entries: readonly T[], head: number, heads: number): T =>
  entries[Math.floor(head / (heads / entries.length))];

export function documentsRule(d: Documents, batch: number): ByIndex {
  const lengths = d.lists[d.lists.length === 1 ? 0 : batch];
  const starts = lengths.map((_, n) => lengths.slice(0, n).reduce((a, length) => a + length, 0));
  const documentOf = lengths.flatMap((length, n) => new Array<number>(length).fill(n));
  const { blockCausal, prefix = 0, globalTokens = 0, window } = d;
  return (i, j) => {
    const [own, other] = [documentOf[i], documentOf[j]];
    const isInTime = d.causal
      ? j <= i
      : blockCausal === undefined || Math.floor(j / blockCausal) <= Math.floor(i / blockCausal);
    if (isInTime && (i < globalTokens || j < globalTokens)) return true;
    if (own !== other) {
      if (d.shared && other === 0) return true;
      return d.lastSeesAll === true && own === lengths.length - 1;
    }
    if (j - starts[own] < prefix) return true;
    return isInTime && (!window || (i - j <= window.left && j - i <= window.right));
  };
}

export function slicesRule({ lists }: Slices, head: number, heads: number): ByIndex {
  const slices = ofHead(lists, head, heads);
  return (i, j) =>
    slices.some(({ q, k, kind }) => {
      if (i < q[0] || i >= q[1] || j < k[0] || j >= k[1]) return false;
      const isBeforeEnd = j - k[0] <= i - q[0] + (k[1] - k[0]) - (q[1] - q[0]);
      const isBehindStart = j - k[0] >= i - q[0];
      return (
        (isBeforeEnd || kind === 'full' || kind === 'invcausal') &&
        (isBehindStart || kind === 'full' || kind === 'causal')
      );
    });
}

export function powerRule({ block, window, sinkBlocks }: Power): ByPosition {
  return (position, place) => {
    if (place > position) return false;
    const distance = Math.floor(position / block) - Math.floor(place / block);
    const isSink = place >= 0 && place < sinkBlocks * block;
    return isSink || distance < window || distance === 0 || Number.isInteger(Math.log2(distance));
  };
}

export function sampledRule(s: SampledBlocks, head: number, heads: number, kvHeads: number): ByPosition {
  const { block, seed, layer, scope } = s;
  const drawing = { head, kv: Math.floor(head / (heads / kvHeads)), layer: 0 }[scope];
  const probability = piOf(s);
  const drawn = new Map<string, boolean>();
  return (position, place) => {
    if (place > position) return false;
    const [queryBlock, keyBlock] = [position, place].map((at) => Math.floor(at / block));
    const pair = `${queryBlock} ${keyBlock}`;
    if (!drawn.has(pair)) drawn.set(pair, isKept({ seed, layer, head: drawing, queryBlock, keyBlock }, probability));
    return drawn.get(pair)!;
  };
}

/** What is added to the score of a key in a block that is kept. */
export function sampledAddend(s: SampledBlocks): (position: number, place: number) => number {
  const probability = piOf(s);
  return (position, place) => -Math.log(probability(Math.floor(position / s.block) - Math.floor(place / s.block)));
}

export function moaRule(m: Moa, head: number, heads: number): ByPosition {
  const wanted = ofHead(m.alpha, head, heads) + ofHead(m.beta, head, heads) * m.seqLen;
  const tokens = Math.ceil(Math.max(Math.min(wanted, m.seqLen), m.min) / m.multiple) * m.multiple;
  const sinks = Math.min(tokens, m.sink);
  return (position, place) => place <= position && (place < sinks || position - place < tokens - sinks);
}
