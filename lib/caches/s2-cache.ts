// S2Cache: a KV cache that forgets what an S2 pattern no longer looks at.
// Reader: someone who decodes with s2Attention() and wants the memory back. Blocks lie in pages of one pool that all heads
// share, a page table per KV head; a page returns to the pool when its block leaves the window and is not kept for good.

import { checkSame, mismatch } from '../call/shape.js';
import { showDims, TilewiseRangeError } from '../check/errors.js';
import { checkInteger, checkNames, checkOneOf, maxTokens, namesOf } from '../check/validate.js';
import { type AttentionResult, runAttention, runAttentionSync } from '../ops/attention/attention.js';
import { type Layout, layouts } from '../ops/attention/options.js';
import type { CommonOptions } from '../ops/named.js';
import { axesOf } from '../tensor/axes.js';
import { checkOverlaps } from '../tensor/leases.js';
import type { Tensor } from '../tensor/tensor.js';
import type { FloatType, TensorLike } from '../tensor/types.js';
import { floatTypes, type HostView, readHostTensor, readTensor } from '../tensor/views.js';
import type { S2Layout } from './s2-layout.js';
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
  'scale' | 'softcap' | 'sinks' | 'extraKeys' | 'extraValues' | 'returnLse' | 'out' | 'Tensor' | 'signal' | 'device'
>;

const cacheNames = namesOf<S2CacheOptions>({ maxQueries: 1, layout: 1 });
const attentionNames = namesOf<S2CacheAttentionOptions>({
  scale: 1,
  softcap: 1,
  sinks: 1,
  extraKeys: 1,
  extraValues: 1,
  returnLse: 1,
  out: 1,
  Tensor: 1,
  signal: 1,
  device: 1,
});

/** Keys or values of all pages: [batch, pages * blockSize, dim], shared by the heads. */
interface Pool {
  readonly dim: number;
  data: Bits;
}

/** Floats, or the bits of 16-bit ones, whichever class they came in. */
type Bits = Float32Array | Uint16Array;

const allocateBits = (type: FloatType, size: number): Bits =>
  type === 'float32' ? new Float32Array(size) : new Uint16Array(size);

const bitsOf = ({ type, data }: HostView): Bits =>
  type === 'float32' ? (data as Float32Array) : new Uint16Array(data.buffer, data.byteOffset, data.length);

/** What the first append() settles. */
interface Store {
  readonly type: FloatType;
  readonly batch: number;
  readonly keys: Pool;
  readonly values: Pool;
  pages: number;
  readonly free: number[];
  /** Per KV head: the page of every block that is held, and the residues that are held for good. */
  readonly heads: { readonly pageOf: Map<number, number>; readonly kept: ReadonlySet<number> }[];
}

export class S2Cache {
  readonly #layout: S2Layout;
  readonly #firstHead: number;
  readonly #isHeadsFirst: boolean;
  readonly #axesName: Layout;
  readonly #maxQueries: number;
  /** Blocks of the window, with what queries that come together reach back further. */
  readonly #window: number;
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
  constructor(layout: S2Layout, firstHead = layout.firstHead, options: S2CacheOptions = {}) {
    checkNames('an S2Cache', options, cacheNames);
    const { blockSize, localBlocks, numHeads, numKvHeads } = layout;
    const { maxQueries = blockSize } = options;
    this.#layout = layout;
    this.#firstHead = checkInteger('firstHead', firstHead, 0, numHeads - 1);
    if (firstHead % (numHeads / numKvHeads) !== 0) {
      throw new TilewiseRangeError(
        'ERR_TILEWISE_INVALID_OPTION',
        `\`firstHead\` ${firstHead} must be the first of the ${numHeads / numKvHeads} heads that share a KV head`,
      );
    }
    this.#axesName = options.layout === undefined ? 'bnhd' : checkOneOf('layout', options.layout, layouts);
    this.#isHeadsFirst = this.#axesName === 'bhnd';
    this.#maxQueries = checkInteger('maxQueries', maxQueries, 1, maxTokens);
    this.#window = localBlocks + Math.ceil((this.#maxQueries - 1) / blockSize);
  }

  /** Tokens appended so far, forgotten ones included. */
  get length(): number {
    return this.#length;
  }

  /** Blocks held, over all KV heads of one batch entry. */
  get blocksHeld(): number {
    return this.#store ? this.#store.pages - this.#store.free.length : 0;
  }

