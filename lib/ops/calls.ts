// Calls in turn: an op that is other calls says each with what the one before it gave.
// Reader: someone who writes an op as a generator of calls, for both its forms.

import type { TensorLike } from '../tensor/types.js';
import { attention, attentionSync, type ResultOf } from './attention/attention.js';
import type { AttentionOptions } from './attention/options.js';
import { type AttentionPart, type MergeOptions, mergeAttention, mergeAttentionSync } from './merge.js';

/** A call of attention(). */
export interface Call {
  readonly tensors: readonly [q: TensorLike, k: TensorLike, v: TensorLike];
  readonly options: AttentionOptions;
}

/** A call of mergeAttention(). */
interface Merge {
  readonly parts: readonly AttentionPart[];
  readonly options: Pick<MergeOptions, 'layout' | 'device'>;
}

/** What it gives; without `returnLse` the lse is not to be read. */
export type Part = Required<ResultOf<TensorLike>>;

/** Yields the calls whose results it is sent; returns what follows from them. */
export type Calls<T> = Generator<Call | Merge, T, Part>;

/** Runs calls one after the other. */
export async function inTurn<T>(calls: Calls<T>, signal: AbortSignal | undefined): Promise<T> {
  let step = calls.next();
  while (!step.done) step = calls.next(await run(step.value, signal));
  return step.value;
}

async function run(call: Call | Merge, signal: AbortSignal | undefined): Promise<Part> {
  if ('parts' in call) return (await mergeAttention(call.parts, { ...call.options, signal })) as Part;
  return (await attention(...call.tensors, { ...call.options, signal })) as Part;
}

/** The same on the calling thread. */
export function inTurnSync<T>(calls: Calls<T>, signal: AbortSignal | undefined): T {
  let step = calls.next();
  while (!step.done) step = calls.next(runSync(step.value, signal));
  return step.value;
}

function runSync(call: Call | Merge, signal: AbortSignal | undefined): Part {
  if ('parts' in call) return mergeAttentionSync(call.parts, { ...call.options, signal }) as Part;
  return attentionSync(...call.tensors, { ...call.options, signal }) as Part;
}
