// snapKV(): the tokens of a prompt that its last queries look at most, which a cache then keeps alone. Reader: someone who
// generates from long prompts with SnapKV (arXiv 2404.14469).

import { refuseSignal } from '../../call/flight.js';
import { TilewiseRangeError } from '../../check/errors.js';
import { checkInteger, checkNames, invalid, maxTokens, namesOf } from '../../check/validate.js';
import { topList } from '../../selectors/top-list.js';
import { KeyPages } from '../../stores/key-pages.js';
import { Tensor } from '../../tensor/tensor.js';
import type { TensorLike } from '../../tensor/types.js';
import { allocate } from '../../tensor/views.js';
import { checkScale } from '../stats/options.js';
import { inTurn, inTurnSync, type SelectorOptions, type Steps, selectorNames, statsOf } from './steps.js';
import { lastQueries, readTokenSelection, type TokenSelection } from './tokens.js';

/** Options of snapKV(). */
export interface SnapKvOptions extends SelectorOptions {
  /** Last queries whose probabilities decide; default 64. */
  window?: number;
  /** Neighbouring keys whose importance is averaged, an odd number; default 7. */
  pool?: number;
  /** Keys that are kept for each KV head, forced ones included. With as many as there are, all are kept. */
  capacity: number;
  /** First keys that are always kept; default 4, or `capacity` if that is fewer. */
  prefix?: number;
  /** Last keys that are always kept; default 128, or what `capacity` leaves if that is fewer. */
  local?: number;
  /** Factor on q.k; default headDim^-0.5. */
  scale?: number;
}

/** What snapKV() returns. */
export interface SelectedTokens {
  /** [batch, kvHeads, keys], the importance of each key. */
  readonly scores: Tensor<'float32'>;
  /** The tokens of each sequence and KV head, ascending: for compact() of a cache. */
  readonly lists: readonly (readonly Int32Array[])[];
}

const names = namesOf<SnapKvOptions>({
  ...selectorNames,
  window: 1,
  pool: 1,
  capacity: 1,
  prefix: 1,
  local: 1,
  scale: 1,
});

/**
 * Chooses the keys of each KV head that a cache is to keep: importance = the probabilities of the last `window` queries (causal, over
 * all keys), averaged over the query heads of the KV head, summed over queries, and averaged over `pool` neighbouring keys (beyond
 * the ends 0). SnapKV, arXiv 2404.14469.
 * @param q [batch, queries, heads, headDim] or as `layout` says, at the end of the keys; the last `window` of them are enough
 * @param k [batch, keys, kvHeads, headDim], or keyPages() of a cache whose sequences have one length
 * @param options `capacity` is needed
 * @returns see SelectedTokens; rejects as questPageScores() does
 */
export async function snapKV(q: TensorLike, k: TensorLike | KeyPages, options: SnapKvOptions): Promise<SelectedTokens> {
  checkNames('snapKV()', options, names);
  const selection = readTokenSelection(q, k, options);
  return inTurn(steps(selection, readBudgets(options)), selection.signal, k);
}

/**
 * snapKV() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what snapKV() rejects with
 */
export function snapKVSync(q: TensorLike, k: TensorLike | KeyPages, options: SnapKvOptions): SelectedTokens {
  checkNames('snapKVSync()', options, names);
  const selection = readTokenSelection(q, k, options);
  refuseSignal('snapKVSync()', selection.signal);
  return inTurnSync(steps({ ...selection, copyInputs: false }, readBudgets(options)));
}

interface Budgets {
  readonly window: number;
  readonly pool: number;
  readonly capacity: number;
  readonly prefix: number;
  readonly local: number;
  readonly scale: number | undefined;
}

function readBudgets(o: SnapKvOptions): Budgets {
  const capacity = checkInteger('capacity', o.capacity, 1, maxTokens);
  const pool = o.pool === undefined ? 7 : checkInteger('pool', o.pool, 1, maxTokens);
  if (pool % 2 === 0) throw invalid('pool', 'an odd number', pool);
  const prefix = o.prefix === undefined ? Math.min(4, capacity) : checkInteger('prefix', o.prefix, 0, maxTokens);
  const local =
    o.local === undefined
      ? Math.min(128, Math.max(0, capacity - prefix))
      : checkInteger('local', o.local, 0, maxTokens);
  if (prefix + local > capacity) {
    throw new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`capacity\` must be at least ${prefix + local}, \`prefix\` and \`local\` together, not ${capacity}`,
    );
  }
  return {
    window: o.window === undefined ? 64 : checkInteger('window', o.window, 1, maxTokens),
    pool,
    capacity,
    prefix,
    local,
    scale: o.scale === undefined ? undefined : checkScale(o.scale),
  };
}

function* steps(s: TokenSelection, budgets: Budgets): Steps<SelectedTokens> {
  const { batch, queryHeads, kvHeads, keys } = s;
  const { window, pool, capacity, prefix, local, scale } = budgets;
  if (s.k instanceof KeyPages && s.k.keyLengths.some((length) => length !== keys)) {
    throw invalid('k', 'keys of a cache whose sequences have one length', undefined);
  }
  const stats = yield* statsOf(lastQueries(s, window), s.k, { want: ['keySumOverQueries'], causal: true, scale }, s);
  const sums = stats.keySumOverQueries as Tensor<'float32'>;
  const columns = sums.dims[2];
  const group = queryHeads / kvHeads;
  const scores = allocate('float32', batch * kvHeads * keys);
  const rows = Array.from({ length: batch * kvHeads }, (_, row) => {
    const mean = new Float32Array(keys);
    for (let i = 0; i < group; ++i) {
      const from = (row * group + i) * columns;
      for (let key = 0; key < keys; ++key) mean[key] += sums.data[from + key] / group;
    }
    const importance = scores.subarray(row * keys, (row + 1) * keys);
    pooled(mean, pool, importance);
    return topList(importance, capacity, { first: prefix, last: local });
  });
  const lists = Array.from({ length: batch }, (_, b) => rows.slice(b * kvHeads, (b + 1) * kvHeads));
  return { scores: new Tensor('float32', scores, [batch, kvHeads, keys]), lists };
}

/** Averages over `pool` neighbours, zeros beyond the ends. */
function pooled(row: Float32Array, pool: number, to: Float32Array): void {
  const reach = (pool - 1) / 2;
  let sum = 0;
  for (let i = 0; i < Math.min(reach, row.length); ++i) sum += row[i];
  for (let i = 0; i < row.length; ++i) {
    if (i + reach < row.length) sum += row[i + reach];
    if (i - reach - 1 >= 0) sum -= row[i - reach - 1];
    to[i] = sum / pool;
  }
}
