// The pages of a pool: how many are left, what appending takes, and where the tokens of sequences are.
// Reader: someone who follows a KvPool. Without codes a page has tokens of all layers. With codes each layer has pages for exact tokens
// and blocks of codes, of as many tokens each; a block counts as a page.

import type { FormatSettings } from '../stores/kv-format.js';
import { CodedTokens, tiersOf } from './coded-tokens.js';
import { KvPages, type KvSizes } from './kv-pages.js';
import type { KvPart } from './kv-parts.js';
import { KvRun } from './kv-run.js';
import { LastingSummaries } from './lasting-summaries.js';

/** What one sequence has: a part of all layers, or one for each. */
export type SequenceParts = readonly KvPart[];

export interface PoolPages {
  readonly sizes: KvSizes;
  /** Pages that may still be taken, in every layer; and in one. */
  readonly left: number;
  leftOf(layer: number): number;
  readonly bytes: number;
  /** The parts of a new sequence. */
  sequence(): SequenceParts;
  /** A layer of some sequences as one call reads it, and which of the part's layers it is. */
  partOf(layer: number, sequences: readonly SequenceParts[]): { readonly part: KvPart; readonly layer: number };
  /** Pages that a sequence refers to. */
  heldBy(sequence: SequenceParts): number;
  /** Pages that are taken once so many tokens are appended to a layer, less those that it lets go of then. */
  neededFor(sequence: SequenceParts, layer: number, count: number): number;
}

export class ExactPages implements PoolPages {
  readonly #pool: KvPages;

  constructor(sizes: KvSizes & { readonly mostPages: number }) {
    this.#pool = new KvPages(sizes);
    for (let layer = 0; layer < sizes.layers; ++layer) this.#pool.reserve(layer, sizes.mostPages);
  }

  get sizes(): KvSizes {
    return this.#pool.sizes;
  }

  get left(): number {
    return this.#pool.left;
  }

  leftOf(): number {
    return this.left;
  }

  get bytes(): number {
    return (this.#pool.counts.taken + this.#pool.left) * this.#pool.pageBytes;
  }

  sequence(): SequenceParts {
    return [partOf(this.#pool, [new KvRun(this.#pool, undefined)])];
  }

  partOf(layer: number, sequences: readonly SequenceParts[]) {
    return {
      part: partOf(
        this.#pool,
        sequences.map(([{ runs }]) => runs[0]),
      ),
      layer,
    };
  }

  heldBy([{ runs }]: SequenceParts): number {
    return runs[0].held;
  }

  neededFor([{ runs }]: SequenceParts, layer: number, count: number): number {
    return runs[0].pagesFor(layer, count);
  }
}

export class CodedPages implements PoolPages {
  readonly sizes: KvSizes & { readonly mostPages: number };
  readonly #layers: readonly KvPart[];

  /** @param sizes pages are as long as the blocks of the format */
  constructor(sizes: KvSizes & { readonly mostPages: number }, format: FormatSettings) {
    const { layers, mostPages: _, hasSummaries, ...rest } = sizes;
    const ofLayer = { ...rest, layers: 1 };
    this.sizes = sizes;
    this.#layers = Array.from({ length: layers }, () => {
      const summaries = hasSummaries ? new LastingSummaries(ofLayer) : undefined;
      const codes = new CodedTokens(format, tiersOf(sizes.device, format, sizes.kvHeads), summaries);
      return { ...partOf(new KvPages(ofLayer), []), codes };
    });
  }

  get left(): number {
    return Math.min(...this.#layers.map((_, layer) => this.leftOf(layer)));
  }

  leftOf(layer: number): number {
    const { pool, codes } = this.#layers[layer];
    return codes!.tiers.reduce((left, { counts }) => left - counts.taken, this.sizes.mostPages - pool.counts.taken);
  }

  /** Of what has been in use: pages and blocks are made when they are needed. */
  get bytes(): number {
    return this.#layers.reduce(
      (sum, { pool, codes }) =>
        codes!.tiers.reduce((all, tier) => all + tier.counts.made * tier.blockBytes, sum) +
        pool.counts.made * pool.pageBytes,
      0,
    );
  }

  sequence(): SequenceParts {
    return this.#layers.map((part) => ({
      ...part,
      runs: [new KvRun(part.pool, undefined)],
      codes: part.codes!.empty(1),
    }));
  }

  partOf(layer: number, sequences: readonly SequenceParts[]) {
    const ofLayer = sequences.map((parts) => parts[layer]);
    const part = {
      ...this.#layers[layer],
      runs: ofLayer.map(({ runs }) => runs[0]),
      codes: this.#layers[layer].codes!.of(ofLayer.map(({ codes }) => codes!.runs[0])),
    };
    return { part, layer: 0 };
  }

  heldBy(sequence: SequenceParts): number {
    return Math.max(...sequence.map(({ runs, codes }) => runs[0].held + codes!.blocksOf(0)));
  }

  neededFor(sequence: SequenceParts, layer: number, count: number): number {
    if (count === 0) return 0;
    const { runs, codes } = sequence[layer];
    const length = runs[0].lengthOf(0) + count;
    return codes!.blocksFor(0, length) + runs[0].pagesAcross(count, codes!.codedLengthAt(length));
  }
}

/** All heads of a pool are alike. */
const partOf = (pool: KvPages, runs: readonly KvRun[]): KvPart => ({
  heads: { begin: 0, end: pool.sizes.kvHeads },
  horizon: undefined,
  pool,
  runs,
});
