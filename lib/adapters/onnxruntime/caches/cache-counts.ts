// How many tokens a run goes on from, and how many it adds, for each sequence.
// Reader: someone whose past does not fit. Sources: GroupQueryAttention in docs/ContribOperators.md of microsoft/onnxruntime,
// Attention of onnx/onnx, whose past is as long for every sequence.

import { mismatch } from '../../../call/shape.js';
import { showDims } from '../../../check/errors.js';
import type { SiteCache } from '../../onnx/sites/site.js';
import type { Rows } from '../operands.js';
import type { OrtTensor } from '../ort.js';

export interface TokenCounts {
  /** Tokens of each sequence that the run goes on from. */
  readonly past: readonly number[];
  /** Tokens that it adds to each. */
  readonly fresh: readonly number[];
  /** Keys of the longest sequence then. */
  readonly keys: number;
  /** Keys that a mask has numbers of: those that the model says, which may be more. */
  readonly total: number;
  /** Tokens that a present has room for. */
  readonly tokens: number;
}

/** @param q, k [batch, heads, tokens, dim] */
export function countsOf(
  node: string,
  { past, counts }: SiteCache,
  q: Rows,
  k: Rows,
  tensorOf: (name: string) => OrtTensor,
): TokenCounts {
  const [batch, , fresh] = k.dims;
  if (q.dims[0] !== batch) {
    throw mismatch(`The queries of ${node} have a batch of ${q.dims[0]}, its keys one of ${batch}`);
  }
  if (counts && q.dims[2] !== fresh) {
    throw mismatch(`The queries of ${node} are of ${q.dims[2]} tokens, its keys of ${fresh}`);
  }
  const room = past ? roomOf(node, past.k.order!, tensorOf(past.k.value)) : 0;
  if (counts) {
    const { lastPlaces, total } = counts;
    return toldCounts(node, [batch, fresh, room], tensorOf(lastPlaces), tensorOf(total));
  }
  const all = (count: number) => Array<number>(batch).fill(count);
  return { past: all(room), fresh: all(fresh), keys: room + fresh, total: room + fresh, tokens: room + fresh };
}

/** Tokens that a fed past has room for. */
function roomOf(node: string, order: readonly number[], { dims }: OrtTensor): number {
  if (dims.length === 4) return dims[order[2]];
  throw mismatch(`The past of ${node} must have four axes, not ${showDims(dims)}`);
}

/** A prompt is what is as long as all tokens together; sequences in it may be shorter and end in padding. */
function toldCounts(
  node: string,
  [batch, fresh, room]: readonly [batch: number, fresh: number, room: number],
  lastPlaces: OrtTensor,
  totalOf: OrtTensor,
): TokenCounts {
  const lengths = Array.from(lastPlaces.data as Int32Array, (place) => place + 1);
  const total = Number((totalOf.data as Int32Array)[0]);
  const isPrompt = fresh === total;
  if (fresh === 0) throw mismatch(`${node} has no new tokens`);
  const past = lengths.map((length) => (isPrompt ? 0 : length - fresh));
  const wrong = lengths.find((length, entry) => !(length > 0 && length <= total && past[entry] >= 0));
  if (lengths.length !== batch || wrong !== undefined) {
    throw mismatch(
      `\`seqlens_k\` of ${node} must have ${batch} places below ${total}, after ${fresh} new tokens, not ${showDims(lengths.map((length) => length - 1))}`,
    );
  }
  const longest = Math.max(...past);
  if (longest > room) throw mismatch(`The past of ${node} has ${room} tokens, and the run goes on from ${longest}`);
  return {
    past,
    fresh: isPrompt ? lengths : lengths.map(() => fresh),
    keys: isPrompt ? fresh : Math.max(...lengths),
    total,
    tokens: Math.max(total, room),
  };
}
