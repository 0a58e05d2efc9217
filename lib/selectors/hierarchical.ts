// Selection laid out for native code: which stages run, where their lists lie, and what attention makes of them.
// Reader: someone who follows hierarchical() from its pattern to block lists. The fields become core's SelectionProblem.

import { fly } from '../call/flight.js';
import { onDevice, type Placement } from '../call/placement.js';
import { Request } from '../call/request.js';
import { mismatch } from '../call/shape.js';
import { showDims, TilewiseTypeError } from '../check/errors.js';
import { maxTokens } from '../check/validate.js';
import { dataTypeCode, native, positions } from '../native/native.js';
import type { Settings } from '../ops/attention/options.js';
import type { NativeLists } from '../patterns/block-lists.js';
import type { HierarchicalPattern, SelectionStage } from '../patterns/hierarchical.js';
import type { Axes } from '../tensor/axes.js';
import { DeviceBuffer, passed } from '../tensor/device-buffer.js';
import { backendName, cpu } from '../tensor/devices.js';
import type { View } from '../tensor/views.js';
import type { HipState, Refresh, Remembered, StageLists } from './hip-state.js';

const fieldAt = positions(native.selectFields);
const slotAt = positions(native.selectViews);
const stageFieldAt = positions(native.selectStageFields);
const stageSlotAt = positions(native.selectStageViews);
const fieldCount = native.selectFields.length;
const viewCount = native.selectViews.length;
const stageFields = native.selectStageFields.length;
const stageViews = native.selectStageViews.length;
const field = {
  device: fieldAt('device'),
  batch: fieldAt('batch'),
  queryHeads: fieldAt('queryHeads'),
  kvHeads: fieldAt('kvHeads'),
  queries: fieldAt('queries'),
  keys: fieldAt('keys'),
  headDim: fieldAt('headDim'),
  type: fieldAt('type'),
  pairing: fieldAt('pairing'),
  q: fieldAt('queryOffset'),
  k: fieldAt('keyOffset'),
  sinkTokens: fieldAt('sinkTokens'),
  window: fieldAt('window'),
  headsPerList: fieldAt('headsPerList'),
  method: fieldAt('method'),
  strideKeys: fieldAt('strideKeys'),
  firstStage: fieldAt('firstStage'),
  stages: fieldAt('stages'),
};
const slot = { q: slotAt('query'), k: slotAt('key'), keyLengths: slotAt('keyLengths') };
const stageField = {
  blockQueries: stageFieldAt('blockQueries'),
  strideQueries: stageFieldAt('strideQueries'),
  chunk: stageFieldAt('chunk'),
  keep: stageFieldAt('keep'),
};
const stageSlot = { starts: stageSlotAt('starts'), counts: stageSlotAt('counts') };

/** What selection remembers from call to call, and how often it is to select from this call on. */
export interface SelectionState {
  readonly kept: HipState;
  readonly refresh?: Refresh;
}

/** The options that a selection takes notice of. */
export type SelectionSettings = Pick<Settings, 'keyLengths' | 'pairing' | 'copyInputs' | 'cuSeqlensQ'>;

