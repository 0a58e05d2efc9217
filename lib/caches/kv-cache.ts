// KvCache: the keys and values of a model while it generates, which attention reads where they lie.
// Reader: someone who generates text. Pages of 256 tokens, heads first: growing copies nothing, a fork shares all pages
// until it writes. Idea of the pages: PagedAttention (arXiv 2309.06180).

/// <reference lib="esnext.disposable" preserve="true" />

import { mismatch } from '../call/shape.js';
import { TilewiseError, TilewiseRangeError } from '../check/errors.js';
import { checkInteger, checkNames } from '../check/validate.js';
import type { CallMemory } from '../ops/attention/again.js';
import type { ResultOf } from '../ops/attention/attention.js';
import type { KeyPages } from '../stores/key-pages.js';
import { cpu } from '../tensor/devices.js';
import { type IntegerList, readIntegerList } from '../tensor/integers.js';
import type { Tensor } from '../tensor/tensor.js';
import type { FloatType, TensorLike } from '../tensor/types.js';
import { keyPagesOf } from './key-pages.js';
import { RepeatedStep } from './kv-again.js';
import { attendTo, attendToSync, callOf } from './kv-attention.js';
import { compactLayer } from './kv-compact.js';
import { denseRows } from './kv-dense.js';
import { type CacheSettings, type KvCacheOptions, readCacheOptions } from './kv-options.js';
import { KvPages } from './kv-pages.js';
import { type KvPart, pageSizeOf, reservedPages } from './kv-parts.js';
import type { RepeatedAttention } from './kv-repeated.js';
import { turnedKeys } from './kv-rotary.js';
import { appendRows, checkRoom, readCounts, readRows } from './kv-rows.js';
import { checkKept, KvRun } from './kv-run.js';
import type { CacheAttentionOptions } from './kv-told.js';
import { type PageHold, releaseAll } from './page-counts.js';

/** Options of append(). */
export interface AppendOptions {
  /** Tokens of each sequence that are appended, the first ones of its rows; default: all. */
  lengths?: IntegerList;
}

const appendNames: ReadonlySet<string> = new Set(['lengths']);

/** Gives back the pages of caches that were collected without dispose(), which forks may share. */
const collected = new FinalizationRegistry<readonly PageHold[]>((holds) => {
  for (const hold of holds) releaseAll(hold);
});

export class KvCache {
  #settings: CacheSettings;
  /** Made by the first append(), when the batch and the type are known. */
  #parts: readonly KvPart[] | undefined;
  #isDisposed = false;
  /** The last call of each stored layer. */
  #repeated: (RepeatedAttention | undefined)[] = [];

  /**
   * An empty cache.
   * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION,
   *   ERR_TILEWISE_NO_DEVICE
   */
  constructor(options: KvCacheOptions) {
    this.#settings = readCacheOptions(options);
    const { batch, type } = this.#settings;
    if (batch !== undefined && type !== undefined) this.#settle(batch, type);
  }

