// A token that a cache takes and looks back from, again and again: one of each sequence is appended, and its query sees all tokens.
// Reader: someone whose tokens are so short that preparing a call takes longer than running it. All that is checked of append() and
// attentionSync() but memory, lengths and pages stays as it was; those are looked at each time.

import { MemoryPart } from '../call/memory-part.js';
import { onDevice } from '../call/placement.js';
import { attentionOp, field, slot } from '../native/fields.js';
import type { CallMemory } from '../ops/attention/again.js';
import { readSyncValues } from '../ops/attention/options.js';
import { type Prepared, prepare } from '../ops/attention/problem.js';
import { isOnHost, type TensorData, type View } from '../tensor/views.js';
import { RepeatedAppend } from './kv-append.js';
import type { CacheCall } from './kv-attention.js';
import type { KvPart } from './kv-parts.js';
import { putLengths, putTable } from './kv-places.js';
import type { KvRows } from './kv-rows.js';

/** Options whose numbers are of single tokens: another call each time. */
const ofTokens = ['scoreFactor', 'bias', 'mask', 'keyMask', 'keyStarts', 'pageLists', 'gate', 'signal'] as const;

/** Where memory crosses that is another one each time. */
const slots = [slot.q, slot.k, slot.v, slot.out] as const;

export class RepeatedStep {
  readonly #prepared: Prepared;
  readonly #append: RepeatedAppend;
  /** Where keys and values begin in their memory. */
  readonly #rows: Readonly<Record<'k' | 'v', number>>;
  readonly #keyLengths: Int32Array;
  readonly #table: Int32Array;
  readonly #memory: readonly MemoryPart[];

  private constructor(prepared: Prepared, append: RepeatedAppend, { k, v }: KvRows, memory: readonly MemoryPart[]) {
    const { views } = prepared.request;
    this.#prepared = prepared;
    this.#append = append;
    this.#rows = { k: k.offset, v: v.offset };
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
  static of(part: KvPart, layer: number, rows: KvRows, call: CacheCall, memory: CallMemory): RepeatedStep | undefined {
    const [{ k, v, internals }] = call.parts;
    const settings = readSyncValues('KvCache.attentionSync()', call.options);
    const views = [call.q, rows.k, rows.v, settings.out];
    const isSteady = settings.pattern.kind === 'window' && ofTokens.every((name) => settings[name] === undefined);
    const isOne = rows.tokens === 1 && call.q.dims[settings.isHeadsFirst ? 2 : 1] === 1;
    if (!isSteady || !isOne || !views.every((view): view is View => !!view && isOnHost(view))) return undefined;
    const prepared = prepare({ q: call.q, k, v, out: call.options.out }, settings, internals);
    const append = RepeatedAppend.of([part], layer, rows, settings.isHeadsFirst);
    if (!append) return undefined;
    const parts = views.map(({ data }, i) => new MemoryPart(data as TensorData, memory[i]));
    const step = new RepeatedStep(prepared, append, rows, parts);
    step.#letGo();
    return step;
  }

  /**
   * Appends and attends; false, and nothing done, where the step is another one: the cache's own calls say what is wrong.
   * @param maxTokens of a sequence
   */
  run(part: KvPart, layer: number, [q, k, v, out]: CallMemory, maxTokens: number): boolean {
    const { pool, runs } = part;
    if (!this.#append.isReady([part], layer)) return false;
    const memory = this.#memory;
    const queries = memory[0].of(q);
    const keys = memory[1].of(k);
    const values = memory[2].of(v);
    const output = memory[3].of(out);
    if (!queries || !keys || !values || !output) return false;
    const { pageSize } = pool.sizes;
    let most = 0;
    for (let i = 0; i < runs.length; ++i) most = Math.max(most, runs[i].lengthOf(layer) + 1);
    const perSequence = this.#table.length / runs.length;
    if (most > maxTokens || Math.ceil(most / pageSize) !== perSequence) return false;
    this.#append.write([part], layer, { data: keys, offset: this.#rows.k }, { data: values, offset: this.#rows.v });
    const { data: keyPages, dims } = pool.keysOf(layer);
    putLengths(runs, layer, this.#keyLengths, false);
    putTable(runs, layer, this.#table, false);
    const { request, placement } = this.#prepared;
    const { numbers, views } = request;
    numbers[field.keys] = most;
    numbers[field.pages] = dims[0];
    views[slot.q] = queries;
    views[slot.k] = keyPages as TensorData;
    views[slot.v] = pool.valuesOf(layer).data as TensorData;
    views[slot.out] = output;
    onDevice(placement, (device) => attentionOp.run(device, request));
    this.#letGo();
    return true;
  }

  /** Nothing is kept alive from step to step. */
  #letGo(): void {
    const { views } = this.#prepared.request;
    for (const at of slots) views[at] = undefined;
  }
}
