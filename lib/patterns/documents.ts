// documents(): documents one after the other in a row of tokens, and who sees whom.
// Reader: someone who packs documents into sequences, or runs a prefix language model. The rule is in
// core/pattern/document_ranges.h; here are its arguments and limits. Semantics: the masks of LongCA-bench (arXiv 2510.17896).

import { mismatch, type Shape } from '../call/shape.js';
import { calling, TilewiseTypeError } from '../check/errors.js';
import { checkBoolean, checkInteger, checkNames, invalid, maxTokens, namesOf } from '../check/validate.js';
import { native } from '../native/native.js';
import type { NativeRanges } from '../native/ranges.js';
import { type IntegerList, readIntegerList } from '../tensor/integers.js';
import { isList } from '../tensor/nested.js';
import { made } from './made.js';
import { bounded, readOneReach, type WindowReach } from './window.js';

/** Documents side by side in a row of tokens that are queries and keys alike. */
export interface DocumentsPattern {
  readonly kind: 'documents';
  /** Where each document begins, and where the last one ends; one list for all batch entries or one per entry. */
  readonly cuSeqlens: readonly Int32Array[];
  readonly causal: boolean;
  readonly blockCausal: number | undefined;
  readonly prefix: number | undefined;
  readonly shared: boolean;
  readonly lastSeesAll: boolean;
  readonly globalTokens: number | undefined;
  /** Keys visible before and after a query; Infinity: all of its document. */
  readonly left: number;
  readonly right: number;
}

/** Lengths or running totals: one list for all batch entries, or an array of lists, one per entry. */
export type DocumentLists = IntegerList | readonly IntegerList[];

export interface DocumentsOptions {
  /** Tokens of each document, in order; they add up to the queries and to the keys. */
  lengths?: DocumentLists;
  /** The same as running totals, from 0 to the number of queries and keys. */
  cuSeqlens?: DocumentLists;
  /** Queries see nothing after their own position; default false. */
  causal?: boolean;
  /**
   * Causal by blocks of so many tokens, counted from token 0: a query sees its document up to the end of its own block. In place
   * of `causal`.
   */
  blockCausal?: number;
  /** So many leading keys of a document are seen by all of its queries, also by those before them; default 0. */
  prefix?: number;
  /** The first document is a shared question: the others see it whole, and not each other. */
  shared?: boolean;
  /** The last document sees all others whole. */
  lastSeesAll?: boolean;
  /**
   * So many leading tokens are global: every query sees them and they see every key, whatever the documents and `window`, as far
   * as `causal` and `blockCausal` allow; default 0.
   */
  globalTokens?: number;
  /** Tokens visible around a query inside its document, inclusive: `{ left, right }` or `[left, right]` with -1 for all. */
  window?: WindowReach;
}

export const documentsNames = namesOf<DocumentsOptions>({
  lengths: 1,
  cuSeqlens: 1,
  causal: 1,
  blockCausal: 1,
  prefix: 1,
  shared: 1,
  lastSeesAll: 1,
  globalTokens: 1,
  window: 1,
});
const patternNames = namesOf<DocumentsPattern>({
  kind: 1,
  cuSeqlens: 1,
  causal: 1,
  blockCausal: 1,
  prefix: 1,
  shared: 1,
  lastSeesAll: 1,
  globalTokens: 1,
  left: 1,
  right: 1,
});

/**
 * Documents one after the other: a query sees keys of its own document, and what the options add. Every batch entry has the
 * same documents unless `lengths` or `cuSeqlens` has a list for each. Nothing of queries x keys is made: a query has at most three
 * ranges of keys.
 * @param options see DocumentsOptions; one of `lengths` and `cuSeqlens`
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION; of a call whose queries or keys are
 *   not as many as the documents have tokens, ERR_TILEWISE_SHAPE_MISMATCH
 */
