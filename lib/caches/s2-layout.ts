// s2Layout(): which blocks an S2 pattern visits, for whoever plans a cache, a schedule or a table.
// Reader: someone who builds around s2Attention(). What layouts see is asked of core's pattern, the one that runs.

import { allocating, TilewiseTypeError } from '../check/errors.js';
import { checkInteger, checkNames, maxTokens } from '../check/validate.js';
import { checkCoverage, coveredBlocks, keptBlocks, type LayoutRange, ShardSights } from '../patterns/shard-sights.js';
import { membersOf, type Range, rowsOf, runsOf, unionOf } from '../patterns/sights.js';
import {
  type ShardLayouts,
  type StridedShardsOptions,
  type StridedShardsPattern,
  shardLayouts,
  stridedShards,
  stridedShardsNames,
} from '../patterns/strided-shards.js';
import { Tensor } from '../tensor/tensor.js';

/** An S2 pattern and the model it belongs to; `align` means nothing here. */
export interface S2LayoutOptions extends StridedShardsOptions {
  /** Query heads of the model. */
  numHeads: number;
  /** KV heads of the model; default numHeads. */
  numKvHeads?: number;
}

/** A range of blocks; `end` is not in it and may be Infinity. */
export interface BlockRange {
  readonly begin: number;
  readonly end: number;
}

/** Which part of the far context some head sees. */
export interface S2Coverage {
  /** Whether every pair of blocks is visited by a layout. */
  readonly isFull: boolean;
  /** Residues modulo vertStride of the far blocks that a layout visits, and of those that none does; ascending. */
  readonly seen: Int32Array;
  readonly missing: Int32Array;
}

/**
 * Plans an S2 pattern. Blocks are numbered from position 0, layouts as the model's heads: layout 0 belongs to its first head.
 * @param options those of stridedShards() with absolute positions, and `numHeads`
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION
 */
export function s2Layout(options: S2LayoutOptions): S2Layout {
  return new S2Layout(options);
}

export class S2Layout {
  readonly blockSize: number;
  readonly localBlocks: number;
  readonly vertStride: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  /** The model's number of the first query head that the tensors have, from `headBase`. */
  readonly firstHead: number;
  /** Layouts of the model: one per query head, per KV head, or for all. */
  readonly numLayouts: number;
  /** From layout to layout, resolved from presets and head counts; modulo vertStride. */
  readonly headStep: number;
  readonly headOffset: number;
  readonly #pattern: StridedShardsPattern;
  readonly #layouts: ShardLayouts;
  /** The pattern in blocks, and in tokens. */
  readonly #blocks: ShardSights;
  readonly #tokens: ShardSights;
  /** Rows that were asked lately, by layout and block: who asks for one block of a row asks for the next, and around it. */
  readonly #rows = new Map<number, Map<number, Int32Array>>();
  #rowEntries = 0;
  /** Per layout: the blocks of the first vertStride that it keeps; asked when they are wanted first. */
  readonly #kept = new Map<number, readonly Range[]>();
  /** Those that some layout keeps. */
  #covered: readonly Range[] | undefined;

