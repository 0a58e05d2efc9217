// S2Cache: a KV cache that forgets what an S2 pattern no longer looks at.
// Reader: someone who decodes with s2Attention() and wants the memory back. Blocks are on pages of one pool that all heads
// share, a page table per KV head; a page returns to the pool when its block leaves the window and is not kept for good.

import { type MergedHeads, readHeads, unmergeable } from '../call/heads.js';
import { checkSame, mismatch } from '../call/shape.js';
import { showDims, TilewiseRangeError } from '../check/errors.js';
import { checkInteger, checkNames, checkOneOf, invalid, maxTokens, namesOf } from '../check/validate.js';
import { type ResultOf, runAttention, runAttentionSync } from '../ops/attention/attention.js';
import { type Layout, layouts } from '../ops/attention/options.js';
import type { CommonOptions } from '../ops/named.js';
import { axesOf } from '../tensor/axes.js';
import { checkOverlaps } from '../tensor/leases.js';
import type { Tensor } from '../tensor/tensor.js';
import type { FloatType, TensorLike } from '../tensor/types.js';
import { floatTypes, type HostView, readHostTensor, readTensor } from '../tensor/views.js';
import { PagePool } from './page-pool.js';
import { S2Layout } from './s2-layout.js';
import { pageLists } from './s2-pages.js';

export interface S2CacheOptions {
  /** Most queries of one attention() call; default blockSize. The window keeps blocks for that many. */
  maxQueries?: number;
  /** Axes of q, k, v and out, as in attention(). */
  layout?: Layout;
}

/** What attention over a cache can be told, as in attention(); positions and keys are the cache's own. */
export type S2CacheAttentionOptions<T = Tensor> = Pick<
  CommonOptions<T>,
  | 'queryHeads'
  | 'scale'
  | 'similarity'
  | 'temperature'
  | 'softcap'
  | 'activation'
  | 'activationBias'
  | 'sinks'
  | 'gate'
  | 'extraKeys'
  | 'extraValues'
  | 'returnLse'
  | 'out'
  | 'Tensor'
  | 'signal'
  | 'device'
>;

/** What append() can be told. */
export interface S2CacheAppendOptions {
  /** KV heads of k and v when heads and dim are one axis, [batch, tokens, kvHeads * dim], as in attention(). */
  kvHeads?: number;
}

const cacheNames = namesOf<S2CacheOptions>({ maxQueries: 1, layout: 1 });
const appendNames = namesOf<S2CacheAppendOptions>({ kvHeads: 1 });
const attentionNames = namesOf<S2CacheAttentionOptions>({
  queryHeads: 1,
  scale: 1,
  similarity: 1,
  temperature: 1,
  softcap: 1,
  activation: 1,
  activationBias: 1,
  sinks: 1,
  gate: 1,
  extraKeys: 1,
  extraValues: 1,
  returnLse: 1,
  out: 1,
  Tensor: 1,
  signal: 1,
  device: 1,
});

/** What the first append() settles. */
interface Store {
  readonly pool: PagePool;
  /** Per KV head: the page of every block that is held. */
  readonly pagesOf: readonly Map<number, number>[];
}

interface HeadBlock {
  readonly head: number;
  readonly block: number;
}

export class S2Cache {
  readonly #layout: S2Layout;
  readonly #firstHead: number;
  readonly #isHeadsFirst: boolean;
  readonly #axesName: Layout;
  readonly #maxQueries: number;
  /** Query blocks before the last one that the first of `maxQueries` queries may be in. */
  readonly #blocksBack: number;
  #store: Store | undefined;
  #length = 0;
  #readers = 0;

  /**
   * A cache that keeps the blocks which `layout` still needs, and no others.
   * @param layout see s2Layout()
   * @param firstHead the model's number of the first query head of the tensors; default: the layout's own
   * @param options see S2CacheOptions
   * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION
   */
  constructor(layout: S2Layout, firstHead?: number, options: S2CacheOptions = {}) {
    if (!(layout instanceof S2Layout)) throw invalid('layout', 'what s2Layout() returns', layout);
    checkNames('an S2Cache', options, cacheNames);
    const { blockSize, numHeads, numKvHeads } = layout;
    const { maxQueries = blockSize } = options;
    this.#layout = layout;
    this.#firstHead =
      firstHead === undefined ? layout.firstHead : checkInteger('firstHead', firstHead, 0, numHeads - 1);
    if (this.#firstHead % (numHeads / numKvHeads) !== 0) {
      throw new TilewiseRangeError(
        'ERR_TILEWISE_INVALID_OPTION',
        `\`firstHead\` ${this.#firstHead} must be the first of the ${numHeads / numKvHeads} heads that share a KV head`,
      );
    }
    this.#axesName = options.layout === undefined ? 'bnhd' : checkOneOf('layout', options.layout, layouts);
    this.#isHeadsFirst = this.#axesName === 'bhnd';
    this.#maxQueries = checkInteger('maxQueries', maxQueries, 1, maxTokens);
    this.#blocksBack = Math.ceil((this.#maxQueries - 1) / blockSize);
  }

