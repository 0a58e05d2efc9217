// Selection laid out for native code: which stages run, where their lists are, and how attention reads them.
// Reader: someone who follows hierarchical() from its pattern to block lists. The fields become core's SelectionProblem.

import { fly } from '../call/flight.js';
import { onDevice, type Placement } from '../call/placement.js';
import { Request } from '../call/request.js';
import { mismatch } from '../call/shape.js';
import { showDims, TilewiseTypeError } from '../check/errors.js';
import { maxTokens } from '../check/validate.js';
import type { NativeLists } from '../patterns/block-lists.js';
import { type HierarchicalPattern, type SelectionStage, stagesOf } from '../patterns/hierarchical.js';
import { type PageSettings, putPages } from '../stores/pages.js';
import type { Axes } from '../tensor/axes.js';
import { DeviceBuffer, passed } from '../tensor/device-buffer.js';
import { backendName, cpu } from '../tensor/devices.js';
import { allocate, type View } from '../tensor/views.js';
import type { HipState, Refresh, Remembered, StageLists } from './hip-state.js';
import { formOf, headsPerListOf, op, putRule, type SelectionRule, type Sizes } from './selection-request.js';

const field = { pairing: op.field('pairing'), firstStage: op.field('firstStage'), keys: op.field('keys') };
const place = {
  q: { field: op.field('queryOffset'), slot: op.view('query') },
  k: { field: op.field('keyOffset'), slot: op.view('key') },
};
const keyLengthsSlot = op.view('keyLengths');
const pagePlace = { pages: op.field('pages'), pageSize: op.field('pageSize'), pageTable: op.view('pageTable') };
const stageSlot = { starts: op.itemView('starts'), counts: op.itemView('counts') };

/** What selection remembers from call to call, and how often it is to select from this call on. */
export interface SelectionState {
  readonly kept: HipState;
  readonly refresh?: Refresh;
}

/** The options that a selection takes notice of; as in attention(). */
export interface SelectionSettings {
  readonly keyLengths: Int32Array | undefined;
  readonly pairing: 'tile' | 'interleave' | undefined;
  readonly copyInputs: boolean;
  /** With the keys that a row of the table has room for. */
  readonly pages?: PageSettings & { readonly keys: number };
}

/** A selection that is laid out: its lists are there, and filled once it has run. */
export interface PreparedSelection {
  /** What attention() runs on. */
  readonly blocks: NativeLists;
  /** The lists of every stage. */
  readonly lists: readonly StageLists[];
  run(signal: AbortSignal | undefined): Promise<void>;
  runSync(): void;
  /** Every reason why a backend could not run it. */
  reasons(device: number): string[];
  /** Frees lists on a device, unless a state remembers them. */
  end(): void;
}

/** What is to be selected, stage by stage from `firstStage` on. */
interface Selection extends SelectionRule {
  readonly lists: readonly StageLists[];
  readonly firstStage: number;
}

/**
 * Lays out what a pattern selects for these tensors; runs nothing.
 * @param q queries with 4 axes, the type and heads of `k` checked
 */
export function prepareSelection(
  pattern: HierarchicalPattern,
  q: View,
  k: View,
  axes: Axes,
  settings: SelectionSettings,
  placement: Placement,
  state?: SelectionState,
): PreparedSelection {
  const sizes = sizesOf(q, k, axes, settings);
  if (state && settings.keyLengths?.some((length) => length !== sizes.keys))
    throw conflict('keyLengths', 'a `state` counts the keys of all batch entries alike');
  const stages = stagesOf(pattern, sizes.keys);
  const reused = state?.kept.recall(
    identityOf(pattern, sizes, placement),
    { stages, window: pattern.window, ...sizes },
    state.refresh,
  );
  const selection = select(pattern, sizes, stages, placement, reused);
  const request = selection.firstStage < stages.length ? layOut(selection, q, k, axes, settings) : undefined;
  const use = () => state?.kept.use(reused as Remembered, selection.lists);
  return {
    blocks: blocksOf(selection),
    lists: selection.lists,
    ...runs(request, placement, use),
    end: () => (state ? undefined : release(selection.lists)),
  };
}

/** What is selected now, with room for its lists, and what an earlier call has selected. */
function select(
  pattern: HierarchicalPattern,
  sizes: Sizes,
  stages: readonly Required<SelectionStage>[],
  placement: Placement,
  reused: Remembered | undefined,
): Selection {
  const listsPerEntry = Math.max(sizes.queryHeads, sizes.kvHeads) / headsPerListOf(pattern, sizes);
  const firstStage = reused?.firstStage ?? 0;
  // Keys that left the window since the first stage ran were no candidates then: they stay visible, and are none now.
  const window = Math.min(maxTokens, pattern.window + (reused?.grown ?? 0));
  const lists = reused ? reused.lists.slice(0, firstStage) : [];
  for (let i = firstStage; i < stages.length; ++i) {
    const { chunk, keep, blockQ } = stages[i];
    const candidates =
      i === 0
        ? Math.ceil(Math.max(0, sizes.keys - window - pattern.sink) / chunk)
        : lists[i - 1].keep * (stages[i - 1].chunk / chunk);
    // Lists are no longer than there are candidates.
    const room = Math.max(1, Math.min(Math.floor(keep / chunk), candidates));
    const dims = [sizes.batch, listsPerEntry, Math.ceil(sizes.queries / blockQ)];
    lists.push(emptyLists(stages[i], dims, room, placement.results));
  }
  return { pattern, sizes, stages, lists, firstStage, window };
}

