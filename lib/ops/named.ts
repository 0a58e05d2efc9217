// Named ops: attention() under the names people know, each a pattern and a call.
// Reader: someone who adds one. An op says how its options become those of attention(); everything else is here.

import { checkNames } from '../check/validate.js';
import type { Pattern } from '../patterns/index.js';
import { windowNames } from '../patterns/window.js';
import type { Tensor } from '../tensor/tensor.js';
import type { TensorLike } from '../tensor/types.js';
import { type ResultOf, runAttention, runAttentionSync } from './attention/attention.js';
import { type AttentionOptions, attentionNames } from './attention/options.js';
import type { Internals } from './attention/problem.js';

/** Options of attention() that are not about which keys are visible. */
export type CommonOptions<T = Tensor> = Omit<
  AttentionOptions<T>,
  'pattern' | 'causal' | 'recentTokens' | 'window' | 'sinkTokens' | 'align' | 'positions'
>;

/** An op with its own options and attention()'s. */
export interface NamedOp<Own> {
  <const Q extends TensorLike, T = Tensor>(
    q: Q,
    k: TensorLike,
    v: TensorLike,
    options: Own & CommonOptions<T> & { returnLse: true },
  ): Promise<Required<ResultOf<Q, T>>>;
  <const Q extends TensorLike, T = Tensor>(
    q: Q,
    k: TensorLike,
    v: TensorLike,
    options: Own & CommonOptions<T>,
  ): Promise<ResultOf<Q, T>>;
}

/** The same on the calling thread. */
export interface NamedOpSync<Own> {
  <const Q extends TensorLike, T = Tensor>(
    q: Q,
    k: TensorLike,
    v: TensorLike,
    options: Own & CommonOptions<T> & { returnLse: true },
  ): Required<ResultOf<Q, T>>;
  <const Q extends TensorLike, T = Tensor>(
    q: Q,
    k: TensorLike,
    v: TensorLike,
    options: Own & CommonOptions<T>,
  ): ResultOf<Q, T>;
}

/** What an op's options mean to attention(). */
export interface Meaning {
  readonly options: AttentionOptions<unknown>;
  readonly internals?: Internals;
}

/** Both forms of an op; `mean` checks its own options and translates them. */
export function namedOps<Own>(
  name: string,
  mean: (where: string, options: unknown) => Meaning,
): { promised: NamedOp<Own>; sync: NamedOpSync<Own> } {
  return {
    promised: (async (q: TensorLike, k: TensorLike, v: TensorLike, given: unknown) => {
      const { options, internals } = mean(`${name}()`, given);
      return runAttention(`${name}()`, q, k, v, options, internals);
    }) as NamedOp<Own>,
    sync: ((q: TensorLike, k: TensorLike, v: TensorLike, given: unknown) => {
      const { options, internals } = mean(`${name}Sync()`, given);
      return runAttentionSync(`${name}Sync()`, q, k, v, options, internals);
    }) as NamedOpSync<Own>,
  };
}

const visibilityNames = new Set(['pattern', 'positions', ...windowNames]);
const commonNames = [...attentionNames].filter((name) => !visibilityNames.has(name));

/** Tells an op's own options from those it shares with attention(); refuses all others. */
export function splitOptions(
  where: string,
  options: unknown,
  ownNames: ReadonlySet<string>,
): { own: Record<string, unknown>; common: Record<string, unknown> } {
  checkNames(where, options, new Set([...ownNames, ...commonNames]));
  const split = { own: {} as Record<string, unknown>, common: {} as Record<string, unknown> };
  for (const [name, value] of Object.entries(options as object))
    split[ownNames.has(name) ? 'own' : 'common'][name] = value;
  return split;
}

/** An op whose own options are those of a pattern's constructor. */
export const asPattern =
  <Own>(ownNames: ReadonlySet<string>, patternOf: (own: Own) => Pattern) =>
  (where: string, options: unknown): Meaning => {
    const { own, common } = splitOptions(where, options, ownNames);
    return { options: { ...common, pattern: patternOf(own as Own) } };
  };
