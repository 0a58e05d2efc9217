// KvPool: keys and values of many sequences on the pages of one pool, as servers keep them while they generate.
// Reader: someone who serves text to many. One call attends for all sequences of a step, prompts beside single tokens. Idea:
// PagedAttention (arXiv 2309.06180).

/// <reference lib="esnext.disposable" preserve="true" />

import { mismatch } from '../call/shape.js';
import { TilewiseError } from '../check/errors.js';
import { checkInteger, invalid, maxTokens } from '../check/validate.js';
import { takeIntegers } from '../native/slabs.js';
import type { ResultOf } from '../ops/attention/attention.js';
import type { Layout } from '../ops/attention/options.js';
import { HipState } from '../selectors/hip-state.js';
import type { KeyPages } from '../stores/key-pages.js';
import { type IntegerList, readIntegerList } from '../tensor/integers.js';
import type { Tensor } from '../tensor/tensor.js';
import type { TensorLike } from '../tensor/types.js';
import { keyPagesOf } from './key-pages.js';
import { RepeatedAppend } from './kv-append.js';
import { attendTo, attendToSync } from './kv-attention.js';
import { type KvPoolOptions, readPoolOptions } from './kv-options.js';
import { KvPages } from './kv-pages.js';
import type { KvPart } from './kv-parts.js';
import type { CallSettings, Reading, RepeatedAttention } from './kv-repeated.js';
import { type RotarySettings, turnedKeys } from './kv-rotary.js';
import { appendRows, readRows } from './kv-rows.js';
import { KvRun } from './kv-run.js';
import type { PackedAttentionOptions } from './kv-told.js';
import { releaseAll } from './page-counts.js';

/** Options of KvPool.attention(): those of KvCache.attention() but `bias` and `mask`, and what is each sequence's own. */
export interface PoolAttentionOptions<T = Tensor> extends PackedAttentionOptions<T> {
  /** Queries of each sequence, in order; default: one each. */
  queryLengths?: IntegerList;
  /** With `pattern: hierarchical()`: lists kept from step to step, as in hipAttention(); one per sequence, and per layer. */
  states?: readonly HipState[];
}

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
  readonly pages: KvPages;
  readonly layout: Layout;
  readonly rotary: RotarySettings | undefined;
  /** The sequences that are there, as far as somebody still has them. */
  readonly sequences: Set<WeakRef<KvSequence>>;
  /** The last call of each layer, and the last append to it. */
  readonly repeated: (RepeatedAttention | undefined)[];
  readonly appended: (RepeatedAppend | undefined)[];
}

/** All heads of a pool are alike. */
const partOf = (pool: KvPages, runs: readonly KvRun[]): KvPart => ({
  heads: { begin: 0, end: pool.sizes.kvHeads },
  horizon: undefined,
  pool,
  runs,
});

/** Gives back the pages of sequences that were collected without free(). */
const collected = new FinalizationRegistry<() => void>((free) => free());

function checkStates(states: readonly HipState[] | undefined, sequences: number): void {
  if (states === undefined) return;
  const isRight =
    Array.isArray(states) && states.length === sequences && states.every((state) => state instanceof HipState);
  if (isRight && new Set(states).size === sequences) return;
  throw invalid('states', `an array of ${sequences} HipStates, each sequence its own`, states);
}

function readQueryLengths(queryLengths: IntegerList | undefined, sequences: number): Int32Array {
  if (queryLengths === undefined) return takeIntegers(sequences).fill(1);
  const lengths = readIntegerList('queryLengths', queryLengths);
  if (lengths.length !== sequences) {
    throw mismatch(`\`queryLengths\` must have ${sequences} entries, one per sequence, not ${lengths.length}`);
  }
  for (const [i, length] of lengths.entries()) checkInteger(`queryLengths[${i}]`, length, 0, maxTokens);
  return lengths;
}

/** A sequence of a pool; made by sequence() and fork(). */
export class KvSequence {
  readonly #inside: Inside;
  readonly #run: KvRun;
  readonly #self = new WeakRef(this);
  #isFree = false;

  /** @internal */
  constructor(inside: Inside, run: KvRun) {
    this.#inside = inside;
    this.#run = run;
    // What is registered keeps neither the sequence nor the pool.
    const { sequences } = inside;
    const { hold } = run;
    const self = this.#self;
    sequences.add(self);
    collected.register(
      this,
      () => {
        sequences.delete(self);
        releaseAll(hold);
      },
      this,
    );
  }

  /** Tokens that every layer has. */
  get length(): number {
    return this.#run.length;
  }

  /** Tokens that a layer has. */
  lengthOf(layer: number): number {
    return this.#run.lengthOf(checkInteger('layer', layer, 0, this.#inside.pages.sizes.layers - 1));
  }

  /** Pages that it refers to, shared ones included. */
  get pages(): number {
    return this.#run.held;
  }

