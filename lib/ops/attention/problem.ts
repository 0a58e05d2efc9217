// One call of attention() laid out for native code: tensors read, compared and placed, results allocated.
// Reader: someone who follows a call. The fields become core's Problem in binding/.

import { type Placement, placementOf } from '../../call/placement.js';
import { copiesInputs, Request, type Results } from '../../call/request.js';
import { checkHeads, checkSame, mismatch, outputHeads, putShape, readShape, type Shape } from '../../call/shape.js';
import { showDims } from '../../check/errors.js';
import { attentionForm, place } from '../../native/fields.js';
import type { NativeLists } from '../../patterns/block-lists.js';
import { type Pattern, putPattern, questionsOf, type RunnablePattern } from '../../patterns/index.js';
import { axisRules, type Grid, maxGridRank } from '../../patterns/neighborhood.js';
import { checkCoverage } from '../../patterns/shard-sights.js';
import { shardLayouts } from '../../patterns/strided-shards.js';
import { planSelection, type SelectionPlan, type SelectionState } from '../../selectors/hierarchical.js';
import { checkPages, keysOnPages, putPages } from '../../stores/pages.js';
import { type Axes, axesOf, lengthsOf, tokenAxesOf } from '../../tensor/axes.js';
import type { TensorLike } from '../../tensor/types.js';
import { floatTypes, readTensor, type View } from '../../tensor/views.js';
import { putExtras, putModifiers, putRelativeBias, putSequences } from './modifiers.js';
import { operandsOf, type Settings } from './options.js';

/** What named ops know beyond the options of attention(). */
export interface Internals {
  /** Judges the shape before anything is laid out. */
  readonly check?: (shape: Shape) => void;
  /** What runs in place of the pattern. */
  readonly lists?: NativeLists;
  /** What hierarchical selection remembers from call to call. */
  readonly state?: SelectionState;
  /** An asynchronous call: a predicate may be asked later, in slices. */
  readonly mayWait?: boolean;
}

/** A call ready to run: the selection first, or the questions to a predicate, where there are any. */
export interface Prepared {
  readonly request: Request;
  readonly results: Results;
  readonly selection: SelectionPlan | undefined;
  readonly questions: { run(signal: AbortSignal | undefined): Promise<void> } | undefined;
  readonly placement: Placement;
}

/**
 * Checks the tensors against each other and the options, and lays out the call.
 * @param at where to run, when that has been decided
 */
export function prepare(
  qLike: TensorLike,
  kLike: TensorLike,
  vLike: TensorLike,
  outLike: TensorLike | undefined,
  settings: Settings,
  internals: Internals = {},
  at?: Placement,
): Prepared {
  const { isHeadsFirst, pattern } = settings;
  const q = readTensor('q', qLike, floatTypes);
  const k = readTensor('k', kLike, floatTypes);
  const v = readTensor('v', vLike, floatTypes);
  const named = [{ name: 'q', view: q }, { name: 'k', view: k }, { name: 'v', view: v }, ...operandsOf(settings)];
  const placement = at ?? placementOf(settings.device, named);
  const copyInputs = copiesInputs(
    settings.copyInputs,
    named.filter(({ view }) => view !== settings.out),
  );
  checkRank(q, settings);
  const rank = q.dims.length;
  const axes = axesOf(rank, isHeadsFirst);
  const { pages } = settings;
  const shape = readShape(q, k, v, axes, pages && keysOnPages(pages));
  if (pages) checkPages(pages, k, axes.token, shape);
  checkHeads(shape, settings.pairing);
  internals.check?.(shape);
  const grid = pattern.kind === 'neighborhood' ? readGrid(pattern, q, k, axes) : undefined;
  const selection =
    pattern.kind === 'hierarchical'
      ? planSelection(pattern, q, k, axes, { ...settings, copyInputs }, placement, internals.state)
      : undefined;

  if (pattern.kind === 'stridedShards')
    checkCoverage(pattern, shardLayouts(pattern, outputHeads(shape), shape.kvHeads));
  const request = new Request(attentionForm, copyInputs);
  putShape(request.numbers, shape);
  const runnable = selection?.blocks ?? internals.lists ?? (pattern as RunnablePattern);
  const put = () => putPattern(request, runnable, shape, grid);
  const ask = internals.mayWait ? questionsOf(runnable, shape) : undefined;
  if (!ask) put();
  request.operand('q', place.q, q, isHeadsFirst);
  request.operand('k', place.k, k, isHeadsFirst);
  request.operand('v', place.v, v, isHeadsFirst);
  putModifiers(request, settings, shape);
  putExtras(request, settings, shape, rank);
  if (grid) putRelativeBias(request, settings, shape, grid);
  putSequences(request, settings, shape, q);
  if (pages) putPages(request, pages, settings.keyLengths as Int32Array, k);

  const heads = outputHeads(shape);
  const outDims = q.dims.with(axes.head, heads).with(axes.dim, shape.valueDim);
  const { out } = settings;
  if (out) checkSame('out', out, shape.type, outDims);
  const tokens = lengthsOf(q, tokenAxesOf(axes, rank));
  const lseDims = axes.batch < 0 ? [heads, ...tokens] : [shape.batch, heads, ...tokens];
  const results = request.results({
    given: outLike,
    out,
    isHeadsFirst,
    type: shape.type,
    outDims,
    lseDims: settings.returnLse ? lseDims : undefined,
    Tensor: settings.Tensor,
    device: placement.results,
  });
  const questions = ask && { run: (signal: AbortSignal | undefined) => ask(signal).then(put) };
  return { request, results, selection, questions, placement };
}

/** Rows of tokens have 4 axes, or 3 when packed; a grid has one to three token axes. */
function checkRank(q: View, { isHeadsFirst, pattern, cuSeqlensQ }: Settings): void {
  const rank = q.dims.length;
  const isGrid = pattern.kind === 'neighborhood';
  const isPacked = cuSeqlensQ !== undefined;
  if (isGrid ? rank > 3 && rank <= 3 + maxGridRank : rank === 4 || (isPacked && rank === 3)) return;
  const tokens = isGrid ? '...tokens' : 'tokens';
  const layout = isHeadsFirst ? `[batch, heads, ${tokens}, dim]` : `[batch, ${tokens}, heads, dim]`;
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
