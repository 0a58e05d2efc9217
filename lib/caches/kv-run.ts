// KvRun: the tokens of one sequence on pages, layer by layer.
// Reader: someone who writes a cache. The owner checks what it is given and writes rows; here is which page and slot a
// token has, what a fork shares, and what calls in flight still read.

import { mismatch } from '../call/shape.js';
import { TilewiseRangeError } from '../check/errors.js';
import type { KvPages } from './kv-pages.js';
import { type PageHold, releaseAll } from './page-counts.js';

/** What later queries still look at, when it is not everything. */
export interface Horizon {
  /** The newest tokens that a query sees, itself included. */
  readonly recentTokens: number;
  readonly sinkTokens: number;
}

/** Pages for tokens to come: nothing has changed until settle(), and drop() undoes it. */
export interface Growth {
  readonly first: number;
  /** Slots of the new tokens, in order. */
  slotOf(token: number): number;
  settle(): void;
  drop(): void;
}

export class KvRun {
  readonly #pool: KvPages;
  readonly #horizon: Horizon | undefined;
  /** Pages that sinks are on, which stay. */
  readonly #sinkPages: number;
  /** The pages it refers to: for who gives them back once nobody has the run any more. */
  readonly hold: PageHold;
  /** Pages behind those of the sinks that were let go of. */
  #gone = 0;
  readonly #lengths: number[];
  /** Where the last append of each layer that brought tokens began: queries from there on may still come. */
  readonly #begins: number[];
  /** Where the last append of each layer began, also one that brought tokens to other runs alone. */
  readonly #latest: number[];
  /** Tokens of the text that compact() let go of, layer by layer, and the text's length then. */
  readonly #left: number[];
  readonly #compacted: number[];
  /** Calls that read a layer. */
  readonly #readers: number[];

  constructor(pool: KvPages, horizon: Horizon | undefined) {
    this.#pool = pool;
    this.#horizon = horizon;
    this.hold = { counts: pool.counts, pages: [] };
    const { layers, pageSize } = pool.sizes;
    this.#sinkPages = Math.ceil((horizon?.sinkTokens ?? 0) / pageSize);
    this.#lengths = new Array<number>(layers).fill(0);
    this.#begins = new Array<number>(layers).fill(0);
    this.#latest = new Array<number>(layers).fill(0);
    this.#left = new Array<number>(layers).fill(0);
    this.#compacted = new Array<number>(layers).fill(0);
    this.#readers = new Array<number>(layers).fill(0);
  }