  /** Memory of keys and values. */
  get bytes(): number {
    return this.#store ? this.#store.keys.data.byteLength + this.#store.values.data.byteLength : 0;
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
   * @throws {TypeError | RangeError} ERR_TILEWISE_SHAPE_MISMATCH, ERR_TILEWISE_DTYPE, ERR_TILEWISE_INVALID_TENSOR,
   *   ERR_TILEWISE_OVERLAP while a call still reads the cache
   */
  append(k: TensorLike, v: TensorLike): void {
    this.#refuseReaders('append()');
    const keys = readHostTensor('k', k, floatTypes);
    const values = readHostTensor('v', v, floatTypes);
    checkOverlaps(
      [
        { name: 'k', view: keys },
        { name: 'v', view: values },
      ],
      undefined,
    );
    const store = this.#accept(keys, values);
    const { blockSize } = this.#layout;
    const begin = this.#length;
    const end = begin + keys.dims[axesOf(4, this.#isHeadsFirst).token];
    if (end > maxTokens) throw mismatch(`A cache holds at most ${maxTokens} tokens, not ${end}`);
    if (end === begin) return;
    const last = Math.floor((end - 1) / blockSize);
    const isHeld = (block: number, kept: ReadonlySet<number>) =>
      last - block < this.#window || kept.has(block % this.#layout.vertStride);
    if (begin % blockSize === 0 || Math.floor(begin / blockSize) < last) {
      store.heads.forEach(({ pageOf, kept }) => {
        for (const [block, page] of pageOf) {
          if (isHeld(block, kept)) continue;
          pageOf.delete(block);
          store.free.push(page);
        }
      });
    }
    const placed: [head: number, block: number][] = [];
    store.heads.forEach(({ kept }, head) => {
      for (let block = Math.floor(begin / blockSize); block <= last; ++block) {
        if (isHeld(block, kept)) placed.push([head, block]);
      }
    });
    this.#reserve(store, placed.filter(([head, block]) => !store.heads[head].pageOf.has(block)).length);
    for (const [head, block] of placed) {
      const { pageOf } = store.heads[head];
      const page = pageOf.get(block) ?? (store.free.pop() as number);
      pageOf.set(block, page);
      const from = Math.max(begin, block * blockSize);
      const rows = { head, first: from - begin, count: Math.min(end, (block + 1) * blockSize) - from };
      const to = page * blockSize + (from % blockSize);
      this.#copy(keys, store.keys, store, rows, to);
      this.#copy(values, store.values, store, rows, to);
    }
    this.#length = end;
  }

  /**
   * Attention of the last tokens that were appended, as s2Attention() over all keys would give it.
   * @param q queries of the last tokens, at most `maxQueries`: [batch, queries, heads, headDim], or as `layout` says
   * @param options see S2CacheAttentionOptions
   * @returns as attention(), and rejects as it does; append() has to wait for it
   */
  attention<T = Tensor>(
    q: TensorLike,
    options: S2CacheAttentionOptions<T> & { returnLse: true },
  ): Promise<Required<AttentionResult<T>>>;
  attention<T = Tensor>(q: TensorLike, options?: S2CacheAttentionOptions<T>): Promise<AttentionResult<T>>;
  async attention<T>(q: TensorLike, options: S2CacheAttentionOptions<T> = {}): Promise<AttentionResult<T>> {
    const { k, v, common, lists } = this.#prepare('attention()', q, options);
    ++this.#readers;
    try {
      return await runAttention('S2Cache.attention()', q, k, v, common, { lists });
    } finally {
      --this.#readers;
    }
  }

  /**
   * attention() on the calling thread.
   * @throws {TypeError | RangeError | TilewiseError} what attention() rejects with
   */
  attentionSync<T = Tensor>(
    q: TensorLike,
    options: S2CacheAttentionOptions<T> & { returnLse: true },
  ): Required<AttentionResult<T>>;
  attentionSync<T = Tensor>(q: TensorLike, options?: S2CacheAttentionOptions<T>): AttentionResult<T>;
  attentionSync<T>(q: TensorLike, options: S2CacheAttentionOptions<T> = {}): AttentionResult<T> {
    const { k, v, common, lists } = this.#prepare('attentionSync()', q, options);
    return runAttentionSync('S2Cache.attentionSync()', q, k, v, common, { lists });
  }

  /** Checks keys and values against the first ones, which settle the sizes. */
  #accept(k: HostView, v: HostView): Store {
    const axes = axesOf(4, this.#isHeadsFirst);
    if (k.dims.length !== 4 || v.dims.length !== 4) {
      throw mismatch(`\`k\` and \`v\` must have 4 dims, not ${k.dims.length} and ${v.dims.length}`);
    }
    const [batch, heads, dim] = [k.dims[axes.batch], k.dims[axes.head], k.dims[axes.dim]];
    const type = (this.#store?.type ?? k.type) as FloatType;
    const valueDim = this.#store?.values.dim ?? v.dims[axes.dim];
    if (this.#store) {
      const { keys, batch, heads } = this.#store;
      checkSame('k', k, type, k.dims.with(axes.batch, batch).with(axes.head, heads.length).with(axes.dim, keys.dim));
    }
    checkSame('v', v, type, k.dims.with(axes.dim, valueDim));
    if (this.#store) return this.#store;
    const { numHeads, numKvHeads } = this.#layout;
    const firstKvHead = this.#firstHead / (numHeads / numKvHeads);
    if (firstKvHead + heads > numKvHeads) {
      throw mismatch(
        `\`k\` has ${heads} heads, but the layout has ${numKvHeads - firstKvHead} KV heads from the first on`,
      );
    }
    this.#store = {
      type,
      batch,
      keys: { dim, data: allocateBits(type, 0) },
      values: { dim: valueDim, data: allocateBits(type, 0) },
      pages: 0,
      free: [],
      heads: Array.from({ length: heads }, (_, head) => ({
        pageOf: new Map(),
        kept: new Set(this.#layout.keptResidues(firstKvHead + head)),
      })),
    };
    return this.#store;
  }

  /** Makes sure that so many pages are free. Pools grow by a quarter at least, so that copies stay few. */
  #reserve(store: Store, needed: number): void {
    const missing = needed - store.free.length;
    if (missing <= 0) return;
    const pages = Math.max(store.pages + missing, Math.ceil(store.pages * 1.25));
    const { blockSize } = this.#layout;
    for (const pool of [store.keys, store.values]) {
      const [from, to] = [store.pages * blockSize * pool.dim, pages * blockSize * pool.dim];
      const data = allocateBits(store.type, store.batch * to);
      for (let b = 0; b < store.batch; ++b) data.set(pool.data.subarray(b * from, (b + 1) * from), b * to);
      pool.data = data;
    }
    for (let page = pages - 1; page >= store.pages; --page) store.free.push(page);
    store.pages = pages;
  }

  /** Copies rows of one head into the pool, to token `to`. */
  #copy(
    from: HostView,
    pool: Pool,
    store: Store,
    rows: { head: number; first: number; count: number },
    to: number,
  ): void {
    const axes = axesOf(4, this.#isHeadsFirst);
    const { strides } = from;
    const bits = bitsOf(from);
    for (let b = 0; b < store.batch; ++b) {
      for (let row = 0; row < rows.count; ++row) {
        const source =
          from.offset +
          b * strides[axes.batch] +
          (rows.first + row) * strides[axes.token] +
          rows.head * strides[axes.head];
        const target = (b * store.pages * this.#layout.blockSize + to + row) * pool.dim;
        for (let d = 0; d < pool.dim; ++d) pool.data[target + d] = bits[source + d * strides[axes.dim]];
      }
    }
  }

  #prepare<T>(name: string, q: TensorLike, options: S2CacheAttentionOptions<T>) {
    checkNames(`S2Cache.${name}`, options, attentionNames);
    const { dims } = readTensor('q', q, floatTypes);
    const store = this.#store;
    if (!store) throw mismatch('The cache is empty: append() keys and values first');
    const axes = axesOf(4, this.#isHeadsFirst);
    const heads = (store.heads.length * this.#layout.numHeads) / this.#layout.numKvHeads;
    if (dims.length !== 4 || dims[axes.head] !== heads || dims[axes.batch] !== store.batch) {
      throw mismatch(
        `\`q\` must have 4 dims, a batch of ${store.batch} and ${heads} heads for what was appended, not ${showDims(dims)}`,
      );
    }
    const queries = dims[axes.token];
    const most = Math.min(this.#maxQueries, this.#length);
    if (queries > most)
      throw mismatch(`\`q\` must have at most ${most} queries, those of the last tokens, not ${queries}`);
    const common = { ...options, layout: this.#axesName };
    const pages = { layout: this.#layout, firstHead: this.#firstHead, pageOf: store.heads.map(({ pageOf }) => pageOf) };
    return {
      k: this.#view(store, store.keys),
      v: this.#view(store, store.values),
      common,
      lists: pageLists(pages, queries, this.#length),
    };
  }

  /** All pages as keys or values of every head. */
  #view({ type, batch, pages, heads }: Store, { data, dim }: Pool): TensorLike {
    const tokens = pages * this.#layout.blockSize;
    const dims = this.#isHeadsFirst ? [batch, heads.length, tokens, dim] : [batch, tokens, heads.length, dim];
    const strides = this.#isHeadsFirst ? [tokens * dim, 0, dim, 1] : [tokens * dim, dim, 0, 1];
    return { type, data, dims, strides, offset: 0 };
  }

  #refuseReaders(what: string): void {
    if (this.#readers === 0) return;
    throw new TilewiseRangeError('ERR_TILEWISE_OVERLAP', `${what} must wait: a call still reads the cache`);
  }
}
