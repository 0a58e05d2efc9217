// CodedTokens: the tokens of one layer that have codes, for every sequence of a cache.
// Reader: someone who asks when a row becomes codes. A block is as many tokens as may be exact; the newest blocks are of the first
// tier, and blocks move down from tier to tier as tokens come. Forks share blocks. Ideas: see kv-format.ts.

import { takeIntegers } from '../native/slabs.js';
import { append } from '../ops/append.js';
import { type CodedStore, tableEntry } from '../stores/codes.js';
import type { CodeBits } from '../stores/group-codes.js';
import type { FormatSettings } from '../stores/kv-format.js';
import type { View } from '../tensor/views.js';
import { type CodedKind, CodeTier, type FloatRows } from './code-tier.js';
import type { KvPages } from './kv-pages.js';
import type { KvRun } from './kv-run.js';
import { type PageHold, releaseAll } from './page-counts.js';

/** Consecutive tokens that are kept alike. */
export interface KvBits {
  begin: number;
  end: number;
  /** Bits of their keys; `'exact'`: as they came. */
  keys: CodeBits | 'exact';
  values: CodeBits | 'exact';
}

/** The blocks of one sequence. */
export interface CodedRun {
  /** Blocks of each tier, oldest first; those of a later tier are older. */
  readonly holds: readonly PageHold[];
  /** Tokens before these have codes. */
  keyEnd: number;
  valueEnd: number;
}

export class CodedTokens {
  readonly format: FormatSettings;
  readonly tiers: readonly CodeTier[];
  readonly runs: readonly CodedRun[];

  private constructor(format: FormatSettings, tiers: readonly CodeTier[], runs: readonly CodedRun[]) {
    this.format = format;
    this.tiers = tiers;
    this.runs = runs;
  }

  static of(format: FormatSettings, heads: number, batch: number): CodedTokens {
    const tiers = format.tiers.map((forms) => new CodeTier(heads, forms, format.isSymmetric));
    const runOf = (): CodedRun => ({
      holds: tiers.map(({ counts }) => ({ counts, pages: [] })),
      keyEnd: 0,
      valueEnd: 0,
    });
    return new CodedTokens(format, tiers, Array.from({ length: batch }, runOf));
  }

  /** Bytes of the blocks that the sequences refer to. */
  get bytes(): number {
    return this.runs.reduce(
      (all, { holds }) => holds.reduce((sum, { pages }, tier) => sum + pages.length * this.tiers[tier].blockBytes, all),
      0,
    );
  }

  /** Tokens of a sequence whose keys and values have codes. */
  codedLength(entry: number): number {
    return Math.min(this.runs[entry].keyEnd, this.runs[entry].valueEnd);
  }

  /** The bits of a sequence's tokens, in runs. */
  bitsOf(entry: number, length: number): KvBits[] {
    const run = this.runs[entry];
    const runs: KvBits[] = [];
    for (let token = 0; token < length; ) {
      const { tier, row } =
        token < run.keyEnd ? this.blockOf(run, token) : { tier: 0, row: token % this.format.blockTokens };
      const forms = this.format.tiers[tier];
      const keys = token < run.keyEnd ? forms.keys.bits : 'exact';
      const values = token < run.valueEnd ? forms.values.bits : 'exact';
      const ends = [run.keyEnd, run.valueEnd, length, token - row + this.format.blockTokens].filter((x) => x > token);
      const end = Math.min(...ends);
      const last = runs.at(-1);
      if (last?.keys === keys && last.values === values) last.end = end;
      else runs.push({ begin: token, end, keys, values });
      token = end;
    }
    return runs;
  }

  /** The fewest tokens that truncate() can leave of a sequence: codes of several tokens stay whole. */
  leastLength(entry: number): number {
    return this.format.residual === 0 ? 0 : Math.max(this.runs[entry].keyEnd, this.runs[entry].valueEnd);
  }

