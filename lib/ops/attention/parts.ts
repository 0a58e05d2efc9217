// Attention of heads in parts: consecutive KV heads with keys, values and a window of their own, each a native call; the
// results are those of one.
// Reader: someone whose heads do not see the same keys. Assumes that the parts follow each other and are all KV heads. Idea:
// DuoAttention (arXiv 2410.10819), whose retrieval heads and streaming heads run apart.

import { allOf, fly } from '../../call/flight.js';
import { onDevice, placementOf } from '../../call/placement.js';
import { copiesInputs, makeResults, type Results } from '../../call/request.js';
import { mismatch } from '../../call/shape.js';
import { showDims } from '../../check/errors.js';
import { attentionOp } from '../../native/fields.js';
import type { Range } from '../../patterns/sights.js';
import { axesOf } from '../../tensor/axes.js';
import { checkOverlaps } from '../../tensor/leases.js';
import type { FloatType } from '../../tensor/types.js';
import { sliced, type View } from '../../tensor/views.js';
import { type AttentionOptions, readOptions, readSyncOptions } from './options.js';
import { type Internals, type Prepared, prepare, wantedResults, withSplitExtras } from './problem.js';

import { operandsOf, type Settings } from './settings.js';

export interface HeadPart {
  /** KV heads. */
  readonly heads: Range;
  readonly k: View;
  readonly v: View;
  /** Next to those of all parts, or in their place. */
  readonly options: AttentionOptions<unknown>;
  readonly internals: Internals;
}

/** A call ready to run. */
export interface PreparedParts {
  readonly calls: readonly Pick<Prepared, 'request' | 'results' | 'placement'>[];
  readonly results: Results;
}

/** runAttention() in parts. */
export async function runParts(
  where: string,
  q: View,
  parts: readonly HeadPart[],
  options: AttentionOptions<unknown>,
): Promise<ReturnType<Results['wrap']>> {
  const settings = readOptions(where, options);
  return completeParts(prepareParts(where, q, parts, options, settings), settings.signal);
}

/** The results of a prepared call, once it has run. */
export async function completeParts(
  { calls, results }: PreparedParts,
  signal: AbortSignal | undefined,
): Promise<ReturnType<Results['wrap']>> {
  const flights = calls.map(({ request, results: { lent }, placement }) =>
    fly(placement, (device) => attentionOp.submit(device, request), lent, signal),
  );
  try {
    await allOf(flights);
  } catch (error) {
    results.discard();
    throw error;
  }
  return results.wrap();
}

/** runAttentionSync() in parts. */
export function runPartsSync(
  where: string,
  q: View,
  parts: readonly HeadPart[],
  options: AttentionOptions<unknown>,
): ReturnType<Results['wrap']> {
  return completePartsSync(prepareParts(where, q, parts, options, readSyncOptions(where, options)));
}

/** completeParts() on the calling thread. */
export function completePartsSync({ calls, results }: PreparedParts): ReturnType<Results['wrap']> {
  try {
    for (const { request, placement } of calls) onDevice(placement, (device) => attentionOp.run(device, request));
  } catch (error) {
    results.discard();
    throw error;
  }
  return results.wrap();
}

/** @param given `options` as they were read */
export function prepareParts(
  where: string,
  q: View,
  parts: readonly HeadPart[],
  options: AttentionOptions<unknown>,
  given: Settings,
): PreparedParts {
  const settings = withSplitExtras(given);
  const keys = parts.flatMap(({ k, v }) => [
    { name: 'k', view: k },
    { name: 'v', view: v },
  ]);
  const named = [{ name: 'q', view: q }, ...keys, ...operandsOf(settings)];
  const placement = placementOf(settings.device, named);
  const inputs = named.filter(({ view }) => view !== given.out);
  const copyInputs = copiesInputs(settings.copyInputs, inputs);
  const cut = new Cut(q, settings.isHeadsFirst, parts[parts.length - 1].heads.end);
  const { batch, queryHeads, kvHeads } = cut;
  const [{ v }] = parts;
  const sizes = { batch, queryHeads, kvHeads, type: q.type as FloatType, valueDim: v.dims[v.dims.length - 1] };
  const results = makeResults(wantedResults(settings, sizes, q, options.out, placement));
  try {
    checkOverlaps(inputs, results.lent);
    const calls = parts.map(({ heads, k, v, options: told, internals }) => {
      const out = cut.ofQueries(results.out, heads);
      const lse = results.lse && cut.ofRows(results.lse, heads);
      const own = { ...options, ...cut.ofOptions(settings, heads), out, copyInputs, ...unmerged, ...told };
      const read = readOptions(where, own);
      return prepare({ q: cut.ofQueries(q, heads), k, v, out }, read, { ...internals, lse }, false, placement);
    });
    return { calls, results };
  } catch (error) {
    results.discard();
    throw error;
  }
}

/** What concerns the results of all parts, which have memory. */
const unmerged = { queryHeads: undefined, kvHeads: undefined, Tensor: undefined };

/** Tensors of all heads, cut to those of a part. */
class Cut {
  readonly batch: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly #isHeadsFirst: boolean;

  constructor({ dims }: View, isHeadsFirst: boolean, kvHeads: number) {
    const axes = axesOf(dims.length, isHeadsFirst);
    this.batch = dims[axes.batch];
    this.queryHeads = dims[axes.head];
    this.kvHeads = kvHeads;
    this.#isHeadsFirst = isHeadsFirst;
    if (this.queryHeads % kvHeads === 0) return;
    throw mismatch(`\`q\` ${showDims(dims)} must have a multiple of ${kvHeads} heads, one group for each KV head`);
  }

  /** Like q. */
  ofQueries(view: View, heads: Range): View {
    return sliced(view, axesOf(view.dims.length, this.#isHeadsFirst).head, this.#queryHeadsOf(heads));
  }

  /** [batch, heads, ...]. */
  ofRows(view: View, heads: Range): View {
    return sliced(view, 1, this.#queryHeadsOf(heads));
  }

  ofOptions(settings: Settings, heads: Range): AttentionOptions<unknown> {
    const { alibiSlopes, sinks, bias, mask, gate, extraKeys, extraValues } = settings;
    const own = this.#queryHeadsOf(heads);
    const ofQueries = (name: string, view: View | undefined, fromLast: number, mayRepeat = false) => {
      const axis = (view?.dims.length ?? 0) - fromLast;
      if (!view || (mayRepeat && (axis < 0 || view.dims[axis] === 1))) return view;
      return checked(name, view, axis, this.queryHeads, own);
    };
    const ofKeys = (name: string, view: View | undefined) =>
      view && checked(name, view, axesOf(view.dims.length, this.#isHeadsFirst).head, this.kvHeads, heads);
    return {
      alibiSlopes: ofQueries('alibiSlopes', alibiSlopes, 1),
      sinks: ofQueries('sinks', sinks, 1),
      bias: ofQueries('bias', bias, 3, true),
      mask: ofQueries('mask', mask, 3, true),
      gate: ofQueries('gate', gate, 1),
      extraKeys: ofKeys('extraKeys', extraKeys),
      extraValues: ofKeys('extraValues', extraValues),
    };
  }

  #queryHeadsOf({ begin, end }: Range): Range {
    const group = this.queryHeads / this.kvHeads;
    return { begin: begin * group, end: end * group };
  }
}

/** A part of an axis that must have so many heads. */
function checked(name: string, view: View, axis: number, count: number, heads: Range): View {
  if (view.dims[axis] === count) return sliced(view, axis, heads);
  throw mismatch(`\`${name}\` ${showDims(view.dims)} must have ${count} heads`);
}