  /** Tokens appended so far, forgotten ones included. */
  get length(): number {
    return this.#length;
  }

  /** Blocks held, over all KV heads of one batch entry. */
  get blocksHeld(): number {
    return this.#store?.pool.taken ?? 0;
  }

  /** Memory of keys and values. */
  get bytes(): number {
    return this.#store?.pool.bytes ?? 0;
  }

  /** Forgets everything, the sizes included. */
  reset(): void {
    this.#refuseReaders('reset()');
    this.#store = undefined;
    this.#length = 0;
  }

  /**
   * Adds the keys and values of the next tokens, any number of them, and lets go of blocks that no query from the last
   * `maxQueries` tokens on will see. Copies what it keeps.
   * @param k [batch, tokens, kvHeads, headDim], or as `layout` says; sizes and type as in the first call
   * @param v [batch, tokens, kvHeads, valueDim]
   * @param options see S2CacheAppendOptions
   * @throws {TypeError | RangeError} ERR_TILEWISE_SHAPE_MISMATCH, ERR_TILEWISE_DTYPE, ERR_TILEWISE_INVALID_TENSOR,
   *   ERR_TILEWISE_OVERLAP while a call still reads the cache
   */
  append(k: TensorLike, v: TensorLike, options: S2CacheAppendOptions = {}): void {
    checkNames('S2Cache.append()', options, appendNames);
    this.#refuseReaders('append()');
    const merged = this.#mergedHeads('kvHeads', options.kvHeads);
    const read = (name: string, value: TensorLike) => {
      const view = readHostTensor(name, value, floatTypes);
      return merged ? (readHeads(name, view, 'kvHeads', merged, false) as HostView) : view;
    };
    const keys = read('k', k);
    const values = read('v', v);
    checkOverlaps(
      [
        { name: 'k', view: keys },
        { name: 'v', view: values },
      ],
      undefined,
    );
    const { pool, pagesOf } = this.#accept(keys, values);
    const { blockSize } = this.#layout;
    const axes = axesOf(4, this.#isHeadsFirst);
    const begin = this.#length;
    const end = begin + keys.dims[axes.token];
    if (end > maxTokens) throw mismatch(`A cache holds at most ${maxTokens} tokens, not ${end}`);
    if (end === begin) return;
    const { placed, dropped } = this.#place(begin, end);
    // What can fail comes first, so that a cache without memory for more stays as it is.
    pool.reserve(placed.filter(({ head, block }) => !pagesOf[head].has(block)).length - dropped.length);
    for (const { head, block } of dropped) {
      pool.give(pagesOf[head].get(block) as number);
      pagesOf[head].delete(block);
    }
    for (const { head, block } of placed) {
      const page = pagesOf[head].get(block) ?? pool.take();
      pagesOf[head].set(block, page);
      const from = Math.max(begin, block * blockSize);
      const rows = { head, first: from - begin, count: Math.min(end, (block + 1) * blockSize) - from };
      pool.write(keys, values, axes, rows, page, from % blockSize);
    }
    this.#length = end;
  }

  /** Where new tokens belong, block by block, and the blocks that nobody needs once they have come. */
  #place(begin: number, end: number): Record<'placed' | 'dropped', HeadBlock[]> {
    const { pagesOf } = this.#store as Store;
    const { blockSize } = this.#layout;
    const [first, last] = [Math.floor(begin / blockSize), Math.floor((end - 1) / blockSize)];
    // Tokens of a block that others have begun move no window.
    if (begin % blockSize !== 0 && first === last) {
      return { placed: pagesOf.map((_, head) => ({ head, block: last })), dropped: [] };
    }
    const queries = { begin: Math.max(0, last - this.#blocksBack), end: last + 1 };
    const kvHeads = pagesOf.map((_, head) => this.#firstKvHead + head);
    const neededOf = this.#layout.neededBlocks(queries, kvHeads);
    const blocks = Array.from({ length: last - first + 1 }, (_, i) => first + i);
    const ofHeads = (blocksOf: (head: number) => Iterable<number>): HeadBlock[] =>
      pagesOf.flatMap((_, head) => Array.from(blocksOf(head), (block) => ({ head, block })));
    return {
      placed: ofHeads((head) => blocks.filter((block) => neededOf[head].has(block))),
      dropped: ofHeads((head) => [...pagesOf[head].keys()].filter((block) => !neededOf[head].has(block))),
    };
  }

  /**
   * Attention of the last tokens that were appended, as s2Attention() over all keys would give it.
   * @param q queries of the last tokens, at most `maxQueries`: [batch, queries, heads, headDim], or as `layout` says
   * @param options see S2CacheAttentionOptions
   * @returns as attention(), and rejects as it does; append() has to wait for it
   */
  attention<const Q extends TensorLike, T = Tensor>(
    q: Q,
    options: S2CacheAttentionOptions<T> & { returnLse: true },
  ): Promise<Required<ResultOf<Q, T>>>;
  attention<const Q extends TensorLike, T = Tensor>(
    q: Q,
    options?: S2CacheAttentionOptions<T>,
  ): Promise<ResultOf<Q, T>>;
  async attention(q: TensorLike, options: S2CacheAttentionOptions<unknown> = {}): Promise<unknown> {
    const { k, v, common, internals } = this.#prepare('attention()', q, options);
    ++this.#readers;
    try {
      return await runAttention('S2Cache.attention()', q, k, v, common, internals);
    } finally {
      --this.#readers;
    }
  }

  /**
   * attention() on the calling thread.
   * @throws {TypeError | RangeError | TilewiseError} what attention() rejects with
   */
  attentionSync<const Q extends TensorLike, T = Tensor>(
    q: Q,
    options: S2CacheAttentionOptions<T> & { returnLse: true },
  ): Required<ResultOf<Q, T>>;
  attentionSync<const Q extends TensorLike, T = Tensor>(q: Q, options?: S2CacheAttentionOptions<T>): ResultOf<Q, T>;
  attentionSync(q: TensorLike, options: S2CacheAttentionOptions<unknown> = {}): unknown {
    const { k, v, common, internals } = this.#prepare('attentionSync()', q, options);
    return runAttentionSync('S2Cache.attentionSync()', q, k, v, common, internals);
  }

  /** Checks keys and values against the first ones, which settle the sizes. */
  #accept(k: HostView, v: HostView): Store {
    const axes = axesOf(4, this.#isHeadsFirst);
    if (k.dims.length !== 4 || v.dims.length !== 4) {
      throw mismatch(`\`k\` and \`v\` must have 4 dims, not ${k.dims.length} and ${v.dims.length}`);
    }
    const sizes = this.#store?.pool.sizes ?? {
      type: k.type as FloatType,
      batch: k.dims[axes.batch],
      pageSize: this.#layout.blockSize,
      keyDim: k.dims[axes.dim],
      valueDim: v.dims[axes.dim],
    };
    const heads = this.#store?.pagesOf.length ?? k.dims[axes.head];
    const { type, batch, keyDim, valueDim } = sizes;
    const dims = k.dims.with(axes.batch, batch).with(axes.head, heads);
    checkSame('k', k, type, dims.with(axes.dim, keyDim));
    checkSame('v', v, type, dims.with(axes.dim, valueDim));
    if (this.#store) return this.#store;
    const { numKvHeads } = this.#layout;
    if (this.#firstKvHead + heads > numKvHeads) {
      throw mismatch(
        `\`k\` has ${heads} heads, but the layout has ${numKvHeads - this.#firstKvHead} KV heads from the first on`,
      );
    }
    this.#store = { pool: new PagePool(sizes), pagesOf: Array.from({ length: heads }, () => new Map()) };
    return this.#store;
  }

  /** The number of the first KV head in the model. */
  get #firstKvHead(): number {
    return this.#firstHead / (this.#layout.numHeads / this.#layout.numKvHeads);
  }

  #prepare(name: string, q: TensorLike, options: S2CacheAttentionOptions<unknown>) {
    checkNames(`S2Cache.${name}`, options, attentionNames);
    const merged = this.#mergedHeads('queryHeads', options.queryHeads);
    const view = readTensor('q', q, floatTypes);
    const { dims } = merged ? readHeads('q', view, 'queryHeads', merged, false) : view;
    const store = this.#store;
    if (!store) throw mismatch('The cache is empty: append() keys and values first');
    const axes = axesOf(4, this.#isHeadsFirst);
    const { pool, pagesOf } = store;
    const { batch } = pool.sizes;
    const heads = (pagesOf.length * this.#layout.numHeads) / this.#layout.numKvHeads;
    if (dims.length !== 4 || dims[axes.head] !== heads || dims[axes.batch] !== batch) {
      throw mismatch(
        `\`q\` must have 4 dims, a batch of ${batch} and ${heads} heads for what was appended, not ${showDims(dims)}`,
      );
    }
    const queries = dims[axes.token];
    const most = Math.min(this.#maxQueries, this.#length);
    if (queries > most)
      throw mismatch(`\`q\` must have at most ${most} queries, those of the last tokens, not ${queries}`);
    const common = { ...options, layout: this.#axesName, ...(merged && { kvHeads: pagesOf.length }) };
    const pages = { layout: this.#layout, firstHead: this.#firstHead, pagesOf };
    return {
      ...pool.views(pagesOf.length, this.#isHeadsFirst),
      common,
      internals: { runnable: pageLists(pages, queries, this.#length), areKeysSplit: true },
    };
  }

  /** How many heads share an axis with the dim, undefined if none do; `heads`: the value of the option. */
  #mergedHeads(option: keyof MergedHeads, heads: number | undefined): MergedHeads | undefined {
    if (heads === undefined) return undefined;
    if (this.#isHeadsFirst) throw unmergeable(option, "`layout` 'bhnd'");
    const count = checkInteger(option, heads, 1, maxTokens);
    return { queryHeads: count, kvHeads: count };
  }

  #refuseReaders(what: string): void {
    if (this.#readers === 0) return;
    throw new TilewiseRangeError('ERR_TILEWISE_OVERLAP', `${what} must wait: a call still reads the cache`);
  }
}