  /** Tokens that every layer has seen, of the longest sequence. */
  get length(): number {
    return Math.max(0, ...(this.#runs?.map((run) => run.length) ?? []));
  }

  /** Tokens that one layer has seen of one sequence of the batch. */
  lengthOf(layer: number, entry = 0): number {
    const stored = this.#stored(layer);
    const runs = this.#runs;
    checkInteger('entry', entry, 0, (runs?.length ?? this.#settings.batch ?? 1) - 1);
    return runs?.[entry].textOf(stored) ?? 0;
  }

  /** Bytes of the pages that the cache refers to; those it shares with forks count in each. */
  get bytes(): number {
    const bytesOf = ({ pool, runs }: KvPart) => runs.reduce((pages, run) => pages + run.held, 0) * pool.pageBytes;
    return (this.#parts ?? []).reduce((bytes, part) => bytes + bytesOf(part), 0);
  }

  /** The sequences, as one part has them: all parts have the same tokens. */
  get #runs(): readonly KvRun[] | undefined {
    return this.#parts?.[0].runs;
  }

  /**
   * Adds the keys and values of the next tokens of one layer. Copies them. When it throws, nothing has changed.
   * @param k [batch, tokens, kvHeads, headDim], or as `layout` says, or [batch, tokens, kvHeads * headDim]; any strides, any
   *   float type
   * @param v [batch, tokens, kvHeads, valueDim]
   * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_SHAPE_MISMATCH, ERR_TILEWISE_DTYPE,
   *   ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_OUT_OF_MEMORY, ERR_TILEWISE_DISPOSED;
   *   ERR_TILEWISE_OVERLAP while a call still reads the layer
   */
  append(layer: number, k: TensorLike, v: TensorLike, options: AppendOptions = {}): void {
    this.#refuseDisposed();
    checkNames('KvCache.append()', options, appendNames);
    const stored = this.#ownStored(layer);
    const { kvHeads, headDim, valueDim, layout, batch, type } = this.#settings;
    const isHeadsFirst = layout === 'bhnd';
    const rows = readRows(k, v, { kvHeads, headDim, valueDim, isHeadsFirst, isOneSequence: false });
    const parts = this.#parts ?? this.#settle(batch ?? rows.batch, type ?? (rows.k.type as FloatType));
    const [{ runs }] = parts;
    if (rows.batch !== runs.length) throw mismatch(`\`k\` must have a batch of ${runs.length}, not ${rows.batch}`);
    const counts = readCounts(options.lengths, rows.batch, rows.tokens);
    for (const [entry, run] of runs.entries()) {
      run.refuseReaders('append()', stored);
      checkRoom(run.lengthOf(stored), counts[entry], this.#settings);
    }
    appendRows(parts, stored, turnedKeys(rows, runs, stored, this.#settings), isHeadsFirst, counts);
  }

  /**
   * Attention of the last tokens that were appended over all of the layer's tokens: causal unless `causal` is false. Where
   * sequences got fewer tokens than others, only the last rows are theirs.
   * @param q [batch, queries, heads, headDim], or as `layout` says; the type of the cache, or float32
   * @param options as in attention(): `bias`, `mask` and `keyMask` are of all tokens of the longest sequence, those that were
   *   let go of included
   * @returns as attention(), and rejects as it does; append() to this layer has to wait for it
   */
  attention<const Q extends TensorLike, T = Tensor>(
    layer: number,
    q: Q,
    options: CacheAttentionOptions<T> & { returnLse: true },
  ): Promise<Required<ResultOf<Q, T>>>;
  attention<const Q extends TensorLike, T = Tensor>(
    layer: number,
    q: Q,
    options?: CacheAttentionOptions<T>,
  ): Promise<ResultOf<Q, T>>;
  async attention(layer: number, q: TensorLike, options: CacheAttentionOptions<unknown> = {}): Promise<unknown> {
    const reading = { parts: this.#filled(), layer: this.#stored(layer), repeated: this.#repeated };
    return attendTo('KvCache.attention()', reading, q, options, this.#settings);
  }

  /**
   * attention() on the calling thread.
   * @throws {TypeError | RangeError | TilewiseError} what attention() rejects with
   */
  attentionSync<const Q extends TensorLike, T = Tensor>(
    layer: number,
    q: Q,
    options: CacheAttentionOptions<T> & { returnLse: true },
  ): Required<ResultOf<Q, T>>;
  attentionSync<const Q extends TensorLike, T = Tensor>(
    layer: number,
    q: Q,
    options?: CacheAttentionOptions<T>,
  ): ResultOf<Q, T>;
  attentionSync(layer: number, q: TensorLike, options: CacheAttentionOptions<unknown> = {}): unknown {
    const reading = { parts: this.#filled(), layer: this.#stored(layer), repeated: this.#repeated };
    return attendToSync('KvCache.attentionSync()', reading, q, options, this.#settings);
  }

  /**
   * What append() and attentionSync() of a layer have just done with one token of each sequence, to be done again by step().
   * @param memory of which queries, keys, values and `out` are views
   * @returns undefined where it is another call each time: on a device, in parts, with rotary embedding, a bias or a mask
   * @internal
   */
  repeatedStep(
    layer: number,
    [q, k, v]: readonly [q: TensorLike, k: TensorLike, v: TensorLike],
    options: CacheAttentionOptions<unknown>,
    memory: CallMemory,
  ): RepeatedStep | undefined {
    const { kvHeads, headDim, valueDim, layout } = this.#settings;
    const part = this.#plainPart;
    if (!part) return undefined;
    const stored = this.#ownStored(layer);
    const rows = readRows(k, v, { kvHeads, headDim, valueDim, isHeadsFirst: layout === 'bhnd', isOneSequence: false });
    const reading = { parts: [part], layer: stored };
    return RepeatedStep.of(
      part,
      stored,
      rows,
      callOf('KvCache.attentionSync()', reading, q, options, this.#settings),
      memory,
    );
  }

  /**
   * append() and attentionSync() as in the step; false, and nothing done, where they would be other ones.
   * @internal
   */
  step(layer: number, step: RepeatedStep, memory: CallMemory): boolean {
    const part = this.#plainPart;
    return part !== undefined && step.run(part, this.#ownStored(layer), memory, this.#settings.maxTokens);
  }

  /** The only part, if rows go onto its pages as they come, and all of them stay. */
  get #plainPart(): KvPart | undefined {
    const { rotary, isReadOnly, device } = this.#settings;
    const [part, other] = this.#parts ?? [];
    const isPlain = part && !other && !part.horizon && !part.pool.summaries;
    return isPlain && !rotary && !isReadOnly && device === cpu ? part : undefined;
  }

  /**
   * Forgets all tokens from `length` on, in every layer: a draft that was refused, an earlier turn.
   * @param length of every sequence, or of each one
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION, also where later queries would see tokens that
   *   `recentTokens` has let go of; ERR_TILEWISE_SHAPE_MISMATCH for another number of lengths than sequences;
   *   ERR_TILEWISE_OVERLAP while a call still reads the cache
   */
  truncate(length: number | IntegerList): void {
    const runs = this.#changing('truncate()');
    const entries = this.#runs?.length ?? 0;
    const lengths = typeof length === 'number' ? undefined : readIntegerList('length', length);
    if (lengths && entries > 0 && lengths.length !== entries) {
      throw mismatch(`\`length\` must have ${entries} entries, one per sequence, not ${lengths.length}`);
    }
    // Runs of one part follow each other, and those of the next part are of the same sequences.
    const ofEntry = (entry: number) => runs.filter((_, i) => i % entries === entry);
    if (!lengths) checkKept('length', length as number, runs);
    for (const [entry, kept] of lengths?.entries() ?? []) checkKept(`length[${entry}]`, kept, ofEntry(entry));
    for (const [i, run] of runs.entries()) run.truncate(lengths?.[i % entries] ?? (length as number));
  }

  /** A cache of the same tokens. Pages are shared; whichever writes to one first gets a copy of it. */
  fork(): KvCache {
    this.#refuseDisposed();
    const cache = new KvCache({ kvHeads: 1, headDim: 1 });
    cache.#settings = this.#settings;
    if (this.#parts) cache.#keep(this.#parts.map((part) => ({ ...part, runs: part.runs.map((run) => run.fork()) })));
    return cache;
  }

  /**
   * The keys of a layer as a tensor of their own, [batch, tokens, kvHeads, headDim] or as `layout` says; sequences shorter
   * than the longest end in zeros.
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION; ERR_TILEWISE_SHAPE_MISMATCH where `recentTokens` has let
   *   go of some
   */
  keys(layer: number): Tensor<FloatType> {
    const stored = this.#stored(layer);
    return denseRows(this.#filled(), stored, (pool) => pool.keysOf(stored), this.#settings.layout === 'bhnd');
  }

  /** The values of a layer, [batch, tokens, kvHeads, valueDim]; as keys(). */
  values(layer: number): Tensor<FloatType> {
    const stored = this.#stored(layer);
    return denseRows(this.#filled(), stored, (pool) => pool.valuesOf(stored), this.#settings.layout === 'bhnd');
  }

  /**
   * The keys of a layer where they are, for attentionStats() and selectors. A view of what the cache has now.
   * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_INVALID_OPTION; ERR_TILEWISE_SHAPE_MISMATCH with `recentTokens`
   */
  keyPages(layer: number): KeyPages {
    return keyPagesOf(this.#filled(), this.#stored(layer));
  }

  /**
   * Keeps the tokens of a layer that snapKV() or others have listed, and lets go of its others. They keep their positions, and tokens to come
   * count on: `length` stays. Pages are free once all layers need fewer.
   * @param lists tokens among those that the layer has, ascending, for each sequence and KV head; of a sequence as many for each head
   * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_SHAPE_MISMATCH;
   *   ERR_TILEWISE_OVERLAP while a call still reads the cache
   */
  compact(layer: number, lists: readonly (readonly IntegerList[])[]): void {
    this.#changing('compact()');
    compactLayer(this.#filled(), this.#ownStored(layer), lists);
  }

  /** Forgets all tokens; the sizes stay. */
  reset(): void {
    for (const run of this.#changing('reset()')) run.free();
  }

  /** Lets go of all pages. The cache cannot be used any more. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.reset();
    this.#isDisposed = true;
    collected.unregister(this);
    for (const { pool } of this.#parts ?? []) if (pool.counts.taken === 0) pool.dispose();
    this.#parts = undefined;
    this.#repeated = [];
  }

  /** dispose(), for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Makes the pages. */
  #settle(batch: number, type: FloatType): readonly KvPart[] {
    const { headDim, valueDim, device, owners, capacity, hasSummaries } = this.#settings;
    const parts = this.#settings.parts.map(({ heads, horizon }): KvPart => {
      const kvHeads = heads.end - heads.begin;
      const pageSize = this.#settings.pageSize ?? pageSizeOf(horizon);
      const sizes = { layers: owners.length, kvHeads, headDim, valueDim, pageSize, type, device, hasSummaries };
      const pool = new KvPages(sizes);
      const pages = batch * reservedPages(capacity, horizon, pageSize);
      for (let layer = 0; layer < owners.length && pages > 0; ++layer) pool.reserve(layer, pages);
      return { heads, horizon, pool, runs: Array.from({ length: batch }, () => new KvRun(pool, horizon)) };
    });
    return this.#keep(parts);
  }

  #keep(parts: readonly KvPart[]): readonly KvPart[] {
    const holds = parts.flatMap(({ runs }) => runs.map(({ hold }) => hold));
    collected.register(this, holds, this);
    this.#parts = parts;
    return parts;
  }

  /** Place of a layer's keys and values among those that are stored. */
  #stored(layer: number): number {
    const { storedOf } = this.#settings;
    return storedOf[checkInteger('layer', layer, 0, storedOf.length - 1)];
  }

  /** The same of a layer that has keys and values of its own. */
  #ownStored(layer: number): number {
    const stored = this.#stored(layer);
    const owner = this.#settings.owners[stored];
    if (owner === layer) return stored;
    throw new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `Layer ${layer} reads the keys and values of layer ${owner}, as \`layerMap\` says: append() them there`,
    );
  }

  #filled(): readonly KvPart[] {
    this.#refuseDisposed();
    if (this.#parts) return this.#parts;
    throw mismatch('The cache is empty: append() keys and values first');
  }

  /** The runs of all parts, where no call reads them. */
  #changing(what: string): readonly KvRun[] {
    this.#refuseDisposed();
    const runs = this.#parts?.flatMap((part) => part.runs) ?? [];
    for (const run of runs) run.refuseReaders(what);
    return runs;
  }

  #refuseDisposed(): void {
    if (this.#isDisposed) throw new TilewiseError('ERR_TILEWISE_DISPOSED', 'The cache was disposed of');
  }
}
