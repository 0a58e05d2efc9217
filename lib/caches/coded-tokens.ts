// CodedTokens: the tokens of one layer that have codes, for every sequence of a cache.
// Reader: someone who asks when a row becomes codes. A block is as many tokens as may be exact; the newest blocks are of the first
// tier, and blocks move down from tier to tier as tokens come. Forks share blocks. Ideas: see kv-format.ts.

import { takeIntegers } from '../native/slabs.js';
import { type CodedKind, codedKinds } from '../ops/encode.js';
import { type CodeBits, type CodedStore, tableEntry } from '../stores/codes.js';
import type { FormatSettings } from '../stores/kv-format.js';
import { type CodedRuns, CodeTier } from './code-tier.js';
import type { KvPages } from './kv-pages.js';
import type { KvRun } from './kv-run.js';
import type { LastingSummaries } from './lasting-summaries.js';
import { PageCounts, type PageHold, releaseAll } from './page-counts.js';

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
  /** Summaries of its full pages, where they are kept. */
  readonly full: PageHold;
  /** Tokens before these have codes. */
  keyEnd: number;
  valueEnd: number;
}

/** All that a sequence refers to. */
export const holdsOf = ({ holds, full }: CodedRun): PageHold[] => [...holds, full];

/** The tiers of a format, without blocks. */
export const tiersOf = (device: number, format: FormatSettings, heads: number): CodeTier[] =>
  format.tiers.map((forms) => new CodeTier(device, heads, forms, format.isSymmetric));

export class CodedTokens {
  readonly format: FormatSettings;
  readonly tiers: readonly CodeTier[];
  readonly runs: readonly CodedRun[];

  readonly summaries: LastingSummaries | undefined;

  constructor(
    format: FormatSettings,
    tiers: readonly CodeTier[],
    summaries: LastingSummaries | undefined,
    runs: readonly CodedRun[] = [],
  ) {
    this.format = format;
    this.tiers = tiers;
    this.runs = runs;
    this.summaries = summaries;
  }

  /** Other sequences, on blocks of the same tiers. */
  of(runs: readonly CodedRun[]): CodedTokens {
    return new CodedTokens(this.format, this.tiers, this.summaries, runs);
  }

  /** So many sequences without tokens. */
  empty(count: number): CodedTokens {
    const runOf = (): CodedRun => ({
      holds: this.tiers.map(({ counts }) => ({ counts, pages: [] })),
      full: { counts: this.summaries?.counts ?? new PageCounts(), pages: [] },
      keyEnd: 0,
      valueEnd: 0,
    });
    return this.of(Array.from({ length: count }, runOf));
  }

