// KvCache: the keys and values of a model while it generates, which attention reads where they lie.
// Reader: someone who generates text. Pages of 256 tokens, heads first: growing copies nothing, a fork shares all pages
// until it writes. Idea of the pages: PagedAttention (arXiv 2309.06180).

/// <reference lib="esnext.disposable" preserve="true" />

import { mismatch } from '../call/shape.js';
import { TilewiseError } from '../check/errors.js';
import { checkInteger, checkNames } from '../check/validate.js';
import type { CallMemory } from '../ops/attention/again.js';
import type { ResultOf } from '../ops/attention/attention.js';
import type { CodedKind } from '../ops/encode.js';
import type { KeyPages } from '../stores/key-pages.js';
import type { IntegerList } from '../tensor/integers.js';
import type { Tensor } from '../tensor/tensor.js';
import type { FloatType, TensorLike } from '../tensor/types.js';
import type { KvBits } from './coded-tokens.js';
import { keyPagesOf } from './key-pages.js';
import { RepeatedStep } from './kv-again.js';
import { RepeatedAppend } from './kv-append.js';
import { attendTo, attendToSync, callOf } from './kv-attention.js';
import { compactLayer } from './kv-compact.js';
import { rowsOf } from './kv-dense.js';
import { errorsOf, type KvLayerError } from './kv-error.js';
import {
  bytesOf,
  forkParts,
  keepUntilCollected,
  lengthsOf,
  makeParts,
  noLongerKept,
  ownPlace,
  plainPart,
  storedPlace,
  truncateParts,
} from './kv-layers.js';
import { type CacheSettings, type KvCacheOptions, readCacheOptions } from './kv-options.js';
import { type KvPart, layerOf } from './kv-parts.js';
import type { Reading, RepeatedAttention } from './kv-repeated.js';
import { turnedKeys } from './kv-rotary.js';
import { type AppendOptions, appendNames, appendToLayer, checkRoom, readCounts, readRows } from './kv-rows.js';
import type { CacheAttentionOptions } from './kv-told.js';

export class KvCache {
  #settings: CacheSettings;
  /** Made by the first append(), when the batch and the type are known. */
  #parts: readonly KvPart[] | undefined;
  #isDisposed = false;
  /** A cache of the same tokens as they came, to compare with. */
  #shadow: KvCache | undefined;
  /** The last call of each stored layer, and the last append to it. */
  #repeated: (RepeatedAttention | undefined)[] = [];
  #appended: (RepeatedAppend | undefined)[] = [];

  /**
   * An empty cache.
   * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION,
   *   ERR_TILEWISE_NO_DEVICE
   */
  constructor(options: KvCacheOptions) {
    this.#settings = readCacheOptions(options);
    const { batch, type, shadow } = this.#settings;
    this.#shadow = shadow && new KvCache(shadow);
    if (batch !== undefined && type !== undefined) this.#settle(batch, type);
  }

  /** Tokens that every layer has seen, of the longest sequence. */
  get length(): number {
    return this.#parts ? Math.max(0, ...lengthsOf(this.#parts)) : 0;
  }

