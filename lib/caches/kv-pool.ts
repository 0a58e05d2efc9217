// KvPool: keys and values of many sequences on the pages of one pool, as servers keep them while they generate.
// Reader: someone who serves text to many. One call attends for all sequences of a step, prompts beside single tokens. Idea:
// PagedAttention (arXiv 2309.06180).

/// <reference lib="esnext.disposable" preserve="true" />

import { mismatch } from '../call/shape.js';
import { TilewiseError } from '../check/errors.js';
import { checkInteger, invalid, readEach } from '../check/validate.js';
import type { ResultOf } from '../ops/attention/attention.js';
import type { Layout } from '../ops/attention/options.js';
import type { KeyPages } from '../stores/key-pages.js';
import type { Tensor } from '../tensor/tensor.js';
import type { TensorLike } from '../tensor/types.js';
import type { KvBits } from './coded-tokens.js';
import { keyPagesOf } from './key-pages.js';
import { RepeatedAppend } from './kv-append.js';
import { attendTo, attendToSync } from './kv-attention.js';
import { forkParts, holdsOf, lengthsOf, truncateParts } from './kv-layers.js';
import { type KvPoolOptions, readPoolOptions } from './kv-options.js';
import { layerOf } from './kv-parts.js';
import type { CallSettings, Reading, RepeatedAttention } from './kv-repeated.js';
import { type RotarySettings, turnedKeys } from './kv-rotary.js';
import { appendToLayer, readRows } from './kv-rows.js';
import { checkStates, type PackedAttentionOptions, type PoolAttentionOptions, readQueryLengths } from './kv-told.js';
import { releaseAll } from './page-counts.js';
import { CodedPages, ExactPages, type PoolPages, type SequenceParts } from './pool-pages.js';

/** Pages that a sequence holds. */
export interface HeldPages {
  readonly sequence: KvSequence;
  readonly pages: number;
}

/** A pool that has no page left, with what its sequences hold: somebody has to go. */
export class OutOfPagesError extends TilewiseError {
  override name = 'OutOfPagesError';
  /** All sequences that hold pages. */
  readonly held: readonly HeldPages[];

  constructor(message: string, held: readonly HeldPages[]) {
    super('ERR_TILEWISE_OUT_OF_PAGES', message);
    this.held = held;
  }
}

/** What a pool and its sequences share. */
interface Inside {
  readonly pages: PoolPages;
  readonly layout: Layout;
  readonly rotary: RotarySettings | undefined;
  /** The sequences that are there, as far as somebody still has them. */
  readonly sequences: Set<WeakRef<KvSequence>>;
  /** The last call of each layer, and the last append to it. */
  readonly repeated: (RepeatedAttention | undefined)[];
  readonly appended: (RepeatedAppend | undefined)[];
}

/** Gives back the pages of sequences that were collected without free(). */
const collected = new FinalizationRegistry<() => void>((free) => free());

/** A sequence of a pool; made by sequence() and fork(). */
export class KvSequence {
  readonly #inside: Inside;
  readonly #parts: SequenceParts;
  readonly #self = new WeakRef(this);
  #isFree = false;

  /** @internal */
  constructor(inside: Inside, parts: SequenceParts) {
    this.#inside = inside;
    this.#parts = parts;
    // What is registered keeps neither the sequence nor the pool.
    const { sequences } = inside;
    const holds = holdsOf(parts);
    const self = this.#self;
    sequences.add(self);
    collected.register(
      this,
      () => {
        sequences.delete(self);
        for (const hold of holds) releaseAll(hold);
      },
      this,
    );
  }

