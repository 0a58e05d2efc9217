// Asking: a predicate asked about every pair of its blocks once, in slices that leave the event loop free.
// Assumes that a predicate always answers the same: answers are kept with the function. Reader: someone who wonders how
// often a predicate is asked. Idea: FlexAttention's create_block_mask, which asks once where the mask has one head.

import { allocating, show, TilewiseTypeError } from '../check/errors.js';
import { type BlockTable, listIn, sourcesIn } from './block-table.js';
import type { AskingProgress, MaskPredicate } from './predicate.js';
import { TokenMasks } from './token-masks.js';

/**
 * Sizes of blocks on tensors of this shape: one block of everything is the same however large it claims to be, and its
 * masks need not be larger than it.
 */
export const clippedSizes = (
  { blockQ, blockK }: Pick<Question, 'blockQ' | 'blockK'>,
  { queries, keys }: Pick<Question, 'queries' | 'keys'>,
) => ({
  blockQ: Math.min(blockQ, Math.max(queries, 1)),
  blockK: Math.min(blockK, Math.max(keys, 1)),
  queries,
  keys,
});

/** Pairs to ask a predicate about. */
export interface Question {
  readonly predicate: MaskPredicate;
  readonly blockQ: number;
  readonly blockK: number;
  readonly queries: number;
  readonly keys: number;
  /** Batch entries and heads that are asked about one by one. */
  readonly batch: number;
  readonly heads: number;
  /** The blocks of every list; its axes may be 1, for all. */
  readonly listed: BlockTable;
}

/** Blocks of which something is visible, by [batch, heads, queryBlocks]. */
export interface CutTable extends BlockTable {
  /** Per column the number of its token mask, or `whole` of token-masks.ts. */
  readonly masks: Int32Array;
  readonly tokenMasks: TokenMasks;
}

/** Milliseconds of a slice; with the pairs until the next look at the clock it stays below 10. */
const sliceMs = 8;
/** Milliseconds from one look at the clock to the next, roughly. */
const lookMs = 0.25;
const fewestPairs = 32;
const mostPairs = 16384;

/** How far an asking is, and when it looks at the clock. */
interface Pace {
  /** Pairs asked so far. */
  asked: number;
  /** So many will have been asked when it looks next. */
  due: number;
  /** Pairs from that look to the one after it. */
  pairs: number;
}

/** A question on its way: whoever needs the answers carries it on, from where the last one has left it. */
export class Asking {
  readonly question: Question;
  readonly total: number;
  #answers: CutTable | undefined;
  #failure: { readonly error: unknown } | undefined;
  readonly #pace: Pace = { asked: 0, due: fewestPairs, pairs: fewestPairs };
  readonly #work: Generator<undefined, CutTable>;

  constructor(question: Question, answers?: CutTable) {
    this.question = question;
    this.total = pairsOf(question);
    this.#answers = answers;
    this.#work = ask(question, this.#pace);
  }

  /** The answers; undefined before the last pair has been asked. */
  get answers(): CutTable | undefined {
    return this.#answers;
  }

