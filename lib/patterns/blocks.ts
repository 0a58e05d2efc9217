// blocks(): lists of key blocks for every block of queries, brought by the caller.
// Reader: someone who has a block mask. The formats are those people have: CSR (dkernel, onnxruntime), padded lists, and
// FlexAttention's BlockMask with its mask_mod; block-formats.ts reads them into one.

import { TilewiseTypeError } from '../check/errors.js';
import { checkBoolean, checkInteger, checkNames, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import { type Align, checkAlign } from './align.js';
import {
  type BlockCsr,
  type BlockIndexLists,
  type BlockTable,
  checkTable,
  type FlexBlockMask,
  readBlockMask,
  readCsr,
  readLists,
  refuseShared,
} from './block-formats.js';
import { made } from './made.js';

/**
 * FlexAttention's mask_mod: whether `query` of `head` of batch entry `batch` sees `key`, rows of their tensors. It must
 * always answer the same: it is asked once for each pair of the listed blocks and shape, not in every call.
 */
export type MaskPredicate = (batch: number, head: number, query: number, key: number) => boolean;

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
  /** FlexAttention's mask_mod, for all blocks but a BlockMask's full ones. */
  predicate?: MaskPredicate;
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
  const { csr, lists, blockMask, predicate, causal, align } = options;
  const given = Object.entries({ csr, lists, blockMask }).filter(([, value]) => value !== undefined);
  if (given.length !== 1) {
    const names = given.map(([name]) => `\`${name}\``).join(' and ') || 'none';
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `blocks() needs one of \`csr\`, \`lists\` and \`blockMask\`, not ${names}`,
    );
  }
  const sizes = readSizes(options);
  let tables: { listed: BlockTable; full?: BlockTable };
  if (csr !== undefined) tables = { listed: readCsr(csr) };
  else if (lists !== undefined) tables = { listed: readLists(lists) };
  else tables = readBlockMask(blockMask);
  return accept({
    kind: 'blocks',
    ...sizes,
    listed: tables.listed,
    full: tables.full,
    predicate: checkPredicate('predicate', predicate),
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

function checkPredicate(name: string, value: unknown): MaskPredicate | undefined {
  if (value !== undefined && typeof value !== 'function') {
    throw invalid(name, 'a function (batch, head, query, key) => boolean', value);
  }
  return value as MaskPredicate | undefined;
}
