// verticalSlash(): columns and diagonals that the last queries of a prompt look at most. Reader: someone who computes a long
// prompt with MInference's vertical-slash heads (arXiv 2407.02490).

import { refuseSignal } from '../../call/flight.js';
import { TilewiseRangeError } from '../../check/errors.js';
import { checkInteger, checkNames, maxTokens, namesOf } from '../../check/validate.js';
import type { RangesPattern } from '../../patterns/ranges.js';
import { topList } from '../../selectors/top-list.js';
import { verticalRanges } from '../../selectors/vertical-ranges.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { TensorLike } from '../../tensor/types.js';
import { checkScale } from '../stats/options.js';
import { refusePages } from './block-means.js';
import { inTurn, inTurnSync, type SelectorOptions, type Steps, selectorNames, statsOf } from './steps.js';
import { lastQueries, readTokenSelection, type TokenSelection } from './tokens.js';

/** Options of verticalSlash(). */
export interface VerticalSlashOptions extends SelectorOptions {
  /** Last queries whose probabilities decide; default 64. */
  lastQueries?: number;
  /** Columns of a head, forced ones included. */
  vertical: number;
  /** Diagonals of a head, forced ones included. */
  slash: number;
  /** First columns that are always taken; default 4, or `vertical` if that is fewer. */
  forcedVertical?: number;
  /** Diagonals next to the query's own that are always taken, itself included; default 64, or `slash` if that is fewer. */
  forcedSlash?: number;
  /** Factor on q.k; default headDim^-0.5. */
  scale?: number;
}

/** What verticalSlash() returns. */
export interface SelectedSlashes {
  readonly scores: {
    /** [batch, heads, keys], probabilities of each key, summed over the last queries. */
    readonly columns: Tensor<'float32'>;
    /** [batch, heads, keys], the same by the distance of a key before its query. */
    readonly diagonals: Tensor<'float32'>;
  };
  /** The columns of each batch entry and head, ascending. */
  readonly verticals: readonly (readonly Int32Array[])[];
  /** The distances likewise. */
  readonly slashes: readonly (readonly Int32Array[])[];
  /** Each query sees the keys up to itself in a listed column or at a listed distance: for `pattern` of attention(). */
  readonly lists: RangesPattern;
}

const names = namesOf<VerticalSlashOptions>({
  ...selectorNames,
  lastQueries: 1,
  vertical: 1,
  slash: 1,
  forcedVertical: 1,
  forcedSlash: 1,
  scale: 1,
});

/**
 * Chooses columns and diagonals of a head's causal attention by the probabilities of the last queries, summed over columns and
 * over diagonals. MInference, arXiv 2407.02490; the forced ones are FlexPrefill's. With as many as there are keys attention is
 * dense. The pattern keeps up to `vertical` + `slash` ranges per query and head: for long prompts pass chunks of queries.
 * @param q [batch, queries, heads, headDim] or as `layout` says, at the end of the keys
 * @param k [batch, keys, kvHeads, headDim]
 * @param options `vertical` and `slash` are needed
 * @returns see SelectedSlashes; rejects as questPageScores() does
 */
export async function verticalSlash(
  q: TensorLike,
  k: TensorLike,
  options: VerticalSlashOptions,
): Promise<SelectedSlashes> {
  checkNames('verticalSlash()', options, names);
  const selection = readTokenSelection(q, refusePages(k), options);
  return inTurn(steps(selection, readBudgets(options)), selection.signal, k);
}

/**
 * verticalSlash() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what verticalSlash() rejects with
 */
export function verticalSlashSync(q: TensorLike, k: TensorLike, options: VerticalSlashOptions): SelectedSlashes {
  checkNames('verticalSlashSync()', options, names);
  const selection = readTokenSelection(q, refusePages(k), options);
  refuseSignal('verticalSlashSync()', selection.signal);
  return inTurnSync(steps({ ...selection, copyInputs: false }, readBudgets(options)));
}

interface Budgets {
  readonly last: number;
  readonly vertical: number;
  readonly slash: number;
  readonly forcedVertical: number;
  readonly forcedSlash: number;
  readonly scale: number | undefined;
}

function readBudgets(o: VerticalSlashOptions): Budgets {
  const vertical = checkInteger('vertical', o.vertical, 0, maxTokens);
  const slash = checkInteger('slash', o.slash, 0, maxTokens);
  return {
    last: o.lastQueries === undefined ? 64 : checkInteger('lastQueries', o.lastQueries, 1, maxTokens),
    vertical,
    slash,
    forcedVertical: readForced('forcedVertical', o.forcedVertical, 4, 'vertical', vertical),
    forcedSlash: readForced('forcedSlash', o.forcedSlash, 64, 'slash', slash),
    scale: o.scale === undefined ? undefined : checkScale(o.scale),
  };
}

/** A number of forced entries, which a budget includes. */
export function readForced(name: string, value: unknown, usual: number, of: string, budget: number): number {
  if (value === undefined) return Math.min(usual, budget);
  const forced = checkInteger(name, value, 0, maxTokens);
  if (forced <= budget) return forced;
  throw new TilewiseRangeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `\`${name}\` must be at most ${budget}, \`${of}\`, not ${forced}`,
  );
}

function* steps(s: TokenSelection, budgets: Budgets): Steps<SelectedSlashes> {
  const { batch, queryHeads, queries, keys } = s;
  const { last, scale } = budgets;
  const stats = yield* statsOf(
    lastQueries(s, last),
    s.k,
    { want: ['keySumOverQueries', 'diagSum'], causal: true, scale },
    s,
  );
  const columns = stats.keySumOverQueries as Tensor<'float32'>;
  const diagonals = stats.diagSum as Tensor<'float32'>;
  const listsOf = (scores: Tensor<'float32'>, budget: number, forced: number) =>
    Array.from({ length: batch * queryHeads }, (_, row) =>
      topList(scores.data.subarray(row * keys, (row + 1) * keys), budget, { first: forced, last: 0 }),
    );
  const ofEntries = (lists: Int32Array[]) =>
    Array.from({ length: batch }, (_, b) => lists.slice(b * queryHeads, (b + 1) * queryHeads));
  const verticals = listsOf(columns, budgets.vertical, budgets.forcedVertical);
  const slashes = listsOf(diagonals, budgets.slash, budgets.forcedSlash);
  const both = verticals.map((list, row) => ({ verticals: list, slashes: slashes[row] }));
  return {
    scores: { columns, diagonals },
    verticals: ofEntries(verticals),
    slashes: ofEntries(slashes),
    lists: verticalRanges(both, [batch, queryHeads, queries, keys]),
  };
}