  /** Bytes of the blocks that the sequences refer to. */
  get bytes(): number {
    return this.runs.reduce(
      (all, { holds, full }) =>
        holds.reduce((sum, { pages }, tier) => sum + pages.length * this.tiers[tier].blockBytes, all) +
        full.pages.length * (this.summaries?.rowBytes ?? 0),
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

  /**
   * The fewest tokens that truncate() can leave of a sequence: codes of several tokens stay whole, and summaries of pages are made of
   * exact keys.
   * @param gone tokens that are on no pages any more
   */
  leastLength(entry: number, gone: number): number {
    if (this.format.residual === 0) return this.summaries ? gone : 0;
    return Math.max(this.runs[entry].keyEnd, this.runs[entry].valueEnd);
  }

  /** Tokens of a sequence of so many that have codes: keys, and values. */
  #ends(length: number): [keys: number, values: number] {
    const { residual, valuesSlide } = this.format;
    if (residual === 0) return [length, length];
    const whole = Math.floor(length / residual) * residual;
    return [whole, valuesSlide ? Math.max(0, length - residual) : whole];
  }

  /** Tokens of a sequence of so many whose keys and values have codes. */
  codedLengthAt(length: number): number {
    return Math.min(...this.#ends(length));
  }

  /** Blocks that a sequence refers to. */
  blocksOf(entry: number): number {
    return this.runs[entry].holds.reduce((sum, { pages }) => sum + pages.length, 0);
  }

  /** Blocks that a sequence takes to get so long, less those that it lets go of then. */
  blocksFor(entry: number, length: number): number {
    const run = this.runs[entry];
    const { blockTokens, residual } = this.format;
    let needed = Math.max(0, Math.ceil(this.#ends(length)[0] / blockTokens) - this.blocksOf(entry));
    let block = 0;
    for (let t = run.holds.length - 1; t >= 0; --t) {
      const { counts, pages } = run.holds[t];
      for (const page of pages) if (this.#tierOf(block++, length) > t && counts.isShared(page)) ++needed;
    }
    const isWritten = residual === 0 && length > run.keyEnd && run.keyEnd % blockTokens > 0;
    const [{ counts, pages }] = run.holds;
    return isWritten && counts.isShared(pages[pages.length - 1]) ? needed + 1 : needed;
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
    for (let block = this.blocksOf(entry); block < blocks; ++block) {
      run.holds[this.#tierOf(block, finalLength)].pages.push(this.#take(this.#tierOf(block, finalLength)));
    }
    const ends = { keys: keyEnd, values: Math.max(run.valueEnd, valueEnd) };
    const written = this.tiers.map((): CodedRuns => ({ slots: [], runs: { keys: [], values: [] } }));
    for (const kind of codedKinds) {
      const begin = kind === 'keys' ? run.keyEnd : run.valueEnd;
      this.#collect(written, kind, run, begin, ends[kind], exact);
    }
    for (const [t, rows] of written.entries()) if (rows.slots.length > 0) this.tiers[t].write(exact.pool, rows);
    run.keyEnd = ends.keys;
    run.valueEnd = ends.values;
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

  /** Adds the tokens from `begin` to `end` to what tiers are to write. */
  #collect(
    written: readonly CodedRuns[],
    kind: CodedKind,
    run: CodedRun,
    begin: number,
    end: number,
    { pool, run: exact }: { pool: KvPages; run: KvRun },
  ): void {
    const { blockTokens, residual } = this.format;
    const { pageSize } = pool.sizes;
    for (let token = begin; token < end; ) {
      const at = this.blockOf(run, token);
      const tier = this.tiers[at.tier];
      const last = Math.min(end, token + blockTokens - at.row);
      // A block that is filled token by token is written to again. Elsewhere what a fork writes to a block is what it has.
      if (residual === 0 && tier.counts.isShared(at.page)) at.page = this.#own(run, at);
      const { slots, runs } = written[at.tier];
      runs[kind].push(at.page, at.row, last - token, slots.length);
      for (; token < last; ++token) slots.push(exact.pageOf(token) * pageSize + (token % pageSize));
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
    this.summaries?.truncate(run.full, length);
    if (this.format.residual > 0) return;
    run.keyEnd = Math.min(run.keyEnd, length);
    run.valueEnd = Math.min(run.valueEnd, length);
    const [{ counts, pages }] = run.holds;
    for (const page of pages.splice(Math.ceil(run.keyEnd / this.format.blockTokens))) counts.release(page);
  }

  fork(): CodedTokens {
    const retained = ({ counts, pages }: PageHold): PageHold => {
      for (const page of pages) counts.retain(page);
      return { counts, pages: pages.slice() };
    };
    const runs = this.runs.map(
      ({ holds, full, keyEnd, valueEnd }): CodedRun => ({
        holds: holds.map(retained),
        full: retained(full),
        keyEnd,
        valueEnd,
      }),
    );
    return this.of(runs);
  }

  free(): void {
    for (const run of this.runs) {
      holdsOf(run).forEach(releaseAll);
      run.keyEnd = 0;
      run.valueEnd = 0;
    }
  }

  /** Holds all blocks while a call reads them; returns what ends that. */
  read(): () => void {
    const holds = this.fork().runs.flatMap(holdsOf);
    return () => holds.forEach(releaseAll);
  }

  /** The summaries of each sequence's full pages, [sequences][perSequence]. */
  fullPages(perSequence: number): Int32Array {
    const table = new Int32Array(this.runs.length * perSequence).fill(-1);
    for (const [entry, { full }] of this.runs.entries()) table.set(full.pages, entry * perSequence);
    return table;
  }

  /** The codes as a call reads them. */
  store(): CodedStore {
    const count = this.runs.length;
    const perSequence = this.runs.reduce((most, _, entry) => Math.max(most, this.blocksOf(entry)), 0);
    const [table, keyEnds, valueEnds] = [takeIntegers(count * perSequence), takeIntegers(count), takeIntegers(count)];
    for (const [entry, { holds, keyEnd, valueEnd }] of this.runs.entries()) {
      let at = entry * perSequence;
      for (let t = holds.length - 1; t >= 0; --t) for (const page of holds[t].pages) table[at++] = tableEntry(page, t);
      keyEnds[entry] = keyEnd;
      valueEnds[entry] = valueEnd;
    }
    const tiers = this.tiers.map(({ places, data }) => ({ keys: places.keys.form, values: places.values.form, data }));
    return { tiers, table, keyEnds, valueEnds };
  }
}