  /**
   * Adds the keys and values of the next tokens of one layer. Copies them. When it throws, nothing has changed.
   * @param k [tokens, kvHeads, headDim], or as `layout` says, or with a batch axis of 1, or [tokens, kvHeads * headDim]; any
   *   strides, any float type
   * @param v [tokens, kvHeads, valueDim]
   * @throws {TypeError | RangeError | TilewiseError} as KvCache.append(); ERR_TILEWISE_OUT_OF_PAGES, with `held`
   */
  append(layer: number, k: TensorLike, v: TensorLike): void {
    const run = this.#used();
    const { pages, layout, appended } = this.#inside;
    checkInteger('layer', layer, 0, pages.sizes.layers - 1);
    const isHeadsFirst = layout === 'bhnd';
    const rows = readRows(k, v, { ...pages.sizes, isHeadsFirst, isOneSequence: true });
    run.refuseReaders('append()', layer);
    const parts = [partOf(pages, [run])];
    const turned = turnedKeys(rows, [run], layer, this.#inside);
    if (appended[layer]?.run(parts, layer, turned)) return;
    this.#refuseShortage(run.pagesFor(layer, rows.tokens));
    appendRows(parts, layer, turned, isHeadsFirst, [rows.tokens]);
    appended[layer] = RepeatedAppend.of(parts, layer, turned, isHeadsFirst);
  }

  #refuseShortage(needed: number): void {
    const { pages, sequences } = this.#inside;
    if (needed <= pages.left) return;
    const held = [...sequences].flatMap((reference) => {
      const sequence = reference.deref();
      return sequence && sequence.pages > 0 ? [{ sequence, pages: sequence.pages }] : [];
    });
    throw new OutOfPagesError(
      `append() needs ${needed} pages, the pool has ${pages.left} left of ${pages.sizes.mostPages}; \`held\` of this error says ` +
        'which sequences have the others',
      held,
    );
  }

  /** A sequence of the same tokens. Pages are shared; whichever writes to one first gets a copy of it. */
  fork(): KvSequence {
    return new KvSequence(this.#inside, this.#used().fork());
  }

  /**
   * Keeps the first `length` tokens of every layer.
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION; ERR_TILEWISE_OVERLAP while a call still reads it
   */
  truncate(length: number): void {
    const run = this.#used();
    run.refuseReaders('truncate()');
    run.truncate(checkInteger('length', length, 0, run.longest));
  }

  /**
   * Gives its pages back to the pool. It cannot be used any more.
   * @throws {RangeError} ERR_TILEWISE_OVERLAP while a call still reads it
   */
  free(): void {
    if (this.#isFree) return;
    this.#run.refuseReaders('free()');
    this.#isFree = true;
    collected.unregister(this);
    this.#inside.sequences.delete(this.#self);
    this.#run.free();
  }

  /** free(), for `using`. */
  [Symbol.dispose](): void {
    this.free();
  }

  /**
   * Its tokens, for the pool that it is of.
   * @internal
   */
  runOf(inside: Inside): KvRun {
    if (inside === this.#inside) return this.#used();
    throw mismatch('The sequence belongs to another pool');
  }

  #used(): KvRun {
    if (this.#isFree) throw new TilewiseError('ERR_TILEWISE_DISPOSED', 'The sequence was freed');
    return this.#run;
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
    const { pages: mostPages, layout, rotary, ...sizes } = readPoolOptions(options);
    const pages = new KvPages({ ...sizes, mostPages });
    for (let layer = 0; layer < sizes.layers; ++layer) pages.reserve(layer, mostPages);
    this.#inside = { pages, layout, rotary, sequences: new Set(), repeated: [], appended: [] };
  }

  /** Pages in all. */
  get pages(): number {
    const { pages } = this.#inside;
    return pages.counts.taken + pages.left;
  }

  /** Pages that no sequence refers to. */
  get freePages(): number {
    return this.#inside.pages.left;
  }

  /** Bytes of all pages. */
  get bytes(): number {
    return this.pages * this.#inside.pages.pageBytes;
  }

  /** A new sequence, without tokens. */
  sequence(): KvSequence {
    return new KvSequence(this.#inside, new KvRun(this.#inside.pages, undefined));
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
    return keyPagesOf(this.#reading(layer, sequences).parts, layer);
  }

  #reading(layer: number, sequences: readonly KvSequence[]): Reading {
    const { pages, repeated } = this.#inside;
    checkInteger('layer', layer, 0, pages.sizes.layers - 1);
    if (!Array.isArray(sequences) || !sequences.every((item) => item instanceof KvSequence)) {
      throw invalid('sequences', 'an array of sequences of this pool', sequences);
    }
    const runs = sequences.map((sequence) => sequence.runOf(this.#inside));
    return { parts: [partOf(pages, runs)], layer, repeated };
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