  /** Tokens of the text that every layer has seen. */
  get length(): number {
    return Math.min(...this.#lengths.map((_, layer) => this.textOf(layer)));
  }

  /** Tokens of the text that some layer has seen. */
  get longest(): number {
    return Math.max(...this.#lengths.map((_, layer) => this.textOf(layer)));
  }

  /** Tokens that a layer has. */
  lengthOf(layer: number): number {
    return this.#lengths[layer];
  }

  /** Tokens of the text that a layer has seen: the position of its next one. */
  textOf(layer: number): number {
    return this.#lengths[layer] + this.#left[layer];
  }

  /** Whether compact() has let go of tokens of a layer. */
  isCompact(layer: number): boolean {
    return this.#left[layer] > 0;
  }

  /** Makes room for the `count` tokens of a layer that are kept, which are appended next; returns what undoes it. */
  compact(layer: number, count: number): () => void {
    const of = [this.#lengths, this.#left, this.#begins, this.#latest, this.#compacted];
    const before = of.map((list) => list[layer]);
    if (count < this.#lengths[layer]) this.#compacted[layer] = this.textOf(layer);
    this.#left[layer] += this.#lengths[layer] - count;
    this.#lengths[layer] = 0;
    return () => {
      for (const [i, list] of of.entries()) list[layer] = before[i];
    };
  }

  /** Lets go of pages behind the tokens of all layers. */
  trim(): void {
    const kept = Math.ceil(Math.max(...this.#lengths) / this.#pool.sizes.pageSize);
    for (const page of this.hold.pages.splice(kept)) this.#pool.counts.release(page);
  }

  /** Pages it refers to. */
  get held(): number {
    return this.hold.pages.length;
  }

  /** Pages that appending so many tokens to a layer takes: new ones, and copies of shared ones. */
  pagesFor(layer: number, count: number): number {
    const [first, last] = this.#touched(layer, count);
    let pages = 0;
    for (let i = first; i <= last; ++i) {
      if (i >= this.hold.pages.length || this.#pool.counts.isShared(this.hold.pages[i])) ++pages;
    }
    return pages;
  }

  /**
   * Pages that appending so many tokens to a run of one layer takes, where letGo() of tokens before `coded` follows: less those that
   * this lets go of.
   */
  pagesAcross(count: number, coded: number): number {
    const { pageSize } = this.#pool.sizes;
    const first = Math.max(this.#gone, Math.floor(coded / pageSize));
    const end = this.#gone + this.hold.pages.length;
    const [written, last] = this.#touched(0, count).map((place) => place + this.#gone);
    let needed = Math.max(0, last + 1 - Math.max(first, end));
    for (const [i, page] of this.hold.pages.entries()) {
      const isShared = this.#pool.counts.isShared(page);
      if (this.#gone + i < first) needed -= Number(!isShared);
      else if (this.#gone + i >= written && this.#gone + i <= last && isShared) ++needed;
    }
    return needed;
  }

  /** Pages for the next tokens of a layer; pagesFor() of them have been reserved. */
  grow(layer: number, count: number): Growth {
    const pool = this.#pool;
    const { counts } = pool;
    const { pageSize } = pool.sizes;
    const pages = this.hold.pages.slice();
    const taken: number[] = [];
    const [first, last] = this.#touched(layer, count);
    const { goneTokens } = this;
    const drop = () => {
      for (const page of taken) counts.release(page);
    };
    const replaced: number[] = [];
    try {
      for (let i = first; i <= last; ++i) {
        const isNew = i >= pages.length;
        if (!isNew && !counts.isShared(pages[i])) continue;
        const page = counts.take();
        taken.push(page);
        if (!isNew) {
          pool.copy(pages[i], page);
          replaced.push(pages[i]);
        }
        pages[i] = page;
      }
    } catch (error) {
      drop();
      throw error;
    }
    return {
      first: this.#lengths[layer],
      slotOf: (token) => pages[Math.floor((token - goneTokens) / pageSize)] * pageSize + (token % pageSize),
      settle: () => {
        for (const page of replaced) counts.release(page);
        this.hold.pages = pages;
        this.#latest[layer] = this.#lengths[layer];
        if (count > 0) this.#begins[layer] = this.#latest[layer];
        this.#lengths[layer] += count;
        this.#forget();
      },
      drop,
    };
  }

  /**
   * The slot of a layer's next token, where it is on a page that this run alone refers to; -1 where grow() has to take pages
   * first, and while a call reads the layer.
   */
  nextSlot(layer: number): number {
    const { pageSize } = this.#pool.sizes;
    const place = this.#lengths[layer] - this.goneTokens;
    const page = this.hold.pages[Math.floor(place / pageSize)];
    const isTaken = page !== undefined && this.#readers[layer] === 0 && !this.#pool.counts.isShared(page);
    return isTaken ? page * pageSize + (place % pageSize) : -1;
  }

  /** Counts a token that was written to nextSlot(). */
  step(layer: number): void {
    this.#latest[layer] = this.#lengths[layer];
    this.#begins[layer] = this.#lengths[layer];
    ++this.#lengths[layer];
    this.#forget();
  }

  /** First and last of the pages that the next tokens of a layer are on, as places among those it refers to. */
  #touched(layer: number, count: number): [first: number, last: number] {
    const { pageSize } = this.#pool.sizes;
    const length = this.#lengths[layer] - this.goneTokens;
    return [Math.floor(length / pageSize), Math.ceil((length + count) / pageSize) - 1];
  }

  /** Lets go of pages that no query from the last append on sees, in any layer. */
  #forget(): void {
    if (!this.#horizon) return;
    const { recentTokens } = this.#horizon;
    const { pageSize } = this.#pool.sizes;
    const oldest = Math.min(...this.#begins) - recentTokens + 1;
    const count = Math.floor(oldest / pageSize) - this.#sinkPages - this.#gone;
    if (count <= 0) return;
    for (const page of this.hold.pages.splice(this.#sinkPages, count)) this.#pool.counts.release(page);
    this.#gone += count;
  }

  /** Lets go of whole pages of tokens before one, which are kept elsewhere, too; of a run of one layer, without sinks. */
  letGo(before: number): void {
    const count = Math.floor(before / this.#pool.sizes.pageSize) - this.#gone;
    if (count <= 0) return;
    for (const page of this.hold.pages.splice(0, count)) this.#pool.counts.release(page);
    this.#gone += count;
  }

  /** Tokens that were let go of: whole pages of them, behind those of the sinks. */
  get goneTokens(): number {
    return this.#gone * this.#pool.sizes.pageSize;
  }

  /** Where the first token is that a query may have as its oldest recent one. */
  get #oldestKept(): number {
    return this.#gone === 0 ? 0 : (this.#sinkPages + this.#gone) * this.#pool.sizes.pageSize;
  }

  /** The fewest tokens that truncate() can leave: the last of them still sees everything it should. */
  get leastLength(): number {
    if (this.#oldestKept > 0) return this.#oldestKept + (this.#horizon?.recentTokens ?? 0);
    return Math.max(...this.#compacted);
  }

  /** Tokens that the last append brought to a layer. */
  newest(layer: number): number {
    return this.#lengths[layer] - this.#latest[layer];
  }

  /** How many of the last tokens of a layer still see everything they should: those since `#begins` at least. */
  mostQueries(layer: number): number {
    return this.#oldestKept === 0 ? Number.POSITIVE_INFINITY : this.#lengths[layer] - this.leastLength + 1;
  }

  /** Keeps the first `length` tokens of every layer: leastLength or more, unless its tokens have codes, too. */
  truncate(length: number): void {
    const most = Math.max(...this.#left.map((left) => length - left));
    const kept = Math.max(0, Math.ceil((most - this.goneTokens) / this.#pool.sizes.pageSize));
    for (const page of this.hold.pages.splice(kept)) this.#pool.counts.release(page);
    this.#gone = Math.min(this.#gone, Math.floor(length / this.#pool.sizes.pageSize));
    for (const [layer, held] of this.#lengths.entries()) {
      this.#lengths[layer] = Math.min(held, length - this.#left[layer]);
      this.#begins[layer] = Math.min(this.#begins[layer], this.#lengths[layer]);
      this.#latest[layer] = Math.min(this.#latest[layer], this.#lengths[layer]);
    }
  }

  /** A run of the same tokens, on the same pages until one of both writes. */
  fork(): KvRun {
    const run = new KvRun(this.#pool, this.#horizon);
    run.hold.pages = this.hold.pages.slice();
    run.#gone = this.#gone;
    for (const page of run.hold.pages) this.#pool.counts.retain(page);
    for (const [layer, length] of this.#lengths.entries()) {
      run.#lengths[layer] = length;
      run.#begins[layer] = this.#begins[layer];
      run.#latest[layer] = this.#latest[layer];
      run.#left[layer] = this.#left[layer];
      run.#compacted[layer] = this.#compacted[layer];
    }
    return run;
  }

  /** Lets go of all pages. */
  free(): void {
    releaseAll(this.hold);
    this.#gone = 0;
    this.#lengths.fill(0);
    this.#begins.fill(0);
    this.#latest.fill(0);
    this.#left.fill(0);
    this.#compacted.fill(0);
  }

  /**
   * Writes the page of each `pageSize` tokens of a layer to a table, from `at` on.
   * @param isWhole whether those that were let go of have entries, too; they are hidden from every query, so any page will do
   */
  writeTable(layer: number, table: Int32Array, at: number, isWhole: boolean): void {
    const count = Math.ceil((this.#lengths[layer] - this.goneTokens) / this.#pool.sizes.pageSize);
    const gap = isWhole ? this.#gone : 0;
    table.fill(0, at + this.#sinkPages, at + this.#sinkPages + gap);
    for (let i = 0; i < count; ++i) table[at + i + (i < this.#sinkPages ? 0 : gap)] = this.hold.pages[i];
  }

  /** The page that a token is on; throws when it was let go of. */
  pageOf(token: number): number {
    const page = Math.floor(token / this.#pool.sizes.pageSize);
    if (page < this.#sinkPages) return this.hold.pages[page];
    if (page < this.#sinkPages + this.#gone) throw mismatch(`Token ${token} was let go of: no later query sees it`);
    return this.hold.pages[page - this.#gone];
  }

  /** Holds the pages of a layer while a call reads them; returns what ends that. */
  read(layer: number): () => void {
    const pages = this.hold.pages.slice();
    for (const page of pages) this.#pool.counts.retain(page);
    ++this.#readers[layer];
    return () => {
      --this.#readers[layer];
      for (const page of pages) this.#pool.counts.release(page);
    };
  }

  /** Refuses a change while a call reads the layer, or any. */
  refuseReaders(what: string, layer?: number): void {
    const isRead = layer === undefined ? this.#readers.some((count) => count > 0) : this.#readers[layer] > 0;
    if (!isRead) return;
    const which = layer === undefined ? 'the cache' : `layer ${layer}`;
    throw new TilewiseRangeError('ERR_TILEWISE_OVERLAP', `${what} must wait: a call still reads ${which}`);
  }
}
