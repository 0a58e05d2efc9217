// One call of attention() laid out for native code: tensors read, compared and placed, results allocated.
// Reader: someone who follows a call. The fields become core's Problem in binding/.

import { type MergedHeads, mergeHeads, readHeads, splitHeads } from '../../call/heads.js';
import { type Placement, placementOf } from '../../call/placement.js';
import { copiesInputs, Request, type Results, type WantedResults } from '../../call/request.js';
import {
  checkHeads,
  checkOneLayout,
  checkSame,
  mismatch,
  outputHeads,
  putShape,
  readShape,
  type Shape,
} from '../../call/shape.js';
import { showDims } from '../../check/errors.js';
import { attentionForm, place } from '../../native/fields.js';
import { type Pattern, putPattern, questionsOf, type RunnablePattern, runnableOf } from '../../patterns/index.js';
import { axisRules, type Grid, maxGridRank } from '../../patterns/neighborhood.js';
import { checkCoverage } from '../../patterns/shard-sights.js';
import { shardLayouts } from '../../patterns/strided-shards.js';
import type { WindowPattern } from '../../patterns/window.js';
import { type PreparedSelection, prepareSelection, type SelectionState } from '../../selectors/hierarchical.js';
import { pageListsOf } from '../../stores/page-lists.js';
import { checkPages, keysOnPages, putPages } from '../../stores/pages.js';
import { type Axes, axesOf, layoutWords, lengthsOf, tokenAxesOf } from '../../tensor/axes.js';
import { checkOverlaps } from '../../tensor/leases.js';
import type { TensorLike } from '../../tensor/types.js';
import { floatTypes, readTensor, type View } from '../../tensor/views.js';
import { putGate } from './gate.js';
import { putExtras, putModifiers, putRelativeBias, putSequences, readSequences } from './modifiers.js';

import { operandsOf, type Settings } from './settings.js';
import { type PreparedTurns, prepareTurns } from './turned.js';

/** What named ops know beyond the options of attention(). */
export interface Internals {
  /** Judges the shape before anything is laid out. */
  readonly check?: (shape: Shape) => void;
  /** Whether more KV heads than query heads need no `pairing`. */
  readonly isReversible?: boolean;
  /** k and v have an axis of heads, whatever `queryHeads` says of the other tensors. */
  readonly areKeysSplit?: boolean;
  /** Keys of the longest sequence on pages, which bias and mask have; all that the table has room for when absent. */
  readonly keys?: number;
  /** Memory for `lse`, when there is some. */
  readonly lse?: View;
  /** What runs in place of the pattern. */
  readonly runnable?: RunnablePattern;
  /** What hierarchical selection remembers from call to call; of packed sequences, each its own. */
  readonly state?: SelectionState;
  readonly states?: readonly SelectionState[];
}

/** The tensors of a call, with heads and dim as two axes; `out` as it was given. */
export interface Operands {
  readonly q: View;
  readonly k: View;
  readonly v: View;
  readonly out: TensorLike | undefined;
}

/** A call ready to run: what turns queries and keys first, then the selection or the questions to a predicate, where there are any. */
export interface Prepared {
  readonly request: Request;
  readonly results: Results;
  readonly turns: PreparedTurns | undefined;
  readonly selection: PreparedSelection | undefined;
  readonly questions: { run(signal: AbortSignal | undefined): Promise<void> } | undefined;
  readonly placement: Placement;
}

/**
 * Checks the tensors against each other and the options, and lays out the call.
 * @param mayWait an asynchronous call: a predicate may be asked later, in slices
 * @param at where to run, when that has been decided
 */
