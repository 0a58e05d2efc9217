// A token that a cache takes and looks back from, again and again: one of each sequence is appended, and its query sees all tokens.
// Reader: someone whose tokens are so short that preparing a call takes longer than running it. All that is checked of append() and
// attentionSync() but memory, lengths and pages stays as it was; those are looked at each time.

import { MemoryPart } from '../call/memory-part.js';
import { onDevice } from '../call/placement.js';
import { attentionOp, field, slot } from '../native/fields.js';
import { takeIntegers } from '../native/slabs.js';
import { prepareAppend, putAppendMemory, runAppend } from '../ops/append.js';
import type { CallMemory } from '../ops/attention/again.js';
import { readSyncValues } from '../ops/attention/options.js';
import { type Prepared, prepare } from '../ops/attention/problem.js';
import { isAnythingLent } from '../tensor/leases.js';
import { isOnHost, type TensorData, type View } from '../tensor/views.js';
import type { CacheCall } from './kv-attention.js';
import type { KvSizes } from './kv-pages.js';
import type { KvPart } from './kv-parts.js';
import type { KvRows } from './kv-rows.js';

/** Options whose numbers are of single tokens: another call each time. */
const ofTokens = ['scoreFactor', 'bias', 'mask', 'keyMask', 'keyStarts', 'pageLists', 'gate', 'signal'] as const;

export class RepeatedStep {
  readonly #sizes: KvSizes;
  readonly #prepared: Prepared;
  readonly #append: ReturnType<typeof prepareAppend>;
  readonly #slots: Int32Array;
  readonly #keyLengths: Int32Array;
  readonly #table: Int32Array;
  readonly #memory: readonly MemoryPart[];

  private constructor(
    sizes: KvSizes,
    prepared: Prepared,
    append: ReturnType<typeof prepareAppend>,
    slots: Int32Array,
    memory: readonly MemoryPart[],
  ) {
    const { views } = prepared.request;
    this.#sizes = sizes;
    this.#prepared = prepared;
    this.#append = append;
    this.#slots = slots;
    this.#keyLengths = views[slot.keyLengths] as Int32Array;
    this.#table = views[slot.pageTable] as Int32Array;
    this.#memory = memory;
  }

  /**
   * Prepares what a cache has just done: these rows were appended, and this call was made.
   * @param part all heads of the cache, which keep every token
   * @param memory of which queries, keys, values and `out` are views
   * @returns undefined for a call that is another one each time
   */
  static of({ pool, runs }: KvPart, layer: number, rows: KvRows, call: CacheCall, memory: CallMemory) {
    const [{ k, v, internals }] = call.parts;
    const settings = readSyncValues('KvCache.attentionSync()', call.options);
    const views = [call.q, rows.k, rows.v, settings.out];
    const isSteady = settings.pattern.kind === 'window' && ofTokens.every((name) => settings[name] === undefined);
    const isOne = rows.tokens === 1 && call.q.dims[settings.isHeadsFirst ? 2 : 1] === 1;
    if (!isSteady || !isOne || !views.every((view): view is View => !!view && isOnHost(view))) return undefined;
    const prepared = prepare({ q: call.q, k, v, out: call.options.out }, settings, internals);
    const slots = takeIntegers(runs.length);
    const [keys, values] = [
      { name: 'k', from: rows.k, to: pool.keysOf(layer) },
      { name: 'v', from: rows.v, to: pool.valuesOf(layer) },
    ];
    const append = prepareAppend(keys, values, settings.isHeadsFirst, slots);
    const parts = views.map(({ data }, i) => new MemoryPart(data as TensorData, memory[i]));
    const step = new RepeatedStep(pool.sizes, prepared, append, slots, parts);
    step.#letGo();
    return step;
  }

  /**
   * Appends and attends; false, and nothing done, where the step is another one: the cache's own calls say what is wrong.
   * @param maxTokens of a sequence
   */
  run({ pool, runs }: KvPart, layer: number, [q, k, v, out]: CallMemory, maxTokens: number): boolean {
    const slots = this.#slots;
    if (isAnythingLent() || runs.length !== slots.length || !isAlike(pool.sizes, this.#sizes)) return false;
    const [queries, keys, values, output] = [q, k, v, out].map((data, i) => this.#memory[i].of(data));
    if (!queries || !keys || !values || !output) return false;
    const [keyPages, valuePages] = [pool.keysOf(layer), pool.valuesOf(layer)];
    const [pages] = keyPages.dims;
    const { pageSize } = pool.sizes;
    let most = 0;
    for (let i = 0; i < runs.length; ++i) {
      slots[i] = runs[i].nextSlot(layer);
      if (slots[i] < 0 || slots[i] >= pages * pageSize) return false;
      most = Math.max(most, runs[i].lengthOf(layer) + 1);
    }
    const perSequence = this.#table.length / runs.length;
    if (most > maxTokens || Math.ceil(most / pageSize) !== perSequence) return false;
    const to = { keys: keyPages.data as TensorData, values: valuePages.data as TensorData };
    putAppendMemory(this.#append, { keys, values }, to, pages);
    runAppend(pool.sizes.device, this.#append);
    for (let i = 0; i < runs.length; ++i) {
      runs[i].step(layer);
      runs[i].writeTable(layer, this.#table, i * perSequence, false);
      this.#keyLengths[i] = runs[i].lengthOf(layer);
    }
    const { request, placement } = this.#prepared;
    const { numbers, views } = request;
    numbers[field.keys] = most;
    numbers[field.pages] = pages;
    views[slot.q] = queries;
    views[slot.k] = to.keys;
    views[slot.v] = to.values;
    views[slot.out] = output;
    onDevice(placement, (device) => attentionOp.run(device, request));
    this.#letGo();
    return true;
  }

  /** Nothing is kept alive from step to step. */
  #letGo(): void {
    const none = { keys: undefined, values: undefined };
    putAppendMemory(this.#append, none, none, 0);
    const { views } = this.#prepared.request;
    for (const at of [slot.q, slot.k, slot.v, slot.out]) views[at] = undefined;
  }
}

/** Whether pages are of one form. */
const isAlike = (a: KvSizes, b: KvSizes): boolean =>
  a === b ||
  (a.kvHeads === b.kvHeads &&
    a.headDim === b.headDim &&
    a.valueDim === b.valueDim &&
    a.pageSize === b.pageSize &&
    a.type === b.type &&
    a.device === b.device);
