// Ragged selections: packed sequences on pages that each select their keys. Neighbours with as many queries and the same
// stages are a call; the results are those of one.
// Reader: someone who follows hierarchical() into a pool. A sequence gets what it gets alone.

import { allOf } from '../../call/flight.js';
import { placementOf } from '../../call/placement.js';
import { copiesInputs, makeResults, type Results } from '../../call/request.js';
import { outputHeads, readShape, type Shape } from '../../call/shape.js';
import { TilewiseTypeError } from '../../check/errors.js';
import { type HierarchicalPattern, isShort } from '../../patterns/hierarchical.js';
import type { Range } from '../../patterns/sights.js';
import type { SelectionState } from '../../selectors/hierarchical.js';
import { checkPages, keysOnPages, type PageSettings } from '../../stores/pages.js';
import { axesOf } from '../../tensor/axes.js';
import { checkOverlaps } from '../../tensor/leases.js';
import { sliced, type View } from '../../tensor/views.js';
import { broadcast, checkKeyMask, readSequences } from './modifiers.js';
import {
  checkRank,
  type Internals,
  type Operands,
  type Prepared,
  prepare,
  wantedResults,
  withSplitExtras,
} from './problem.js';
import { runPrepared, runPreparedSync } from './run.js';

import { operandsOf, type Settings } from './settings.js';

/** The settings of a call that is for this file. */
export interface RaggedSelection extends Settings {
  readonly pattern: HierarchicalPattern;
  readonly cuSeqlensQ: Int32Array;
  readonly keyLengths: Int32Array;
  readonly pages: PageSettings;
}

export const isRaggedSelection = (settings: Settings): settings is RaggedSelection =>
  settings.pattern.kind === 'hierarchical' && settings.cuSeqlensQ !== undefined;

/** Calls ready to run. */
interface PreparedGroups {
  readonly calls: readonly Prepared[];
  readonly results: Results;
}

type Wrapped = ReturnType<Results['wrap']>;

export async function runSelections(
  operands: Operands,
  settings: RaggedSelection,
  internals: Internals | undefined,
): Promise<Wrapped> {
  const { calls, results } = prepareGroups(operands, settings, internals);
  try {
    await allOf(calls.map((call) => runPrepared(call, settings.signal)));
  } catch (error) {
    discard(calls, results);
    throw error;
  }
  return results.wrap();
}

export function runSelectionsSync(
  operands: Operands,
  settings: RaggedSelection,
  internals: Internals | undefined,
): Wrapped {
  const { calls, results } = prepareGroups(operands, settings, internals);
  try {
    for (const call of calls) runPreparedSync(call);
  } catch (error) {
    discard(calls, results);
    throw error;
  }
  return results.wrap();
}

function prepareGroups(
  { q, k, v, out: given }: Operands,
  unsplit: RaggedSelection,
  internals: Internals = {},
): PreparedGroups {
  const settings = withSplitExtras(unsplit) as RaggedSelection;
  if (internals.state) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      '`state` does not go with `cuSeqlensQ`: it is of one sequence, or of a batch of equal length; a KvPool takes `states`',
    );
  }
  const { isHeadsFirst, pages } = settings;
  const inputs = [
    { name: 'q', view: q },
    { name: 'k', view: k },
    { name: 'v', view: v },
    ...operandsOf(settings),
  ].filter(({ view }) => view !== settings.out);
  const placement = placementOf(settings.device, inputs);
  const copyInputs = copiesInputs(settings.copyInputs, inputs);
  checkRank(q, settings);
  const axes = axesOf(4, isHeadsFirst);
  const keys = internals.keys ?? keysOnPages(pages);
  const shape = readShape(q, k, v, axesOf(q.dims.length, isHeadsFirst), { axes, keys });
  const sequences = readSequences(settings, shape, q);
  checkPages(pages, k, axes.token, sequences);
  if (settings.keyMask) checkKeyMask(settings.keyMask, sequences);
  const results = makeResults(wantedResults(settings, shape, q, given, placement));
  const calls: Prepared[] = [];
  try {
    checkOverlaps(inputs, results.lent);
    for (const group of groupsOf(settings, internals.states)) {
      const cut = new Cut(group, settings);
      const out = cut.ofTokens(results.out);
      const lse = results.lse && cut.ofRows(results.lse);
      const state = internals.states?.[group.begin];
      const own = { ...cut.settings(shape), out, copyInputs };
      calls.push(prepare({ q: cut.ofTokens(q), k, v, out }, own, { ...internals, lse, state }, false, placement));
    }
    return { calls, results };
  } catch (error) {
    discard(calls, results);
    throw error;
  }
}

function discard(calls: readonly Prepared[], results: Results): void {
  for (const { selection } of calls) selection?.end();
  results.discard();
}