export function prepare(
  { q, k, v, out: outLike }: Operands,
  given: Settings,
  internals: Internals = {},
  mayWait = false,
  at?: Placement,
): Prepared {
  const named = [{ name: 'q', view: q }, { name: 'k', view: k }, { name: 'v', view: v }, ...operandsOf(given)];
  const placement = at ?? placementOf(given.device, named);
  const copyInputs = copiesInputs(given.copyInputs, named, given.out);
  const settings = withSplitExtras(given);
  const { isHeadsFirst, pattern, pages, pageLists } = settings;
  const keyLengths = settings.keyLengths as Int32Array; // there where pages are
  checkRank(q, settings);
  const rank = q.dims.length;
  const axes = axesOf(rank, isHeadsFirst);
  const onPages = pages && { axes: axesOf(4, isHeadsFirst), keys: internals.keys ?? keysOnPages(pages) };
  const shape = readShape(q, k, v, axes, onPages);
  const sequences = readSequences(settings, shape, q);
  if (pages && onPages) checkPages(pages, k, onPages.axes.token, sequences);
  if (settings.pairing === undefined && !internals.isReversible) checkOneLayout(q, k, shape, isHeadsFirst);
  checkHeads(shape, settings.pairing);
  internals.check?.(shape);
  const grid = pattern.kind === 'neighborhood' ? readGrid(pattern, q, k, axes) : undefined;
  const turns = settings.rotary && prepareTurns(settings.rotary, q, k, shape, settings, copyInputs);
  const [queries, keys] = turns ? [turns.q, turns.k] : [q, k];
  const selection =
    pattern.kind === 'hierarchical'
      ? prepareSelection(
          pattern,
          queries,
          keys,
          axes,
          { ...settings, copyInputs, pages: pages && onPages && { ...pages, keys: onPages.keys } },
          placement,
          internals.state,
        )
      : undefined;

  if (pattern.kind === 'stridedShards')
    checkCoverage(pattern, shardLayouts(pattern, outputHeads(shape), shape.kvHeads));
  const request = new Request(attentionForm, copyInputs);
  putShape(request.numbers, shape);
  const listed = pages && pageLists && pageListsOf(pageLists, pages, keyLengths, pattern as WindowPattern, sequences);
  const runnable =
    selection?.blocks ??
    internals.runnable ??
    listed ??
    runnableOf(pattern as Exclude<Pattern, { kind: 'hierarchical' }>, sequences, settings);
  const put = () => putPattern(request, runnable, sequences, grid);
  const ask = mayWait ? questionsOf(runnable, sequences) : undefined;
  if (!ask) put();
  request.operand('q', place.q, queries, isHeadsFirst);
  request.operand('k', place.k, keys, isHeadsFirst);
  request.operand('v', place.v, v, isHeadsFirst);
  putModifiers(request, settings, shape, sequences);
  putExtras(request, settings, shape, rank);
  if (grid) putRelativeBias(request, settings, shape, grid);
  putGate(request, settings.gate, shape, lengthsOf(q, tokenAxesOf(axes, rank)), axes.batch < 0);
  putSequences(request, settings);
  if (pages) putPages(request, pages, keyLengths, settings.keyStarts, k);
  // The request has what they become.
  if (turns && settings.out) checkOverlaps(named.slice(0, 2), { name: 'out', view: settings.out });
  const results = request.results(wantedResults(settings, shape, q, outLike, placement, internals.lse));
  const questions = ask && { run: (signal: AbortSignal | undefined) => ask(signal).then(put) };
  return { request, results, turns, selection, questions, placement };
}

