// Block tables: CSR, padded lists and BlockMasks read into one form.
// Reader: someone who brings block lists and wonders which shapes are accepted. Numbers of blocks are compared with the
// tensors in block-lists.ts, where those are known.

import { mismatch } from '../call/shape.js';
import { showDims } from '../check/errors.js';
import { checkNames, namesOf } from '../check/validate.js';
import { toDense } from '../tensor/dense.js';
import { typedArrayName } from '../tensor/typed-arrays.js';
import type { TensorLike } from '../tensor/types.js';
import { type HostView, readHostTensor } from '../tensor/views.js';
import { type BlockTable, buildTable, wrong } from './block-table.js';
import type { MaskPredicate, PredicateAxis } from './predicate.js';

/** Compressed rows, each starting at offset 0 of its own columns. */
export interface BlockCsr {
  /** int32 [queryBlocks + 1], [heads, queryBlocks + 1] or [batch, heads, queryBlocks + 1]. */
  rowOffsets: Int32Array | TensorLike;
  /** Numbers of key blocks, int32 with the same leading axes; columns behind the last offset are not read. */
  columns: Int32Array | TensorLike;
}

/** Lists padded to one length. */
export interface BlockIndexLists {
  /** Numbers of key blocks, int32 [queryBlocks, most], [heads, queryBlocks, most] or [batch, heads, queryBlocks, most]. */
  indices: TensorLike;
  /** How many of them are meant, int32 [queryBlocks] with the same leading axes. */
  counts: Int32Array | TensorLike;
}

/** PyTorch FlexAttention's BlockMask, its fields in camelCase; createBlockMask() makes one. */
export interface FlexBlockMask {
  /** int32 [batch, heads, queryBlocks]. */
  kvNumBlocks: TensorLike;
  /** int32 [batch, heads, queryBlocks, most]. */
  kvIndices: TensorLike;
  /** Blocks that the predicate need not look into, likewise. */
  fullKvNumBlocks?: TensorLike;
  fullKvIndices?: TensorLike;
  /** Tokens per block, one number or [queries, keys]; instead of blockQ and blockK. */
  blockSize?: number | readonly [queries: number, keys: number];
  /** The tokens it was made for, [queries, keys]: calls with others are refused, and heads are 1 or those of q. */
  seqLengths?: readonly [queries: number, keys: number];
  /** FlexAttention's mask_mod, instead of the option beside it. */
  predicate?: MaskPredicate;
  /** What `predicate` does not look at. */
  predicateIgnores?: readonly PredicateAxis[];
}

const csrNames = namesOf<BlockCsr>({ rowOffsets: 1, columns: 1 });
const listNames = namesOf<BlockIndexLists>({ indices: 1, counts: 1 });
const maskNames = namesOf<FlexBlockMask>({
  kvNumBlocks: 1,
  kvIndices: 1,
  fullKvNumBlocks: 1,
  fullKvIndices: 1,
  blockSize: 1,
  seqLengths: 1,
  predicate: 1,
  predicateIgnores: 1,
});

export function readCsr(csr: BlockCsr): BlockTable {
  checkNames('`csr`', csr, csrNames);
  const rowOffsets = readNumbers('csr.rowOffsets', csr.rowOffsets);
  const columns = readNumbers('csr.columns', csr.columns);
  const lead = leadOf('csr.rowOffsets', rowOffsets, 1, '[queryBlocks + 1]');
  checkLead('csr.columns', columns, 'csr.rowOffsets', rowOffsets, 1);
  const rows = rowOffsets.dims.at(-1)! - 1;
  const most = columns.dims.at(-1)!;
  if (rows < 0) throw wrong('csr.rowOffsets', 'start with an offset of 0', 'be empty');
  const at = (i: number) => rowOffsets.data[i] as number;
  return buildTable('csr.columns', [...lead, rows], (list) => {
    const group = Math.floor(list / rows);
    const row = group * (rows + 1) + (list % rows);
    const [begin, end] = [at(row), at(row + 1)];
    if (list % rows === 0 && begin !== 0) throw wrong(`csr.rowOffsets`, 'start every head at 0', `with ${begin}`);
    if (end < begin) throw wrong('csr.rowOffsets', 'not fall', `from ${begin} to ${end}`);
    if (end > most) throw wrong('csr.rowOffsets', `stay within the ${most} columns`, `reach ${end}`);
    return (columns.data as Int32Array).subarray(group * most + begin, group * most + end);
  });
}