/** The sequences that have queries, neighbours that are alike together. A state is of one sequence. */
function groupsOf(
  { pattern, cuSeqlensQ, keyLengths }: RaggedSelection,
  states: readonly SelectionState[] | undefined,
): Range[] {
  const queriesOf = (sequence: number) => cuSeqlensQ[sequence + 1] - cuSeqlensQ[sequence];
  const isAlike = (a: number, b: number) =>
    queriesOf(a) === queriesOf(b) && isShort(pattern, keyLengths[a]) === isShort(pattern, keyLengths[b]);
  const groups: Range[] = [];
  for (let begin = 0, end = 1; begin < keyLengths.length; begin = end++) {
    while (!states && end < keyLengths.length && isAlike(begin, end)) ++end;
    if (queriesOf(begin) > 0) groups.push({ begin, end });
  }
  return groups;
}

/** What is packed, cut to a group of sequences, which become a batch. */
class Cut {
  readonly #group: Range;
  readonly #settings: RaggedSelection;

  constructor(group: Range, settings: RaggedSelection) {
    this.#group = group;
    this.#settings = settings;
  }

  /** [tokens, heads, dim], or as the layout has it, with or without a batch axis of 1. */
  ofTokens(view: View): View {
    return this.#batched(view, axesOf(view.dims.length, this.#settings.isHeadsFirst).token, view.dims.length > 3);
  }

  /** [heads, tokens], with or without a batch axis of 1. */
  ofRows(view: View): View {
    return this.#batched(view, view.dims.length - 1, view.dims.length > 2);
  }

  /** [tokens, heads], with or without a batch axis of 1. */
  #ofGate(view: View): View {
    return this.#batched(view, view.dims.length - 2, view.dims.length > 2);
  }

  #batched(view: View, token: number, hasBatch: boolean): View {
    const { begin, end } = this.#group;
    const { cuSeqlensQ } = this.#settings;
    const first = cuSeqlensQ[begin];
    const queries = cuSeqlensQ[begin + 1] - first;
    const { dims, strides } = alone({ ...view, dims: view.dims.with(token, queries) }, hasBatch);
    const step = view.strides[token];
    return {
      ...view,
      dims: [end - begin, ...dims],
      strides: [queries * step, ...strides],
      offset: view.offset + first * step,
    };
  }

  /** What broadcasts to [1, heads, tokens, keys]. */
  #ofPairs(name: string, view: View, shape: Shape): View {
    const { begin, end } = this.#group;
    const { cuSeqlensQ } = this.#settings;
    const [first, heads] = [cuSeqlensQ[begin], outputHeads(shape)];
    const queries = cuSeqlensQ[begin + 1] - first;
    const [, byHead, byQuery, byKey] = broadcast(name, view, [1, heads, shape.queries, shape.keys]);
    return {
      ...view,
      dims: [end - begin, heads, queries, shape.keys],
      strides: [queries * byQuery, byHead, byQuery, byKey],
      offset: view.offset + first * byQuery,
    };
  }

  /** @param shape of the whole call */
  settings(shape: Shape): Settings {
    const { keyLengths, keyMask, pages, alibiSlopes, scoreFactor, gate, extraKeys, extraValues } = this.#settings;
    const { begin, end } = this.#group;
    const { table, pageSize } = pages;
    const perSequence = table.dims[1];
    const ofAll = (view: View | undefined): View | undefined => {
      if (!view) return undefined;
      const { dims, strides } = alone(view, view.dims.length > 3);
      return { ...view, dims: [end - begin, ...dims], strides: [0, ...strides] };
    };
    return {
      ...this.#settings,
      mergedHeads: undefined,
      Tensor: undefined,
      cuSeqlensQ: undefined,
      keyLengths: keyLengths.subarray(begin, end),
      keyMask: keyMask && sliced(keyMask, 0, this.#group),
      pages: {
        table: {
          ...table,
          data: (table.data as Int32Array).subarray(begin * perSequence, end * perSequence),
          dims: [end - begin, perSequence],
        },
        pageSize,
      },
      alibiSlopes: alibiSlopes && { ...alibiSlopes, ...alone(alibiSlopes, alibiSlopes.dims.length > 1) },
      scoreFactor: scoreFactor && this.#ofPairs('scoreFactor', scoreFactor, shape),
      gate: gate && this.#ofGate(gate),
      extraKeys: ofAll(extraKeys),
      extraValues: ofAll(extraValues),
    };
  }
}

/** Dims and strides without a batch axis of 1. */
const alone = ({ dims, strides }: Pick<View, 'dims' | 'strides'>, hasBatch: boolean) =>
  hasBatch ? { dims: dims.slice(1), strides: strides.slice(1) } : { dims, strides };