/** A selection that is laid out: its lists are there, and filled once it has run. */
export interface SelectionPlan {
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
interface Selection {
  readonly pattern: HierarchicalPattern;
  readonly sizes: Sizes;
  readonly stages: readonly Required<SelectionStage>[];
  readonly lists: readonly StageLists[];
  readonly firstStage: number;
  readonly window: number;
  readonly headsPerList: number;
}

/** Sizes of the tensors, as far as selection goes. */
interface Sizes {
  readonly batch: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  /** Heads of the output. */
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
}

/**
 * Lays out what a pattern selects for these tensors; runs nothing.
 * @param q queries with 4 axes, the type and heads of `k` checked
 */
export function planSelection(
  pattern: HierarchicalPattern,
  q: View,
  k: View,
  axes: Axes,
  settings: SelectionSettings,
  placement: Placement,
  state?: SelectionState,
): SelectionPlan {
  if (settings.cuSeqlensQ !== undefined) throw conflict('cuSeqlensQ', 'a selection goes by the tokens of one tensor');
  if (state && settings.keyLengths)
    throw conflict('keyLengths', 'a `state` counts the keys of all batch entries alike');
  const sizes = sizesOf(q, k, axes);
  const stages = stagesOf(pattern, sizes.keys);
  const headsPerList = { head: 1, kv: sizes.heads / sizes.kvHeads, layer: sizes.heads }[pattern.scope];
  const reused = state?.kept.recall(
    identityOf(pattern, q.type, sizes, placement),
    { stages, window: pattern.window, ...sizes },
    state.refresh,
  );
  const firstStage = reused?.firstStage ?? 0;
  // Keys that left the window since the first stage ran were no candidates then: they stay visible, and are none now.
  const window = Math.min(maxTokens, pattern.window + (reused?.grown ?? 0));
  const lists = reused ? reused.lists.slice(0, firstStage) : [];
  for (let i = firstStage; i < stages.length; ++i) {
    const { chunk, keep, blockQ } = stages[i];
    // Lists are no longer than there are candidates.
    const candidates =
      i === 0
        ? Math.ceil(Math.max(0, sizes.keys - window - pattern.sink) / chunk)
        : lists[i - 1].keep * (stages[i - 1].chunk / chunk);
    const dims = [sizes.batch, sizes.heads / headsPerList, Math.ceil(sizes.queries / blockQ)];
    lists.push(
      emptyLists(stages[i], dims, Math.max(1, Math.min(Math.floor(keep / chunk), candidates)), placement.results),
    );
  }
  const selection: Selection = { pattern, sizes, stages, lists, firstStage, window, headsPerList };

  const last = lists[lists.length - 1];
  const blocks: NativeLists = {
    kind: 'lists',
    blockQueries: last.blockQ,
    blockKeys: last.chunk,
    headsPerList,
    listsByBatch: last.dims[1] * last.dims[2],
    listsByHead: last.dims[2],
    listWindow: 1,
    left: window - 1,
    right: 0,
    sinkTokens: pattern.sink,
    align: 'bottom-right',
    begins: last.begins,
    counts: last.counts,
    starts: last.starts,
  };

  const request = firstStage < stages.length ? layOut(selection, q, k, axes, settings) : undefined;
  const numbersFor = (device: number): Float64Array => {
    request!.numbers[field.device] = device;
    return request!.numbers;
  };
  return {
    blocks,
    lists,
    async run(signal) {
      signal?.throwIfAborted();
      const remember = state?.kept.use(reused as Remembered, lists);
      try {
        const start = (device: number) => native.select(numbersFor(device), request!.views);
        await (request && fly(placement, start, undefined, signal));
        remember?.commit();
      } finally {
        remember?.release();
      }
    },
    runSync() {
      const remember = state?.kept.use(reused as Remembered, lists);
      try {
        if (request) onDevice(placement, (device) => native.selectSync(numbersFor(device), request.views) ?? {});
        remember?.commit();
      } finally {
        remember?.release();
      }
    },
    reasons: (device) => (request ? native.supportsSelection(numbersFor(device), request.views) : []),
    end() {
      if (state) return;
      for (const { starts, counts } of lists) {
        for (const data of [starts, counts]) if (data instanceof DeviceBuffer) data.release();
      }
    },
  };
}

/** A call as native code reads it. */
function layOut(selection: Selection, q: View, k: View, axes: Axes, settings: SelectionSettings): Request {
  const { pattern, sizes, stages, lists, firstStage, window, headsPerList } = selection;
  const request = new Request(
    fieldCount + stages.length * stageFields,
    viewCount + stages.length * stageViews,
    settings.copyInputs,
  );
  const { numbers, views } = request;
  numbers[field.batch] = sizes.batch;
  numbers[field.queryHeads] = sizes.queryHeads;
  numbers[field.kvHeads] = sizes.kvHeads;
  numbers[field.queries] = sizes.queries;
  numbers[field.keys] = sizes.keys;
  numbers[field.headDim] = sizes.headDim;
  numbers[field.type] = dataTypeCode(q.type);
  numbers[field.pairing] = settings.pairing === 'interleave' ? 1 : 0;
  const isHeadsFirst = axes.head < axes.token;
  request.operand('q', field.q, slot.q, q, isHeadsFirst);
  request.operand('k', field.k, slot.k, k, isHeadsFirst);
  views[slot.keyLengths] = settings.keyLengths;
  numbers[field.sinkTokens] = pattern.sink;
  numbers[field.window] = window;
  numbers[field.headsPerList] = headsPerList;
  numbers[field.method] = pattern.method === 'tree' ? 1 : 0;
  numbers[field.strideKeys] = pattern.method === 'tree' ? pattern.strideK : 1;
  numbers[field.firstStage] = firstStage;
  numbers[field.stages] = stages.length;
  for (const [i, stage] of stages.entries()) {
    const base = fieldCount + i * stageFields;
    numbers[base + stageField.blockQueries] = stage.blockQ;
    numbers[base + stageField.strideQueries] = stage.strideQ;
    numbers[base + stageField.chunk] = stage.chunk;
    numbers[base + stageField.keep] = lists[i].keep;
    views[viewCount + i * stageViews + stageSlot.starts] = passed(lists[i].starts);
    views[viewCount + i * stageViews + stageSlot.counts] = passed(lists[i].counts);
  }
  return request;
}

function sizesOf(q: View, k: View, axes: Axes): Sizes {
  const [queryHeads, kvHeads] = [q.dims[axes.head], k.dims[axes.head]];
  const [queries, keys] = [q.dims[axes.token], k.dims[axes.token]];
  if (queries > keys) {
    throw mismatch(
      `hierarchical() needs at least as many keys as queries, not \`q\` ${showDims(q.dims)} and \`k\` ${showDims(k.dims)}`,
    );
  }
  return {
    batch: q.dims[axes.batch],
    queryHeads,
    kvHeads,
    heads: Math.max(queryHeads, kvHeads),
    queries,
    keys,
    headDim: q.dims[axes.dim],
  };
}

/** A tree is one stage whose chunks are its blocks of keys. */
function stagesOf(pattern: HierarchicalPattern, keys: number): readonly Required<SelectionStage>[] {
  if (pattern.method === 'tree') {
    const { blockQ, strideQ, blockK, maskK } = pattern;
    return [{ blockQ, strideQ, chunk: blockK, keep: maskK }];
  }
  return pattern.shorter && keys < pattern.shorter.below ? pattern.shorter.stages : pattern.stages;
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
  device === cpu ? new Int32Array(size) : DeviceBuffer.allocate(device, size * Int32Array.BYTES_PER_ELEMENT);

/** What must not change between calls with one state. */
function identityOf(
  { scope, sink, window, method }: HierarchicalPattern,
  type: string,
  sizes: Sizes,
  { results }: Placement,
): string {
  const { batch, queryHeads, kvHeads, headDim } = sizes;
  const location = backendName(results);
  return JSON.stringify({ batch, queryHeads, kvHeads, headDim, type, method, scope, sink, window, location });
}

const conflict = (name: string, why: string): Error =>
  new TilewiseTypeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `\`${name}\` does not go with hierarchical(): ${why}; leave it out`,
  );
