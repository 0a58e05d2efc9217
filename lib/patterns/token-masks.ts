// Token masks: a byte per query and key of a listed block, 0 hides; equal ones are kept once.
// Assumes blocks of one size. Reader: someone who asks what a predicate's answers cost in memory.

import { allocating, TilewiseRangeError } from '../check/errors.js';

/** Token masks as native code reads them; absent when every entry is visible whole. */
export interface TokenMaskFields {
  /** Per entry: which of the masks applies, -1 for none. */
  readonly maskIndex?: Int32Array;
  /** [index][blockQueries][blockKeys], 0 hides. */
  readonly masks?: Uint8Array;
}

/** The mask of an entry that is visible whole, in place of a number. */
export const whole = -1;

/** Masks of one size, each kept once. */
export class TokenMasks {
  readonly #size: number;
  /** The mask that is being written; a whole number of words. */
  readonly #draft: Uint8Array;
  readonly #words: Uint32Array;
  readonly #kept: Uint8Array[] = [];
  /** Numbers of the masks that have one hash. */
  readonly #numbers = new Map<number, number[]>();

  /** @throws {RangeError} ERR_TILEWISE_INVALID_OPTION for blocks too large for a byte per pair */
  constructor(size: number) {
    if (size > 2 ** 31 - 1) {
      throw new TilewiseRangeError(
        'ERR_TILEWISE_INVALID_OPTION',
        `A predicate needs blocks of at most ${2 ** 31 - 1} pairs, not ${size}; make \`blockQ\` or \`blockK\` smaller`,
      );
    }
    this.#size = size;
    this.#words = allocating(() => new Uint32Array(Math.ceil(size / 4)));
    this.#draft = new Uint8Array(this.#words.buffer);
  }

  /** Zeros to write the next mask into, [blockQueries][blockKeys]. */
  draft(): Uint8Array {
    return this.#draft.fill(0);
  }

  /**
   * Ends a draft that shows so many of a block's pairs.
   * @returns the number of its mask; `whole` when all is visible, undefined when nothing is
   */
  settle(visible: number, pairs: number): number | undefined {
    if (visible === 0) return undefined;
    if (visible === pairs) return whole;
    const hash = hashOf(this.#words);
    const alike = this.#numbers.get(hash) ?? [];
    const known = alike.find((number) => Buffer.compare(this.#kept[number], this.#draft) === 0);
    if (known !== undefined) return known;
    const number = this.#kept.push(allocating(() => this.#draft.slice())) - 1;
    this.#numbers.set(hash, [...alike, number]);
    return number;
  }

  /** The masks of entries that have these numbers; nothing when all are visible whole. */
  fieldsOf(numbers: ArrayLike<number>): TokenMaskFields {
    if (this.#kept.length === 0) return {};
    const masks = allocating(() => new Uint8Array(this.#kept.length * this.#size));
    this.#kept.forEach((mask, i) => {
      masks.set(mask.subarray(0, this.#size), i * this.#size);
    });
    return { maskIndex: Int32Array.from(numbers), masks };
  }
}

/** FNV-1a, a word at a time. */
function hashOf(words: Uint32Array): number {
  let hash = 0x811c9dc5;
  for (const word of words) hash = Math.imul(hash ^ word, 0x01000193);
  return hash;
}