  /** Tokens that every layer has. */
  get length(): number {
    return lengthsOf(this.#parts)[0];
  }

  /** Tokens that a layer has. */
  lengthOf(layer: number): number {
    const { parts, layer: place } = this.#layer(layer);
    return parts[0].runs[0].lengthOf(place);
  }

  /** How many bits the tokens of a layer have, in runs from the oldest on; empty without `format`. */
  bits(layer: number): KvBits[] {
    const { parts, layer: place } = this.#layer(layer);
    return parts[0].codes?.bitsOf(0, parts[0].runs[0].lengthOf(place)) ?? [];
  }

  #layer(layer: number) {
    return layerOf(this.#parts, checkInteger('layer', layer, 0, this.#inside.pages.sizes.layers - 1));
  }

  /** Pages that it refers to, shared ones included. */
  get pages(): number {
    return this.#inside.pages.heldBy(this.#parts);
  }

  /**
   * Adds the keys and values of the next tokens of one layer. Copies them. When it throws, nothing has changed.
   * @param k [tokens, kvHeads, headDim], or as `layout` says, or with a batch axis of 1, or [tokens, kvHeads * headDim]; any
   *   strides, any float type
   * @param v [tokens, kvHeads, valueDim]
   * @throws {TypeError | RangeError | TilewiseError} as KvCache.append(); ERR_TILEWISE_OUT_OF_PAGES, with `held`
   */
  append(layer: number, k: TensorLike, v: TensorLike): void {
    this.#used();
    const { pages, layout, appended } = this.#inside;
    const { parts, layer: place } = this.#layer(layer);
    const isHeadsFirst = layout === 'bhnd';
    const rows = readRows(k, v, { ...pages.sizes, isHeadsFirst, isOneSequence: true });
    const [{ runs }] = parts;
    runs[0].refuseReaders('append()', place);
    const turned = turnedKeys(rows, runs, place, this.#inside);
    if (appended[layer]?.run(parts, place, turned)) return;
    this.#refuseShortage(layer, rows.tokens);
    appendToLayer(parts, place, turned, isHeadsFirst, [rows.tokens]);
    appended[layer] = RepeatedAppend.of(parts, place, turned, isHeadsFirst);
  }

  #refuseShortage(layer: number, count: number): void {
    const { pages, sequences } = this.#inside;
    const needed = pages.neededFor(this.#parts, layer, count);
    const left = pages.leftOf(layer);
    if (needed <= left) return;
    const held = [...sequences].flatMap((reference) => {
      const sequence = reference.deref();
      return sequence && sequence.pages > 0 ? [{ sequence, pages: sequence.pages }] : [];
    });
    throw new OutOfPagesError(
      `append() needs ${needed} pages, the pool has ${left} left of ${pages.sizes.mostPages}; \`held\` of this error says ` +
        'which sequences have the others',
      held,
    );
  }

  /** A sequence of the same tokens. Pages are shared; whichever writes to one first gets a copy of it. */
  fork(): KvSequence {
    return new KvSequence(this.#inside, forkParts(this.#used()));
  }

  /**
   * Keeps the first `length` tokens of every layer; with `format` as many as KvCache.truncate() can.
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION; ERR_TILEWISE_OVERLAP while a call still reads it
   */
  truncate(length: number): void {
    const parts = this.#used();
    this.#refuseReaders('truncate()');
    truncateParts(parts, checkInteger('length', length, 0, Math.max(...parts.map(({ runs }) => runs[0].longest))));
  }

  /**
   * Gives its pages back to the pool. It cannot be used any more.
   * @throws {RangeError} ERR_TILEWISE_OVERLAP while a call still reads it
   */
  free(): void {
    if (this.#isFree) return;
    this.#refuseReaders('free()');
    this.#isFree = true;
    collected.unregister(this);
    this.#inside.sequences.delete(this.#self);
    for (const { runs, codes } of this.#parts) {
      runs[0].free();
      codes?.free();
    }
  }

  /** free(), for `using`. */
  [Symbol.dispose](): void {
    this.free();
  }

  /**
   * Its tokens, for the pool that it is of.
   * @internal
   */
  partsOf(inside: Inside): SequenceParts {
    if (inside === this.#inside) return this.#used();
    throw mismatch('The sequence belongs to another pool');
  }

  #used(): SequenceParts {
    if (this.#isFree) throw new TilewiseError('ERR_TILEWISE_DISPOSED', 'The sequence was freed');
    return this.#parts;
  }

  #refuseReaders(what: string): void {
    for (const { runs } of this.#parts) runs[0].refuseReaders(what);
  }
}

export class KvPool {
  readonly #inside: Inside;

  /**
   * A pool of free pages.
   * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION,
   *   ERR_TILEWISE_NO_DEVICE, ERR_TILEWISE_OUT_OF_MEMORY
   */
  constructor(options: KvPoolOptions) {
    const { pages: mostPages, layout, rotary, format, ...rest } = readPoolOptions(options);
    const sizes = { ...rest, mostPages };
    const pages = format ? new CodedPages(sizes, format) : new ExactPages(sizes);
    this.#inside = { pages, layout, rotary, sequences: new Set(), repeated: [], appended: [] };
  }

  /** Pages in all. */
  get pages(): number {
    return this.#inside.pages.sizes.mostPages as number;
  }

  /** Pages that no sequence refers to. */
  get freePages(): number {
    return this.#inside.pages.left;
  }

  /** Bytes of all pages; with `format` of those that have been in use. */
  get bytes(): number {
    return this.#inside.pages.bytes;
  }

  /** A new sequence, without tokens. */
  sequence(): KvSequence {
    return new KvSequence(this.#inside, this.#inside.pages.sequence());
  }

  /**
   * Attention of each sequence's last tokens over all of its own, in one call; causal unless `causal` is false.
   * @param q [total, heads, headDim], or as `layout` says: the queries of one sequence after those of the other
   * @param sequences sequences of this pool, in the order of their queries
   * @param options see PoolAttentionOptions; `keyMask` is [sequences, tokens of the longest one], and `scoreFactor` broadcasts to
   *   [heads, total, tokens of the longest one]
   * @returns as attention(), and rejects as it does; append() to these layers has to wait for it
   */
  attention<const Q extends TensorLike, T = Tensor>(
    layer: number,
    q: Q,
    sequences: readonly KvSequence[],
    options: PoolAttentionOptions<T> & { returnLse: true },
  ): Promise<Required<ResultOf<Q, T>>>;
  attention<const Q extends TensorLike, T = Tensor>(
    layer: number,
    q: Q,
    sequences: readonly KvSequence[],
    options?: PoolAttentionOptions<T>,
  ): Promise<ResultOf<Q, T>>;
  async attention(
    layer: number,
    q: TensorLike,
    sequences: readonly KvSequence[],
    options: PoolAttentionOptions<unknown> = {},
  ): Promise<unknown> {
    return attendTo('KvPool.attention()', this.#reading(layer, sequences), q, ...this.#told(sequences, options));
  }

  /**
   * attention() on the calling thread.
   * @throws {TypeError | RangeError | TilewiseError} what attention() rejects with
   */
  attentionSync<const Q extends TensorLike, T = Tensor>(
    layer: number,
    q: Q,
    sequences: readonly KvSequence[],
    options: PoolAttentionOptions<T> & { returnLse: true },
  ): Required<ResultOf<Q, T>>;
  attentionSync<const Q extends TensorLike, T = Tensor>(
    layer: number,
    q: Q,
    sequences: readonly KvSequence[],
    options?: PoolAttentionOptions<T>,
  ): ResultOf<Q, T>;
  attentionSync(
    layer: number,
    q: TensorLike,
    sequences: readonly KvSequence[],
    options: PoolAttentionOptions<unknown> = {},
  ): unknown {
    return attendToSync(
      'KvPool.attentionSync()',
      this.#reading(layer, sequences),
      q,
      ...this.#told(sequences, options),
    );
  }

  /**
   * The keys of a layer of sequences where they are, for attentionStats() and selectors. A view of what they have now.
   * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_SHAPE_MISMATCH
   */
  keyPages(layer: number, sequences: readonly KvSequence[]): KeyPages {
    const { parts, layer: place } = this.#reading(layer, sequences);
    return keyPagesOf(parts, place);
  }

  #reading(layer: number, sequences: readonly KvSequence[]): Reading {
    const { pages, repeated } = this.#inside;
    checkInteger('layer', layer, 0, pages.sizes.layers - 1);
    const wrong = () => invalid('sequences', 'an array of sequences of this pool', sequences);
    if (!Array.isArray(sequences)) throw wrong();
    const parts = readEach(sequences, (sequence) => {
      if (!(sequence instanceof KvSequence)) throw wrong();
      return sequence.partsOf(this.#inside);
    });
    const { part, layer: place } = pages.partOf(layer, parts);
    return { parts: [part], layer: place, repeated };
  }

  /** The options of the call, and what the pool says about it. */
  #told(
    sequences: readonly KvSequence[],
    options: PoolAttentionOptions<unknown>,
  ): [PackedAttentionOptions<unknown>, CallSettings] {
    const { queryLengths, states, ...rest } = options;
    const lengths = readQueryLengths(queryLengths, sequences.length);
    const { layout, rotary, pages } = this.#inside;
    checkStates(states, sequences.length);
    const kvHeads = pages.sizes.kvHeads;
    return [rest, { kvHeads, layout, rotary, isReadOnly: false, queryLengths: lengths, states }];
  }
}