  /** Tokens of a sequence of so many that have codes: keys, and values. */
  #ends(length: number): [keys: number, values: number] {
    const { residual, valuesSlide } = this.format;
    if (residual === 0) return [length, length];
    const whole = Math.floor(length / residual) * residual;
    return [whole, valuesSlide ? Math.max(0, length - residual) : whole];
  }

  /** How many blocks of each tier a sequence of so many tokens has. */
  #blocksAt(length: number): number[] {
    let left = Math.ceil(this.#ends(length)[0] / this.format.blockTokens);
    return this.format.tierBlocks.map((most) => {
      const count = Math.min(left, most);
      left -= count;
      return count;
    });
  }

  /** Makes sure that sequences can get so long; when it throws, nothing has changed. */
  reserve(lengths: readonly number[]): void {
    const needed = lengths.map((length) => this.#blocksAt(length));
    for (const [t, tier] of this.tiers.entries()) {
      // One more for each sequence: a block is taken before the one that it is made of is let go of.
      const more = this.runs.map(({ holds }, i) => Math.max(0, needed[i][t] - holds[t].pages.length) + 1);
      tier.reserve(more.reduce((sum, count) => sum + count, 0));
    }
  }

  /**
   * Makes codes of tokens that are no longer among the newest.
   * @param length tokens of the sequence, all of them on pages as far as they have no codes
   * @param finalLength tokens that it will have when all of an append is there: blocks go to the tier of that age at once
   */
  settle(entry: number, length: number, finalLength: number, exact: { pool: KvPages; run: KvRun }): void {
    const run = this.runs[entry];
    const { blockTokens } = this.format;
    const [keyEnd, valueEnd] = this.#ends(length);
    this.#moveDown(run, finalLength);
    const blocks = Math.ceil(keyEnd / blockTokens);
    const held = run.holds.reduce((sum, { pages }) => sum + pages.length, 0);
    for (let block = held; block < blocks; ++block) {
      run.holds[this.#tierOf(block, finalLength)].pages.push(this.#take(this.#tierOf(block, finalLength)));
    }
    this.#write('keys', run, run.keyEnd, keyEnd, exact);
    this.#write('values', run, run.valueEnd, Math.max(run.valueEnd, valueEnd), exact);
    run.keyEnd = keyEnd;
    run.valueEnd = Math.max(run.valueEnd, valueEnd);
  }

  #take(tier: number): number {
    this.tiers[tier].reserve(1);
    return this.tiers[tier].counts.take();
  }

  /** The tier of a block when the sequence has so many tokens. */
  #tierOf(block: number, length: number): number {
    let newer = Math.ceil(this.#ends(length)[0] / this.format.blockTokens) - 1 - block;
    return this.format.tierBlocks.findIndex((most) => {
      newer -= most;
      return newer < 0;
    });
  }

  /** Brings blocks to the tiers of their age, the oldest first. */
  #moveDown(run: CodedRun, length: number): void {
    let block = 0;
    for (let t = run.holds.length - 1; t >= 0; --t) {
      const from = run.holds[t];
      const count = from.pages.length;
      for (let i = 0; i < count; ++i, ++block) {
        const to = this.#tierOf(block, length);
        if (to <= t) continue;
        const page = from.pages.shift() as number;
        const taken = this.#take(to);
        this.tiers[to].convert(this.tiers[t], page, taken);
        run.holds[to].pages.push(taken);
        from.counts.release(page);
      }
    }
  }

  /** The block of a token: its tier, and its place there. */
  blockOf(run: CodedRun, token: number): { tier: number; page: number; row: number; place: number } {
    let index = Math.floor(token / this.format.blockTokens);
    const row = token % this.format.blockTokens;
    for (let tier = run.holds.length - 1; ; --tier) {
      const { pages } = run.holds[tier];
      if (index < pages.length) return { tier, page: pages[index], row, place: index };
      index -= pages.length;
    }
  }

  #write(kind: CodedKind, run: CodedRun, begin: number, end: number, exact: { pool: KvPages; run: KvRun }): void {
    const { blockTokens, residual } = this.format;
    for (let token = begin; token < end; ) {
      const at = this.blockOf(run, token);
      const tier = this.tiers[at.tier];
      const count = Math.min(end - token, blockTokens - at.row);
      // A block that is filled token by token is written to again. Elsewhere what a fork writes to a block is what it has.
      if (residual === 0 && tier.counts.isShared(at.page)) at.page = this.#own(run, at);
      tier.write(kind, at.page, at.row, exactRows(kind, exact, token, count), 0, count);
      token += count;
    }
  }

  /** A copy of a shared block, which takes its place. */
  #own(run: CodedRun, { tier, page, place }: { tier: number; page: number; place: number }): number {
    const own = this.#take(tier);
    this.tiers[tier].copy(page, own);
    run.holds[tier].pages[place] = own;
    run.holds[tier].counts.release(page);
    return own;
  }

  /** Forgets tokens of a sequence from `length` on, leastLength() or more. */
  truncate(entry: number, length: number): void {
    const run = this.runs[entry];
    if (this.format.residual > 0) return;
    run.keyEnd = Math.min(run.keyEnd, length);
    run.valueEnd = Math.min(run.valueEnd, length);
    const [{ counts, pages }] = run.holds;
    for (const page of pages.splice(Math.ceil(run.keyEnd / this.format.blockTokens))) counts.release(page);
  }

  fork(): CodedTokens {
    const runs = this.runs.map(({ holds, keyEnd, valueEnd }): CodedRun => {
      for (const { counts, pages } of holds) for (const page of pages) counts.retain(page);
      return { holds: holds.map(({ counts, pages }) => ({ counts, pages: pages.slice() })), keyEnd, valueEnd };
    });
    return new CodedTokens(this.format, this.tiers, runs);
  }

  free(): void {
    for (const run of this.runs) {
      run.holds.forEach(releaseAll);
      run.keyEnd = 0;
      run.valueEnd = 0;
    }
  }

  /** Holds all blocks while a call reads them; returns what ends that. */
  read(): () => void {
    const holds = this.fork().runs.flatMap((run) => run.holds);
    return () => holds.forEach(releaseAll);
  }

  /** The codes as a call reads them. */
  store(): CodedStore {
    const count = this.runs.length;
    const perSequence = this.runs.reduce(
      (most, { holds }) =>
        Math.max(
          most,
          holds.reduce((sum, { pages }) => sum + pages.length, 0),
        ),
      0,
    );
    const [table, keyEnds, valueEnds] = [takeIntegers(count * perSequence), takeIntegers(count), takeIntegers(count)];
    for (const [entry, { holds, keyEnd, valueEnd }] of this.runs.entries()) {
      let at = entry * perSequence;
      for (let t = holds.length - 1; t >= 0; --t) for (const page of holds[t].pages) table[at++] = tableEntry(page, t);
      keyEnds[entry] = keyEnd;
      valueEnds[entry] = valueEnd;
    }
    const tiers = this.tiers.map(({ places, bytes: data }) => ({
      keys: places.keys.form,
      values: places.values.form,
      data,
    }));
    return { tiers, table, keyEnds, valueEnds };
  }

  /** Writes the rows of a sequence that have codes to [tokens][heads][dim], as numbers. */
  readInto(kind: CodedKind, entry: number, to: Float32Array): void {
    const run = this.runs[entry];
    const end = kind === 'keys' ? run.keyEnd : run.valueEnd;
    const [{ heads, places }] = this.tiers;
    const { dim } = places[kind].form;
    for (let token = 0; token < end; ++token) {
      const { tier, page, row } = this.blockOf(run, token);
      for (let head = 0; head < heads; ++head) {
        this.tiers[tier].read(kind, page, head, row, to, (token * heads + head) * dim);
      }
    }
  }
}

/** Rows of tokens that are on pages, as float32. */
export function exactRows(
  kind: CodedKind,
  { pool, run }: { pool: KvPages; run: KvRun },
  first: number,
  count: number,
): FloatRows {
  const { kvHeads, headDim, valueDim, pageSize, device } = pool.sizes;
  const dim = kind === 'keys' ? headDim : valueDim;
  const pages = kind === 'keys' ? pool.keysOf(0) : pool.valuesOf(0);
  const data = new Float32Array(kvHeads * count * dim);
  const dims = [1, count, kvHeads, dim];
  const to: View = { type: 'float32', data, dims, strides: [data.length, dim, count * dim, 1], offset: 0 };
  for (let token = first; token < first + count; ) {
    const row = token % pageSize;
    const rows = Math.min(pageSize - row, first + count - token);
    const from: View = {
      ...pages,
      dims: pages.dims.with(0, 1).with(1, rows),
      offset: pages.offset + run.pageOf(token) * pages.strides[0] + row * pages.strides[1],
    };
    const begin = token - first;
    const slots = Int32Array.from({ length: rows }, (_, i) => begin + i);
    append(device, { name: 'the cache', from, to }, undefined, false, slots);
    token += rows;
  }
  return { data, tokens: count };
}