/** What attention() runs on: the lists of the last stage, sinks and window. */
function blocksOf({ pattern, sizes, lists, window }: Selection): NativeLists {
  const { blockQ, chunk, dims, begins, counts, starts } = lists[lists.length - 1];
  return {
    kind: 'lists',
    blockQueries: blockQ,
    blockKeys: chunk,
    headsPerList: headsPerListOf(pattern, sizes),
    listsByBatch: dims[1] * dims[2],
    listsByHead: dims[2],
    listWindow: 1,
    left: window - 1,
    right: 0,
    sinkTokens: pattern.sink,
    align: 'bottom-right',
    begins,
    counts,
    starts,
  };
}

/** Runs a request, if there is anything to select, and has the state remember it. */
function runs(
  request: Request | undefined,
  placement: Placement,
  use: () => { commit(): void; release(): void } | undefined,
): Pick<PreparedSelection, 'run' | 'runSync' | 'reasons'> {
  return {
    async run(signal) {
      signal?.throwIfAborted();
      const remember = use();
      try {
        // Without a request the state is in use until the next turn, too.
        await (request && fly(placement, (device) => op.submit(device, request), undefined, signal));
        remember?.commit();
      } finally {
        remember?.release();
      }
    },
    runSync() {
      const remember = use();
      try {
        if (request) onDevice(placement, (device) => op.run(device, request));
        remember?.commit();
      } finally {
        remember?.release();
      }
    },
    reasons: (device) => (request ? op.supports(device, request) : []),
  };
}

function release(lists: readonly StageLists[]): void {
  for (const { starts, counts } of lists) {
    for (const data of [starts, counts]) if (data instanceof DeviceBuffer) data.release();
  }
}

/** A call as native code reads it. */
function layOut(selection: Selection, q: View, k: View, axes: Axes, settings: SelectionSettings): Request {
  const { stages, lists, firstStage } = selection;
  const request = new Request(formOf(stages.length), settings.copyInputs);
  const { numbers, views } = request;
  const keeps = lists.map(({ keep }) => keep);
  putRule(numbers, selection, keeps);
  numbers[field.pairing] = settings.pairing === 'interleave' ? 1 : 0;
  numbers[field.firstStage] = firstStage;
  const isHeadsFirst = axes.head < axes.token;
  request.operand('q', place.q, q, isHeadsFirst);
  request.operand('k', place.k, k, isHeadsFirst);
  views[keyLengthsSlot] = settings.keyLengths;
  if (settings.pages) {
    numbers[field.keys] = settings.pages.keys;
    putPages(request, settings.pages, settings.keyLengths as Int32Array, undefined, k, pagePlace);
  }
  for (const [i, { starts, counts }] of lists.entries()) {
    const first = op.views + i * op.itemViews;
    views[first + stageSlot.starts] = passed(starts);
    views[first + stageSlot.counts] = passed(counts);
  }
  return request;
}

function sizesOf(q: View, k: View, axes: Axes, { pages, keyLengths }: SelectionSettings): Sizes {
  const lengths = pages && (keyLengths as Int32Array);
  const [queries, keys] = [q.dims[axes.token], lengths ? Math.max(0, ...lengths) : k.dims[axes.token]];
  const short = lengths?.find((length) => length < queries);
  if (short !== undefined) {
    throw mismatch(`hierarchical() needs at least as many keys as queries, not ${short} keys for ${queries} queries`);
  }
  if (queries > keys) {
    throw mismatch(
      `hierarchical() needs at least as many keys as queries, not \`q\` ${showDims(q.dims)} and \`k\` ${showDims(k.dims)}`,
    );
  }
  return {
    batch: q.dims[axes.batch],
    queryHeads: q.dims[axes.head],
    kvHeads: k.dims[axes.head],
    queries,
    keys,
    headDim: q.dims[axes.dim],
    type: q.type,
    keyType: k.type,
  };
}

function emptyLists(
  { blockQ, chunk }: Required<SelectionStage>,
  dims: number[],
  keep: number,
  device: number,
): StageLists {
  const lists = dims[0] * dims[1] * dims[2];
  if (lists * keep > maxTokens) {
    throw mismatch(`The selection would be ${lists} lists of ${keep}; pass fewer queries at a time`);
  }
  return {
    blockQ,
    chunk,
    keep,
    dims,
    starts: integers(lists * keep, device),
    counts: integers(lists, device),
    begins: Int32Array.from({ length: lists }, (_, list) => list * keep),
  };
}

const integers = (size: number, device: number): Int32Array | DeviceBuffer =>
  device === cpu ? allocate('int32', size) : DeviceBuffer.allocate(device, size * Int32Array.BYTES_PER_ELEMENT);

/** What must not change between calls with one state. */
function identityOf(
  { scope, sink, window, method }: HierarchicalPattern,
  sizes: Sizes,
  { results }: Placement,
): string {
  const { batch, queryHeads, kvHeads, headDim, type, keyType } = sizes;
  const location = backendName(results);
  return JSON.stringify({ batch, queryHeads, kvHeads, headDim, type, keyType, method, scope, sink, window, location });
}

const conflict = (name: string, why: string): Error =>
  new TilewiseTypeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `\`${name}\` does not go with hierarchical(): ${why}; leave it out`,
  );
