// blocks(): lists of key blocks for every block of queries, brought by the caller.
// Reader: someone who has a block mask. The formats are those people have: CSR (dkernel, onnxruntime), padded lists, and
// FlexAttention's BlockMask with its mask_mod; block-formats.ts reads them into one.

import { TilewiseTypeError } from '../check/errors.js';
import { checkBoolean, checkInteger, checkNames, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import { type Align, checkAlign } from './align.js';
import {
  type BlockCsr,
  type BlockIndexLists,
  type FlexBlockMask,
  readBlockMask,
  readCsr,
  readLists,
} from './block-formats.js';
import { type BlockTable, checkTable, refuseShared } from './block-table.js';
import { made } from './made.js';
import {
  type AskingProgress,
  checkIgnored,
  checkPredicate,
  checkProgress,
  type MaskPredicate,
  type PredicateAxis,
} from './predicate.js';

/** For every block of queries the blocks of keys it sees. */
export interface BlocksPattern {
  readonly kind: 'blocks';
  /** Queries per block of queries. */
  readonly blockQ: number;
  /** Keys per block of keys. */
  readonly blockK: number;
  /** Blocks that `predicate` looks into, or that are visible as they are when there is none. */
  readonly listed: BlockTable;
  /** Blocks that are visible whatever `predicate` says. */
  readonly full: BlockTable | undefined;
  readonly predicate: MaskPredicate | undefined;
  /** What `predicate` does not look at: it is not asked for one after the other of these. */
  readonly predicateIgnores: readonly PredicateAxis[];
  readonly onProgress: AskingProgress | undefined;
  /** The tokens that the lists are for, [queries, keys]; undefined: any that fit. */
  readonly seqLengths: readonly [queries: number, keys: number] | undefined;
  /** Hides what comes after a query's position, inside every block. */
  readonly causal: boolean;
  readonly align: Align;
}

export interface BlocksOptions {
  /** Queries per block; from 1. Block m has the rows from m * blockQ of q. */
  blockQ?: number;
  /** Keys per block; from 1. Block c has the rows from c * blockK of k. */
  blockK?: number;
  /** One of these three. Their batch axis may be 1, their heads axis 1, the KV heads or the heads. */
  csr?: BlockCsr;
  lists?: BlockIndexLists;
  blockMask?: FlexBlockMask;
  /**
   * FlexAttention's mask_mod, for all blocks but a BlockMask's full ones. Asynchronous calls ask it in slices of at most
   * 10 ms, `…Sync` calls and explain() at once; answers are kept with the function, for the last lengths it was asked about.
   */
  predicate?: MaskPredicate;
  /**
   * What `predicate` does not look at; default nothing. It is then asked once per list that the lists have for `'batch'` or
   * `'head'`, instead of once per batch entry or head.
   */
  predicateIgnores?: readonly PredicateAxis[];
  /** Told after every slice how many pairs `predicate` has been asked about, and of how many. */
  onProgress?: AskingProgress;
  /** Hide what comes after a query's position; default false. */
  causal?: boolean;
  /** Where queries are among the keys, for `causal`; default `'bottom-right'`. */
  align?: Align;
}

export const blocksNames = namesOf<BlocksOptions>({
  blockQ: 1,
  blockK: 1,
  csr: 1,
  lists: 1,
  blockMask: 1,
  predicate: 1,
  predicateIgnores: 1,
  onProgress: 1,
  causal: 1,
  align: 1,
});
const patternNames = namesOf<BlocksPattern>({
  kind: 1,
  blockQ: 1,
  blockK: 1,
  listed: 1,
  full: 1,
  predicate: 1,
  predicateIgnores: 1,
  onProgress: 1,
  seqLengths: 1,
  causal: 1,
  align: 1,
});

/**
 * Lists of key blocks for every block of queries. Lists need no order; the pattern keeps copies. Anything a list does not
 * name is neither computed nor read.
 * @param options see BlocksOptions: `blockQ` and `blockK`, one of `csr`, `lists` and `blockMask`, and what goes with it
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION (a block named twice, offsets
 *   that fall), ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_DTYPE (indices other than int32), ERR_TILEWISE_SHAPE_MISMATCH
 */
export function blocks(options: BlocksOptions): BlocksPattern {
  checkNames('blocks()', options, blocksNames);
  const { csr, lists, blockMask, causal, align } = options;
  const given = Object.entries({ csr, lists, blockMask }).filter(([, value]) => value !== undefined);
  if (given.length !== 1) {
    const names = given.map(([name]) => `\`${name}\``).join(' and ') || 'none';
    throw conflict(`blocks() needs one of \`csr\`, \`lists\` and \`blockMask\`, not ${names}`);
  }
  let tables: { listed: BlockTable; full?: BlockTable };
  if (csr !== undefined) tables = { listed: readCsr(csr) };
  else if (lists !== undefined) tables = { listed: readLists(lists) };
  else tables = readBlockMask(blockMask);
  return accept({
    kind: 'blocks',
    ...readSizes(options),
    listed: tables.listed,
    full: tables.full,
    ...readPredicate(options),
    seqLengths: readSeqLengths('blockMask.seqLengths', blockMask?.seqLengths),
    causal: causal !== undefined && checkBoolean('causal', causal),
    align: checkAlign(align),
  });
}

/** Checks a pattern that someone else may have built. */
export function checkBlocks(value: Record<string, unknown>): BlocksPattern {
  if (!is.object(value.listed)) throw invalid('pattern', 'what blocks() returns', value);
  const size = (name: string) => checkInteger(`pattern.${name}`, value[name], 1, maxTokens);
  const pattern: BlocksPattern = {
    kind: 'blocks',
    blockQ: size('blockQ'),
    blockK: size('blockK'),
    listed: checkTable('pattern.listed', value.listed),
    full: value.full === undefined ? undefined : checkTable('pattern.full', value.full),
    predicate: checkPredicate('pattern.predicate', value.predicate),
    predicateIgnores: checkIgnored('pattern.predicateIgnores', value.predicateIgnores),
    onProgress: checkProgress('pattern.onProgress', value.onProgress),
    seqLengths: readSeqLengths('pattern.seqLengths', value.seqLengths),
    causal: checkBoolean('pattern.causal', value.causal),
    align: checkAlign(value.align, 'pattern.align'),
  };
  checkNames('`pattern`', value, patternNames);
  return accept(pattern);
}

function accept(pattern: BlocksPattern): BlocksPattern {
  if (pattern.full) refuseShared(pattern.listed, pattern.full);
  return made(pattern);
}

/** blockQ and blockK, or a BlockMask's own sizes. */
function readSizes({ blockQ, blockK, blockMask }: BlocksOptions): { blockQ: number; blockK: number } {
  const own = is.object(blockMask) ? blockMask.blockSize : undefined;
  if (own === undefined) {
    return {
      blockQ: checkInteger('blockQ', blockQ, 1, maxTokens),
      blockK: checkInteger('blockK', blockK, 1, maxTokens),
    };
  }
  const pair: readonly unknown[] = Array.isArray(own) ? own : [own, own];
  if (pair.length !== 2) throw invalid('blockMask.blockSize', 'one number or a pair [queries, keys]', own);
  const [queries, keys] = pair.map((size) => checkInteger('blockMask.blockSize', size, 1, maxTokens));
  for (const [name, given, size] of [
    ['blockQ', blockQ, queries],
    ['blockK', blockK, keys],
  ] as const) {
    if (given !== undefined && given !== size) {
      throw invalid(name, `the number that \`blockMask.blockSize\` says, ${size}, or be left out`, given);
    }
  }
  return { blockQ: queries, blockK: keys };
}

/** The predicate beside the lists or inside a BlockMask, and what goes with it. */
function readPredicate({
  predicate,
  predicateIgnores,
  onProgress,
  blockMask,
}: BlocksOptions): Pick<BlocksPattern, 'predicate' | 'predicateIgnores' | 'onProgress'> {
  const beside = checkPredicate('predicate', predicate);
  const inside = checkPredicate('blockMask.predicate', blockMask?.predicate);
  if (beside && inside && beside !== inside) {
    throw conflict('`blockMask` was made with another `predicate` than the one beside it; leave that one out');
  }
  const ignored = [
    ...checkIgnored('predicateIgnores', predicateIgnores),
    ...checkIgnored('blockMask.predicateIgnores', blockMask?.predicateIgnores),
  ];
  const read = {
    predicate: beside ?? inside,
    predicateIgnores: checkIgnored('predicateIgnores', ignored),
    onProgress: checkProgress('onProgress', onProgress),
  };
  if (read.predicate) return read;
  if (ignored.length > 0) throw conflict('`predicateIgnores` needs `predicate` next to it');
  if (read.onProgress) throw conflict('`onProgress` needs `predicate` next to it');
  return read;
}

function readSeqLengths(name: string, value: unknown): BlocksPattern['seqLengths'] {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || value.length !== 2) throw invalid(name, 'a pair [queries, keys]', value);
  const [queries, keys] = value.map((tokens, i) => checkInteger(`${name}[${i}]`, tokens, 0, maxTokens));
  return Object.freeze([queries, keys] as const);
}

const conflict = (message: string): Error => new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);