/** The results, whose shape follows from that of q. */
export function wantedResults(
  { isHeadsFirst, mergedHeads, out, returnLse, Tensor }: Settings,
  shape: Pick<Shape, 'batch' | 'queryHeads' | 'kvHeads' | 'valueDim' | 'type'>,
  q: View,
  given: TensorLike | undefined,
  { results: device }: Placement,
  lse?: View,
): WantedResults {
  const rank = q.dims.length;
  const axes = axesOf(rank, isHeadsFirst);
  const heads = outputHeads(shape);
  const outDims = q.dims.slice();
  outDims[axes.head] = heads;
  outDims[axes.dim] = shape.valueDim;
  const shownDims = mergedHeads ? mergeHeads(outDims) : outDims;
  if (out) checkSame('out', out, shape.type, shownDims);
  const tokens = lengthsOf(q, tokenAxesOf(axes, rank));
  const lseDims = axes.batch < 0 ? [heads, ...tokens] : [shape.batch, heads, ...tokens];
  return {
    given,
    out: out && mergedHeads ? splitHeads(out, heads) : out,
    isHeadsFirst,
    type: shape.type,
    outDims,
    shownDims,
    lseDims: returnLse ? lseDims : undefined,
    lse,
    Tensor,
    device,
  };
}

/** Reads q, k and v. */
export function readOperands(
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  out: TensorLike | undefined,
  settings: Settings,
  { areKeysSplit = false }: Internals = {},
): Operands {
  const { mergedHeads, cuSeqlensQ, pages } = settings;
  const ofKeys = { mergedHeads: areKeysSplit || pages ? undefined : mergedHeads, cuSeqlensQ };
  return {
    q: readOperand('q', q, 'queryHeads', settings),
    k: readOperand('k', k, 'kvHeads', ofKeys),
    v: readOperand('v', v, 'kvHeads', ofKeys),
    out,
  };
}

/** Reads one of q, k, v, with heads and dim as two axes. */
export function readOperand(
  name: string,
  value: TensorLike,
  option: keyof MergedHeads,
  { mergedHeads, cuSeqlensQ }: Pick<Settings, 'mergedHeads' | 'cuSeqlensQ'>,
): View {
  const view = readTensor(name, value, floatTypes);
  return mergedHeads ? readHeads(name, view, option, mergedHeads, cuSeqlensQ !== undefined) : view;
}

/** Extra keys and values like those beside them: with heads and dim as two axes. */
export function withSplitExtras(settings: Settings): Settings {
  const { mergedHeads, extraKeys, extraValues, cuSeqlensQ } = settings;
  if (!mergedHeads || !extraKeys || !extraValues) return settings;
  const split = (name: string, view: View) => readHeads(name, view, 'kvHeads', mergedHeads, cuSeqlensQ !== undefined);
  return { ...settings, extraKeys: split('extraKeys', extraKeys), extraValues: split('extraValues', extraValues) };
}

/** Rows of tokens have 4 axes, or 3 when packed; a grid has one to three token axes. */
export function checkRank(q: View, { isHeadsFirst, pattern, cuSeqlensQ }: Settings): void {
  const rank = q.dims.length;
  const isGrid = pattern.kind === 'neighborhood';
  const isPacked = cuSeqlensQ !== undefined;
  if (isGrid ? rank > 3 && rank <= 3 + maxGridRank : rank === 4 || (isPacked && rank === 3)) return;
  const layout = layoutWords(isGrid ? 3 + maxGridRank : 4, isHeadsFirst);
  const orElse = isPacked ? ' or the last three' : isGrid ? ` with 1 to ${maxGridRank} axes of tokens` : '';
  throw mismatch(`\`q\` must have dims ${layout}${orElse}, not ${showDims(q.dims)}`);
}

/** The grid that queries and keys share. */
function readGrid(pattern: Extract<Pattern, { kind: 'neighborhood' }>, q: View, k: View, axes: Axes): Grid {
  const tokenAxes = tokenAxesOf(axes, q.dims.length);
  const lengths = lengthsOf(q, tokenAxes);
  const keyLengths = lengthsOf(k, tokenAxes);
  if (lengths.some((length, axis) => length !== keyLengths[axis])) {
    throw mismatch(
      `\`q\` ${showDims(q.dims)} and \`k\` ${showDims(k.dims)} must have the same tokens for a neighborhood, ` +
        `not ${showDims(lengths)} and ${showDims(keyLengths)}`,
    );
  }
  return { lengths, rules: axisRules(pattern, lengths) };
}