  /** As s2Layout(). */
  constructor(options: S2LayoutOptions) {
    checkNames('s2Layout()', options, stridedShardsNames);
    this.numHeads = checkInteger('numHeads', options.numHeads, 1, maxTokens);
    const { numHeads } = this;
    const { numKvHeads = numHeads } = options;
    this.numKvHeads = checkInteger('numKvHeads', numKvHeads, 1, numHeads);
    this.#pattern = stridedShards({ ...options, numHeads, numKvHeads });
    const { positions, localBlocks, blockSize, vertStride, layoutPer, headBase } = this.#pattern;
    if (positions !== 'absolute' || typeof localBlocks !== 'number') {
      throw new TilewiseTypeError(
        'ERR_TILEWISE_INVALID_OPTION',
        "`positions` must be 'absolute' for s2Layout(), not 'relative': no key block is ever done with",
      );
    }
    if (numHeads % numKvHeads !== 0) {
      throw new TilewiseTypeError(
        'ERR_TILEWISE_INVALID_OPTION',
        `\`numHeads\` ${numHeads} must be a multiple of \`numKvHeads\` ${numKvHeads}`,
      );
    }
    // Of the whole model: where these tensors begin in it does not change what a layout is.
    this.#layouts = shardLayouts({ ...this.#pattern, headBase: 0 }, numHeads, numKvHeads);
    if (this.#pattern.requireFullCoverage) checkCoverage(this.#pattern, this.#layouts);
    this.blockSize = blockSize;
    this.localBlocks = localBlocks;
    this.vertStride = vertStride;
    this.#blocks = new ShardSights(this.#pattern, this.#layouts, 1);
    this.#tokens = new ShardSights(this.#pattern, this.#layouts, blockSize);
    this.firstHead = layoutPer === 'q' ? headBase : (headBase * numHeads) / numKvHeads;
    this.numLayouts = this.#layouts.count;
    this.headStep = this.#layouts.step;
    this.headOffset = this.#layouts.offset;
  }

  /** The layout of one of the model's query heads. */
  layoutOf(head: number): number {
    checkInteger('head', head, 0, this.numHeads - 1);
    return Math.floor(head / this.#layouts.headsPerLayout);
  }

  /** Whether layout `l` shows the queries of block `qb` the keys of block `kb`. */
  visits(l: number, qb: number, kb: number): boolean {
    const row = this.#row(l, qb);
    checkBlock('kb', kb);
    return row[positionIn(row, kb)] === kb;
  }

  /** The key blocks that layout `l` shows to query block `qb`, ascending. */
  row(l: number, qb: number): Int32Array {
    return this.#row(l, qb).slice();
  }

  /** The query blocks that layout `l` shows key block `kb` to. */
  column(l: number, kb: number): BlockRange {
    this.#checkLayout(l);
    checkBlock('kb', kb);
    return { begin: kb, end: this.#keeps(l, kb) ? Number.POSITIVE_INFINITY : kb + this.localBlocks };
  }

  /** The rows of all layouts for `numBlocks` blocks: int32 tensors that `blocks({ csr })` takes. */
  csr(numBlocks: number): { rowOffsets: Tensor<'int32'>; columns: Tensor<'int32'> } {
    checkInteger('numBlocks', numBlocks, 0, maxTokens);
    const rowOffsets = allocating(() => new Int32Array(this.numLayouts * (numBlocks + 1)));
    const layouts = Array.from({ length: this.numLayouts }, (_, layout) => {
      const rows = this.rows(Array.from({ length: numBlocks }, (_, qb) => ({ layout, begin: qb, end: qb + 1 })));
      let end = 0;
      rows.forEach((row, qb) => {
        rowOffsets[layout * (numBlocks + 1) + qb + 1] = end += row.length;
      });
      return rows;
    });
    const most = Math.max(...layouts.map((_, layout) => rowOffsets[(layout + 1) * (numBlocks + 1) - 1]));
    const columns = allocating(() => new Int32Array(this.numLayouts * most)).fill(-1);
    layouts.forEach((rows, layout) => {
      rows.forEach((row, qb) => {
        columns.set(row, layout * most + rowOffsets[layout * (numBlocks + 1) + qb]);
      });
    });
    return {
      rowOffsets: new Tensor('int32', rowOffsets, [this.numLayouts, numBlocks + 1]),
      columns: new Tensor('int32', columns, [this.numLayouts, most]),
    };
  }

  /**
   * Which far blocks some head sees.
   * @param numBlocks judge a sequence of so many blocks; default one without end
   */
  coverage(numBlocks = Number.POSITIVE_INFINITY): S2Coverage {
    if (numBlocks !== Number.POSITIVE_INFINITY) checkInteger('numBlocks', numBlocks, 0, maxTokens);
    const { vertStride } = this;
    this.#covered ??= coveredBlocks(this.#pattern, this.#layouts);
    const covered = this.#covered;
    const missing = membersOf(gapsOf(covered, vertStride));
    // The first far block of a residue is the residue itself.
    const farBlocks = numBlocks - this.localBlocks;
    return {
      isFull: missing.every((residue) => residue >= farBlocks),
      seen: membersOf(covered),
      missing,
    };
  }

  /** The residues modulo vertStride whose blocks a KV head of the model keeps for good: those of its query heads. */
  keptResidues(kvHead: number): Int32Array {
    return membersOf(unionOf(this.#layoutsOf(kvHead).flatMap((layout) => this.#keptBy(layout))));
  }

  /** The key blocks that a KV head of the model needs for the queries of block `qb` and all after them, ascending. */
  retainedBlocks(qb: number, kvHead: number): Int32Array {
    checkBlock('qb', qb);
    const [needed] = this.neededBlocks({ begin: qb, end: qb + 1 }, [kvHead]);
    return Int32Array.from(needed).sort();
  }

  /**
   * The key blocks that each of some KV heads needs for the queries of a range of blocks and all after them: a block
   * that leaves sight never comes back.
   * @internal
   */
  neededBlocks({ begin, end }: Range, kvHeads: readonly number[]): Set<number>[] {
    const layouts = kvHeads.map((kvHead) => this.#layoutsOf(kvHead));
    const distinct = [...new Set(layouts.flat())];
    const rows = this.rows(distinct.map((layout) => ({ layout, begin, end })));
    const rowOf = new Map(distinct.map((layout, i) => [layout, rows[i]]));
    return layouts.map((own) => {
      const needed = new Set<number>();
      for (const layout of own) for (const block of rowOf.get(layout) ?? []) needed.add(block);
      return needed;
    });
  }

  /**
   * The key blocks that ranges of query blocks see, ascending in each.
   * @internal
   */
  rows(blocks: readonly LayoutRange[]): Int32Array[] {
    return rowsOf(this.#blocks.of(blocks), blocks.length);
  }

  /**
   * How far the queries at a range of positions see: the end of the last key of each.
   * @internal
   */
  reaches({ begin, end }: Range): Int32Array {
    const queries = Array.from({ length: end - begin }, (_, i) => ({
      layout: 0,
      begin: begin + i,
      end: begin + i + 1,
    }));
    return Int32Array.from(runsOf(this.#tokens.of(queries), queries.length), (runs) => runs.at(-1)?.end ?? 0);
  }

  /**
   * The place of a block in a cache of fixed places: blocks that stay have a list that only grows, the others a ring of
   * localBlocks + 1 places.
   */
  slotOf(kb: number, kvHead = 0): { readonly isKept: boolean; readonly slot: number } {
    checkBlock('kb', kb);
    const kept = this.keptResidues(kvHead);
    const place = kept.indexOf(kb % this.vertStride);
    if (place < 0) return { isKept: false, slot: kb % (this.localBlocks + 1) };
    return { isKept: true, slot: Math.floor(kb / this.vertStride) * kept.length + place };
  }

  #row(l: number, qb: number): Int32Array {
    const known = this.#rows.get(l)?.get(qb);
    if (known) return known;
    this.#checkLayout(l);
    checkBlock('qb', qb);
    const [row] = this.rows([{ layout: l, begin: qb, end: qb + 1 }]);
    this.#rowEntries += row.length + 1;
    if (this.#rowEntries > mostRowEntries) {
      this.#rows.clear();
      this.#rowEntries = row.length + 1;
    }
    const ofLayout = this.#rows.get(l) ?? new Map<number, Int32Array>();
    this.#rows.set(l, ofLayout.set(qb, row));
    return row;
  }

  /** The layouts of the query heads that share a KV head, each once. */
  #layoutsOf(kvHead: number): number[] {
    checkInteger('kvHead', kvHead, 0, this.numKvHeads - 1);
    const group = this.numHeads / this.numKvHeads;
    return [...new Set(Array.from({ length: group }, (_, i) => this.layoutOf(kvHead * group + i)))];
  }

  #keptBy(layout: number): readonly Range[] {
    let kept = this.#kept.get(layout);
    if (!kept) {
      [kept] = keptBlocks(this.#pattern, this.#layouts, [layout]);
      this.#kept.set(layout, kept);
    }
    return kept;
  }

  #keeps(l: number, kb: number): boolean {
    return holds(this.#keptBy(l), kb % this.vertStride);
  }

  #checkLayout(l: number): void {
    checkInteger('l', l, 0, this.numLayouts - 1);
  }
}

/** Memory of rows that were asked lately: 256 KiB. */
const mostRowEntries = 1 << 16;

const checkBlock = (name: string, block: number): number => checkInteger(name, block, 0, maxTokens - 1);

const holds = (ranges: readonly Range[], at: number): boolean =>
  ranges.some(({ begin, end }) => begin <= at && at < end);

/** The place of the first number in an ascending list that is not below `value`. */
function positionIn(list: Int32Array, value: number): number {
  let [begin, end] = [0, list.length];
  while (begin < end) {
    const middle = (begin + end) >> 1;
    if (list[middle] < value) begin = middle + 1;
    else end = middle;
  }
  return begin;
}

/** What ascending ranges leave out below `end`. */
function gapsOf(ranges: readonly Range[], end: number): Range[] {
  const begins = [0, ...ranges.map((range) => range.end)];
  const ends = [...ranges.map((range) => range.begin), end];
  return begins.map((begin, i) => ({ begin, end: ends[i] }));
}