  /** Asks the rest at once. */
  finish(): CutTable {
    this.#pace.pairs = Number.POSITIVE_INFINITY;
    while (this.#answers === undefined) this.#advance();
    return this.#answers;
  }

  /**
   * Asks the rest in slices of at most 10 ms, each in a turn of the event loop of its own.
   * @throws what the predicate or `onProgress` throws, or the signal's reason
   */
  async finishInSlices(signal: AbortSignal | undefined, onProgress: AskingProgress | undefined): Promise<CutTable> {
    signal?.throwIfAborted();
    while (this.#answers === undefined) {
      await ownTurn();
      signal?.throwIfAborted();
      this.#slice();
      onProgress?.(this.#pace.asked, this.total);
    }
    keep(this); // others may have been kept in its place meanwhile
    return this.#answers;
  }

  #slice(): void {
    let now = performance.now();
    const end = now + sliceMs;
    while (this.#answers === undefined && now < end) {
      const before = now;
      this.#advance();
      now = performance.now();
      if (now - before < lookMs / 2) this.#pace.pairs = Math.min(2 * this.#pace.pairs, mostPairs);
      else if (now - before > 2 * lookMs) this.#pace.pairs = Math.max(this.#pace.pairs / 2, fewestPairs);
    }
  }

  /** Asks until the next look at the clock. */
  #advance(): void {
    if (this.#failure) throw this.#failure.error;
    try {
      const { done, value } = this.#work.next();
      if (done) this.#answers = value;
    } catch (error) {
      this.#failure = { error };
      forget(this);
      throw error;
    }
  }
}

let turns: Promise<unknown> = Promise.resolve();

/** Waits for a turn of the event loop that no other slice has. */
function ownTurn(): Promise<unknown> {
  turns = turns.then(() => new Promise(setImmediate));
  return turns;
}

/** Pairs of all blocks of all lists. */
function pairsOf({ listed, batch, heads, blockQ, blockK, queries, keys }: Question): number {
  const [ofBatch, ofHeads, rows] = listed.dims;
  let pairs = 0;
  for (let list = 0; list + 1 < listed.offsets.length; ++list) {
    const height = Math.min(blockQ, queries - (list % rows) * blockQ);
    for (const block of listIn(listed, list)) pairs += height * Math.min(blockK, keys - block * blockK);
  }
  return pairs === 0 ? 0 : pairs * (batch / ofBatch) * (heads / ofHeads);
}

/** Asks about every pair of every list; yields whenever it is time to look at the clock. */
function* ask(question: Question, pace: Pace): Generator<undefined, CutTable> {
  const { blockQ, blockK, queries, keys, batch, heads, listed } = question;
  const rows = listed.dims[2];
  const sourceOf = sourcesIn(listed, heads);
  const offsets = allocating(() => new Int32Array(batch * heads * rows + 1));
  const columns: number[] = [];
  const masks: number[] = [];
  const tokenMasks = new TokenMasks(blockQ * blockK);
  for (let list = 0; list + 1 < offsets.length; ++list) {
    const query = (list % rows) * blockQ;
    const lastQuery = Math.min(query + blockQ, queries);
    const whose = { batch: Math.floor(list / rows / heads), head: Math.floor(list / rows) % heads };
    for (const block of listIn(listed, sourceOf(list))) {
      const key = block * blockK;
      const lastKey = Math.min(key + blockK, keys);
      const cut: Cut = { ...whose, query, lastQuery, key, firstKey: key, lastKey, at: 0, visible: 0 };
      const mask = tokenMasks.draft();
      while (!askOn(question, cut, mask, pace)) {
        yield;
        pace.due = pace.asked + pace.pairs;
      }
      const number = tokenMasks.settle(cut.visible, (lastQuery - query) * (lastKey - key));
      if (number === undefined) continue;
      columns.push(block);
      masks.push(number);
    }
    offsets[list + 1] = columns.length;
  }
  const dims = [batch, heads, rows] as const;
  return { dims, offsets, columns: Int32Array.from(columns), masks: Int32Array.from(masks), tokenMasks };
}

/** A block that is being asked about, and how far that is. */
interface Cut {
  readonly batch: number;
  readonly head: number;
  /** The next pair. */
  query: number;
  key: number;
  readonly firstKey: number;
  readonly lastQuery: number;
  readonly lastKey: number;
  /** Where the row of the next pair begins in the mask. */
  at: number;
  visible: number;
}

/** Asks about a block, from its next pair on, and writes what is visible. Returns false when it is time to look first. */
function askOn({ predicate, blockK }: Question, cut: Cut, mask: Uint8Array, pace: Pace): boolean {
  const { batch, head, lastQuery, firstKey, lastKey } = cut;
  while (cut.query < lastQuery) {
    const left = pace.due - pace.asked;
    if (left <= 0) return false;
    // Whole rows as far as the pace allows; one that is longer in pieces.
    const { query, key, at } = cut;
    const whole = key > firstKey ? 0 : Math.min(Math.floor(left / (lastKey - firstKey)), lastQuery - query);
    const rows = Math.max(whole, 1);
    const end = whole > 0 ? lastKey : Math.min(lastKey, key + left);
    cut.visible += askPairs(predicate, batch, head, query, query + rows, key, end, mask, at + key - firstKey, blockK);
    pace.asked += rows * (end - key);
    cut.key = end === lastKey ? firstKey : end;
    if (end < lastKey) continue;
    cut.query = query + rows;
    cut.at = at + rows * blockK;
  }
  return true;
}

/**
 * Asks about a rectangle of pairs, and writes what is visible from mask[at] on, `width` bytes a row. Returns how many are.
 * A loop with nothing around it: the engine may put a predicate inside.
 */
function askPairs(
  predicate: MaskPredicate,
  batch: number,
  head: number,
  firstQuery: number,
  lastQuery: number,
  firstKey: number,
  lastKey: number,
  mask: Uint8Array,
  at: number,
  width: number,
): number {
  let visible = 0;
  for (let query = firstQuery, row = at; query < lastQuery; ++query, row += width) {
    for (let key = firstKey; key < lastKey; ++key) {
      const answer: unknown = predicate(batch, head, query, key);
      if (answer === true) {
        mask[row + key - firstKey] = 1;
        ++visible;
      } else if (answer !== false) {
        throw notBoolean(answer, { batch, head, query, key });
      }
    }
  }
  return visible;
}

const notBoolean = (answer: unknown, pair: Record<string, number>): Error =>
  new TilewiseTypeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `\`predicate\` must return true or false, not ${show(answer)} (of ${Object.entries(pair).flat().join(' ')})`,
  );