  /** Tokens that one layer has seen of one sequence of the batch. */
  lengthOf(layer: number, entry = 0): number {
    const stored = storedPlace(this.#settings, layer);
    const of = this.#parts && layerOf(this.#parts, stored);
    checkInteger('entry', entry, 0, (of?.parts[0].runs.length ?? this.#settings.batch ?? 1) - 1);
    return of?.parts[0].runs[entry].textOf(of.layer) ?? 0;
  }

  /** Bytes of the pages and codes that the cache refers to; those it shares with forks count in each. */
  get bytes(): number {
    return this.#parts ? bytesOf(this.#parts) : 0;
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
    const stored = ownPlace(this.#settings, layer);
    const { kvHeads, headDim, valueDim, layout, batch, type } = this.#settings;
    const isHeadsFirst = layout === 'bhnd';
    const rows = readRows(k, v, { kvHeads, headDim, valueDim, isHeadsFirst, isOneSequence: false });
    const parts = this.#parts ?? this.#settle(batch ?? rows.batch, type ?? (rows.k.type as FloatType));
    const { parts: ofLayer, layer: place } = layerOf(parts, stored);
    const [{ runs }] = ofLayer;
    if (rows.batch !== runs.length) throw mismatch(`\`k\` must have a batch of ${runs.length}, not ${rows.batch}`);
    const counts = readCounts(options.lengths, rows.batch, rows.tokens);
    for (const [entry, run] of runs.entries()) {
      run.refuseReaders('append()', place);
      checkRoom(run.lengthOf(place), counts[entry], this.#settings);
    }
    const turned = turnedKeys(rows, runs, place, this.#settings);
    if (options.lengths !== undefined || !this.#appended[stored]?.run(ofLayer, place, turned)) {
      appendToLayer(ofLayer, place, turned, isHeadsFirst, counts);
      this.#appended[stored] = RepeatedAppend.of(ofLayer, place, turned, isHeadsFirst);
    }
    this.#shadow?.append(layer, turned.k, turned.v, options);
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
    const reading = this.#reading(layer);
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
    const reading = this.#reading(layer);
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
    const part = plainPart(this.#parts, this.#settings);
    if (!part) return undefined;
    const stored = ownPlace(this.#settings, layer);
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
    const part = plainPart(this.#parts, this.#settings);
    return part !== undefined && step.run(part, ownPlace(this.#settings, layer), memory, this.#settings.maxTokens);
  }

  /**
   * Forgets all tokens from `length` on, in every layer: a draft that was refused, an earlier turn.
   * @param length of every sequence, or of each one
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION, also where later queries would see tokens that
   *   `recentTokens` has let go of; ERR_TILEWISE_SHAPE_MISMATCH for another number of lengths than sequences;
   *   ERR_TILEWISE_OVERLAP while a call still reads the cache
   */
  truncate(length: number | IntegerList): void {
    truncateParts(this.#changing('truncate()'), length);
    this.#shadow?.truncate(length);
  }

  /** A cache of the same tokens. Pages are shared; whichever writes to one first gets a copy of it. */
  fork(): KvCache {
    this.#refuseDisposed();
    const cache = new KvCache({ kvHeads: 1, headDim: 1 });
    cache.#settings = this.#settings;
    if (this.#parts) cache.#keep(forkParts(this.#parts));
    cache.#shadow = this.#shadow?.fork();
    return cache;
  }

  /**
   * The keys of a layer as a tensor of their own, [batch, tokens, kvHeads, headDim] or as `layout` says; sequences shorter
   * than the longest end in zeros.
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION; ERR_TILEWISE_SHAPE_MISMATCH where `recentTokens` has let
   *   go of some
   */
  keys(layer: number): Tensor<FloatType> {
    return this.#rows(layer, 'keys');
  }

  /** The values of a layer, [batch, tokens, kvHeads, valueDim]; as keys(). */
  values(layer: number): Tensor<FloatType> {
    return this.#rows(layer, 'values');
  }

  #rows(layer: number, kind: CodedKind): Tensor<FloatType> {
    const { parts, layer: place } = layerOf(this.#filled(), storedPlace(this.#settings, layer));
    return rowsOf(parts, place, kind, this.#settings.layout === 'bhnd');
  }

  /**
   * How far keys and values are from those that were appended, for each layer; keys as `rotary` has turned them.
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION without `shadow`; ERR_TILEWISE_SHAPE_MISMATCH for an empty cache
   */
  error(): KvLayerError[] {
    this.#filled();
    return errorsOf(this, this.#shadow, this.#settings.storedOf.length);
  }

  /** How many bits the tokens of a layer have in one sequence, in runs from the oldest on; empty without `format`. */
  bits(layer: number, entry = 0): KvBits[] {
    const length = this.lengthOf(layer, entry);
    return (
      (this.#parts && layerOf(this.#parts, storedPlace(this.#settings, layer)).parts[0].codes)?.bitsOf(entry, length) ??
      []
    );
  }

  /**
   * The keys of a layer where they are, for attentionStats() and selectors. A view of what the cache has now.
   * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_INVALID_OPTION; ERR_TILEWISE_SHAPE_MISMATCH with `recentTokens`
   */
  keyPages(layer: number): KeyPages {
    const { parts, layer: place } = layerOf(this.#filled(), storedPlace(this.#settings, layer));
    return keyPagesOf(parts, place);
  }

  /**
   * Keeps the tokens of a layer that snapKV() or others have listed, and lets go of its others. They keep their positions, and tokens to come
   * count on: `length` stays. Pages are free once all layers need fewer.
   * @param lists tokens among those that the layer has, ascending, for each sequence and KV head; of a sequence as many for each head.
   *   After an earlier compact() they count among the rows that it kept: 0 is the first of keys(layer)
   * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_SHAPE_MISMATCH;
   *   ERR_TILEWISE_OVERLAP while a call still reads the cache
   */
  compact(layer: number, lists: readonly (readonly IntegerList[])[]): void {
    this.#changing('compact()');
    const { parts, layer: place } = layerOf(this.#filled(), ownPlace(this.#settings, layer));
    compactLayer(parts, place, lists);
  }

  /**
   * Forgets all tokens; the sizes stay.
   * @throws {RangeError | TilewiseError} ERR_TILEWISE_OVERLAP while a call still reads the cache; ERR_TILEWISE_DISPOSED
   */
  reset(): void {
    this.#forget('reset()');
  }

  #forget(what: string): void {
    for (const { runs, codes } of this.#changing(what)) {
      for (const run of runs) run.free();
      codes?.free();
    }
    this.#shadow?.reset();
  }

  /**
   * Lets go of all pages. The cache cannot be used any more.
   * @throws {RangeError} ERR_TILEWISE_OVERLAP while a call still reads it
   */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#forget('dispose()');
    this.#isDisposed = true;
    noLongerKept(this);
    for (const { pool } of this.#parts ?? []) if (pool.counts.taken === 0) pool.dispose();
    this.#parts = undefined;
    this.#repeated = [];
    this.#appended = [];
    this.#shadow?.dispose();
  }

  /** dispose(), for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Makes the pages. */
  #settle(batch: number, type: FloatType): readonly KvPart[] {
    return this.#keep(makeParts(this.#settings, batch, type));
  }

  #keep(parts: readonly KvPart[]): readonly KvPart[] {
    keepUntilCollected(this, parts);
    this.#parts = parts;
    return parts;
  }

  #filled(): readonly KvPart[] {
    this.#refuseDisposed();
    if (this.#parts) return this.#parts;
    throw mismatch('The cache is empty: append() keys and values first');
  }

  /** What attention to a layer reads. */
  #reading(layer: number): Reading {
    const { parts, layer: place } = layerOf(this.#filled(), storedPlace(this.#settings, layer));
    return { parts, layer: place, repeated: this.#repeated }; // spreading takes longer than all else of a call's preparation
  }

  /** All parts, where no call reads them. */
  #changing(what: string): readonly KvPart[] {
    this.#refuseDisposed();
    const parts = this.#parts ?? [];
    for (const { runs } of parts) for (const run of runs) run.refuseReaders(what);
    return parts;
  }

  #refuseDisposed(): void {
    if (this.#isDisposed) throw new TilewiseError('ERR_TILEWISE_DISPOSED', 'The cache was disposed of');
  }
}