export function documents(options: DocumentsOptions): DocumentsPattern {
  checkNames('documents()', options, documentsNames);
  const { lengths, cuSeqlens, causal, blockCausal, prefix, shared, lastSeesAll, globalTokens, window } = options;
  if ((lengths === undefined) === (cuSeqlens === undefined)) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      'documents() needs one of `lengths` and `cuSeqlens`: the tokens of each document, or their running totals',
    );
  }
  const count = (name: string, value: number | undefined, least: number) =>
    value === undefined ? undefined : checkInteger(name, value, least, maxTokens);
  const flag = (name: string, value: boolean | undefined) => value !== undefined && checkBoolean(name, value);
  const [left, right] = window === undefined ? [open, open] : readOneReach(window);
  return checkTogether(
    made({
      kind: 'documents',
      cuSeqlens: Object.freeze(
        lengths === undefined ? readLists('cuSeqlens', cuSeqlens, checkTotals) : readLists('lengths', lengths, addUp),
      ),
      causal: flag('causal', causal),
      blockCausal: count('blockCausal', blockCausal, 1),
      prefix: count('prefix', prefix, 0),
      shared: flag('shared', shared),
      lastSeesAll: flag('lastSeesAll', lastSeesAll),
      globalTokens: count('globalTokens', globalTokens, 0),
      left,
      right,
    }),
  );
}

/** Checks documents that someone else may have built. */
export function checkDocuments(value: Record<string, unknown>): DocumentsPattern {
  checkNames('`pattern`', value, patternNames);
  const { kind: _, left = open, right = open, ...options } = value;
  return documents({ ...options, window: { left, right } } as DocumentsOptions);
}

const open = Number.POSITIVE_INFINITY;

function checkTogether(pattern: DocumentsPattern): DocumentsPattern {
  if (pattern.causal && pattern.blockCausal !== undefined) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      '`blockCausal` is causal by blocks and `causal` by tokens; leave one out',
    );
  }
  return pattern;
}

/** Lists of any form, each read into running totals. */
function readLists(name: string, value: unknown, read: (name: string, list: Int32Array) => Int32Array): Int32Array[] {
  const areMany =
    Array.isArray(value) && value.length > 0 && value.findIndex((one) => !isList(one) && typeof one !== 'object') < 0;
  if (!areMany) return [read(name, readIntegerList(name, value))];
  return (value as readonly unknown[]).map((list, i) => {
    const one = `${name}[${i}]`;
    return read(one, readIntegerList(one, list));
  });
}

function addUp(name: string, lengths: Int32Array): Int32Array {
  const totals = new Int32Array(lengths.length + 1);
  let total = 0;
  for (const [i, length] of lengths.entries()) {
    total += checkInteger(`${name}[${i}]`, length, 0, maxTokens);
    if (total > maxTokens) throw invalid(name, `lengths of at most ${maxTokens} tokens in all, a number`, total);
    totals[i + 1] = total;
  }
  return totals;
}

function checkTotals(name: string, totals: Int32Array): Int32Array {
  if (totals.length === 0) throw invalid(name, 'running totals from 0', totals);
  checkInteger(`${name}[0]`, totals[0], 0, 0);
  for (let i = 1; i < totals.length; ++i) checkInteger(`${name}[${i}]`, totals[i], totals[i - 1], maxTokens);
  return totals.slice();
}

/** What the queries of a call see, as rows of ranges: a list for each list of documents. */
export function rangesOfDocuments(pattern: DocumentsPattern, shape: Shape): NativeRanges {
  const { cuSeqlens, causal, shared, lastSeesAll } = pattern;
  checkFits(pattern, shape);
  return calling(() =>
    native.documentRanges({
      starts: cuSeqlens,
      causal,
      blockCausal: pattern.blockCausal ?? 0,
      prefix: pattern.prefix ?? 0,
      shared,
      lastSeesAll,
      globalTokens: pattern.globalTokens ?? 0,
      left: bounded(pattern.left),
      right: bounded(pattern.right),
    }),
  );
}

function checkFits({ cuSeqlens }: DocumentsPattern, { batch, queries, keys }: Shape): void {
  if (cuSeqlens.length !== 1 && cuSeqlens.length !== batch) {
    throw mismatch(
      `documents() has ${cuSeqlens.length} lists in \`cuSeqlens\` or \`lengths\`, but the batch is ${batch}`,
    );
  }
  for (const totals of cuSeqlens) {
    const tokens = totals[totals.length - 1];
    if (tokens === queries && tokens === keys) continue;
    throw mismatch(
      `documents() has ${tokens} tokens, the last entry of \`cuSeqlens\` and the sum of \`lengths\`, but the call has ` +
        `${queries} queries and ${keys} keys: documents are of queries and keys alike`,
    );
  }
}