export function readLists(lists: BlockIndexLists): BlockTable {
  checkNames('`lists`', lists, listNames);
  return readPadded('lists.indices', lists.indices, 'lists.counts', lists.counts);
}

export function readBlockMask(mask: FlexBlockMask | undefined): { listed: BlockTable; full?: BlockTable } {
  checkNames('`blockMask`', mask, maskNames);
  const { kvNumBlocks, kvIndices, fullKvNumBlocks, fullKvIndices } = mask as FlexBlockMask;
  const listed = readPadded('blockMask.kvIndices', kvIndices, 'blockMask.kvNumBlocks', kvNumBlocks);
  if (fullKvNumBlocks === undefined && fullKvIndices === undefined) return { listed };
  const full = readPadded('blockMask.fullKvIndices', fullKvIndices, 'blockMask.fullKvNumBlocks', fullKvNumBlocks);
  if (full.dims.some((length, axis) => length !== listed.dims[axis])) {
    throw mismatch(
      `\`blockMask.fullKvNumBlocks\` ${showDims(full.dims)} must have the dims of \`blockMask.kvNumBlocks\` ${showDims(listed.dims)}`,
    );
  }
  return { listed, full };
}

function readPadded(indicesName: string, indices: unknown, countsName: string, counts: unknown): BlockTable {
  const lengths = readNumbers(countsName, counts);
  const entries = readNumbers(indicesName, indices);
  const lead = leadOf(countsName, lengths, 1, '[queryBlocks]');
  checkLead(indicesName, entries, countsName, lengths, 0);
  const most = entries.dims.at(-1)!;
  return buildTable(indicesName, [...lead, lengths.dims.at(-1)!], (list) => {
    const count = lengths.data[list] as number;
    if (count < 0 || count > most) {
      throw wrong(countsName, `be 0 to ${most}, the last axis of \`${indicesName}\``, `${count}`);
    }
    return (entries.data as Int32Array).subarray(list * most, list * most + count);
  });
}

/** An int32 tensor in row-major order, or a bare Int32Array as one axis. */
export function readNumbers(name: string, value: unknown): HostView {
  const isBare = typedArrayName(value) === 'Int32Array';
  const tensor = isBare ? { type: 'int32', data: value, dims: [(value as Int32Array).length] } : value;
  return toDense(name, readHostTensor(name, tensor, ['int32']));
}

/** [batch, heads] of a tensor whose last `own` axes are something else. */
export function leadOf(name: string, { dims }: HostView, own: number, last: string): [batch: number, heads: number] {
  const lead = dims.slice(0, dims.length - own);
  if (dims.length < own || lead.length > 2) {
    throw mismatch(
      `\`${name}\` must have dims ${last}, with heads or batch and heads before them, not ${showDims(dims)}`,
    );
  }
  return [lead.length === 2 ? lead[0] : 1, lead.at(-1) ?? 1];
}

/** `view` must have the axes of `other`, all but the last `fewer`, and one more. */
function checkLead(name: string, view: HostView, otherName: string, other: HostView, fewer: number): void {
  const shared = other.dims.slice(0, other.dims.length - fewer);
  const fits = view.dims.length === shared.length + 1 && shared.every((length, axis) => view.dims[axis] === length);
  if (!fits) {
    throw mismatch(
      `\`${name}\` ${showDims(view.dims)} and \`${otherName}\` ${showDims(other.dims)} do not fit together`,
    );
  }
}