/** Questions that a function has been asked, the last one last. */
const kept = new WeakMap<MaskPredicate, readonly Asking[]>();
const keptOf = (predicate: MaskPredicate): readonly Asking[] => kept.get(predicate) ?? [];

/** Questions kept per function, for those that serve a few lengths in turn. */
const mostKept = 8;

/** The asking of a question: one that has been begun or answered, or a new one. */
export const askingOf = (question: Question): Asking =>
  keep(keptOf(question.predicate).find((asking) => isSame(asking.question, question)) ?? new Asking(question));

/** Keeps answers that are known from another question. */
export const keepAnswers = (question: Question, answers: CutTable): Asking => keep(new Asking(question, answers));

/** Keeps an asking as the last one. */
function keep(asking: Asking): Asking {
  const { question } = asking;
  const others = keptOf(question.predicate).filter((other) => !isSame(other.question, question));
  kept.set(question.predicate, [...others, asking].slice(-mostKept));
  return asking;
}

/** A question whose predicate has thrown may be asked again. */
function forget(asking: Asking): void {
  const { predicate } = asking.question;
  kept.set(
    predicate,
    keptOf(predicate).filter((other) => other !== asking),
  );
}

const sizes = ['blockQ', 'blockK', 'queries', 'keys', 'batch', 'heads'] as const;

/** Whether two questions to one function are about the same pairs. */
const isSame = (a: Question, b: Question): boolean =>
  sizes.every((size) => a[size] === b[size]) &&
  (a.listed === b.listed ||
    (a.listed.dims.every((length, axis) => length === b.listed.dims[axis]) &&
      isEqual(a.listed.offsets, b.listed.offsets) &&
      isEqual(a.listed.columns, b.listed.columns)));

const bytesOf = ({ buffer, byteOffset, byteLength }: Int32Array): Buffer => Buffer.from(buffer, byteOffset, byteLength);
const isEqual = (a: Int32Array, b: Int32Array): boolean => bytesOf(a).equals(bytesOf(b));
