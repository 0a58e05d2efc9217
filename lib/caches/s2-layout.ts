// s2Layout(): which blocks an S2 pattern visits, for whoever plans a cache, a schedule or a table.
// Reader: someone who builds around s2Attention(). This is planning data for callers; kernels have the rule from
// core/pattern/strided_shards.h and never see what is computed here.

import { TilewiseTypeError } from '../check/errors.js';
import { checkInteger, checkNames, maxTokens } from '../check/validate.js';
import {
  checkCoverage,
  residueOf,
  type ShardLayouts,
  type StridedShardsOptions,
  type StridedShardsPattern,
  seenResidues,
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

  /** As s2Layout(). */
  constructor(options: S2LayoutOptions) {
    checkNames('s2Layout()', options, stridedShardsNames);
    this.numHeads = checkInteger('numHeads', options.numHeads, 1, maxTokens);
    this.numKvHeads = checkInteger('numKvHeads', options.numKvHeads ?? this.numHeads, 1, this.numHeads);
    const { numHeads, numKvHeads } = this;
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
    this.#checkLayout(l);
    checkBlock('qb', qb);
    checkBlock('kb', kb);
    return kb <= qb && (qb - kb < this.localBlocks || this.#keeps(l, kb));
  }

  /** The key blocks that layout `l` shows to query block `qb`, ascending. */
  row(l: number, qb: number): Int32Array {
    this.#checkLayout(l);
    checkBlock('qb', qb);
    const window = Math.max(0, qb - this.localBlocks + 1);
    const [first, step] = this.#far(l);
    const far = first < window ? Math.ceil((window - first) / step) : 0;
    return Int32Array.from({ length: far + qb - window + 1 }, (_, i) =>
      i < far ? first + i * step : window + i - far,
    );
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
    const layouts = Array.from({ length: this.numLayouts }, (_, l) =>
      Array.from({ length: numBlocks }, (_, qb) => this.row(l, qb)),
    );
    const most = Math.max(...layouts.map((rows) => rows.reduce((sum, row) => sum + row.length, 0)));
    const rowOffsets = new Int32Array(this.numLayouts * (numBlocks + 1));
    const columns = new Int32Array(this.numLayouts * most).fill(-1);
    layouts.forEach((rows, l) => {
      let next = 0;
      rows.forEach((row, qb) => {
        columns.set(row, l * most + next);
        next += row.length;
        rowOffsets[l * (numBlocks + 1) + qb + 1] = next;
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
    const found = seenResidues(this.#pattern, this.#layouts);
    const isSeen = new Uint8Array(vertStride).fill(found ? 0 : 1);
    for (const residue of found ?? []) isSeen[residue] = 1;
    const residues = Int32Array.from({ length: vertStride }, (_, residue) => residue);
    const missing = residues.filter((residue) => !isSeen[residue]);
    // The first far block of a residue is the residue itself.
    const farBlocks = numBlocks - this.localBlocks;
    return {
      isFull: missing.every((residue) => residue >= farBlocks),
      seen: residues.filter((r) => isSeen[r]),
      missing,
    };
  }

  /** The residues modulo vertStride whose blocks a KV head of the model keeps for good: those of its query heads. */
  keptResidues(kvHead: number): Int32Array {
    checkInteger('kvHead', kvHead, 0, this.numKvHeads - 1);
    const group = this.numHeads / this.numKvHeads;
    const kept = new Set<number>();
    for (let head = kvHead * group; head < (kvHead + 1) * group; ++head) {
      const [first, step] = this.#far(this.layoutOf(head));
      for (let residue = first; residue < this.vertStride; residue += step) kept.add(residue);
    }
    return Int32Array.from(kept).sort();
  }

  /** The key blocks that a KV head of the model needs for the queries of block `qb` and all after them, ascending. */
  retainedBlocks(qb: number, kvHead: number): Int32Array {
    checkBlock('qb', qb);
    const kept = new Set(this.keptResidues(kvHead));
    const blocks = Int32Array.from({ length: qb + 1 }, (_, kb) => kb);
    return blocks.filter((kb) => qb - kb < this.localBlocks || kept.has(kb % this.vertStride));
  }

  /**
   * Where a cache of fixed places holds a block: blocks that stay have a list that only grows, the others a ring of
   * localBlocks + 1 places.
   */
  slotOf(kb: number, kvHead = 0): { readonly isKept: boolean; readonly slot: number } {
    checkBlock('kb', kb);
    const kept = this.keptResidues(kvHead);
    const place = kept.indexOf(kb % this.vertStride);
    if (place < 0) return { isKept: false, slot: kb % (this.localBlocks + 1) };
    return { isKept: true, slot: Math.floor(kb / this.vertStride) * kept.length + place };
  }

  /** The first far block of a layout, and the distance to the next. */
  #far(l: number): [first: number, step: number] {
    if (l >= this.#layouts.firstDense) return [0, 1];
    return [residueOf(this.#layouts, this.vertStride, l), this.vertStride];
  }

  #keeps(l: number, kb: number): boolean {
    const [first, step] = this.#far(l);
    return kb % step === first;
  }

  #checkLayout(l: number): void {
    checkInteger('l', l, 0, this.numLayouts - 1);
  }
}

const checkBlock = (name: string, block: number): number => checkInteger(name, block, 0, maxTokens);
