// Block tables: lists of key blocks by batch entry, head and block of queries, whatever form they came in.
// Assumes nothing of who built one: checkTable() reads a table of a stranger's. Reader: someone who follows lists from
// blocks() to native code.

import { mismatch } from '../call/shape.js';
import { allocating, show, TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { invalid, is, maxTokens } from '../check/validate.js';
import { typedArrayName } from '../tensor/typed-arrays.js';

/** Lists of ascending block numbers; list (b, h, m) is number (b * heads + h) * queryBlocks + m. */
export interface BlockTable {
  /** [batch, heads, queryBlocks]; the first two may be 1, for all. */
  readonly dims: readonly [batch: number, heads: number, queryBlocks: number];
  /** Where each list begins among the columns, and where the last one ends. */
  readonly offsets: Int32Array;
  readonly columns: Int32Array;
}

/** The blocks of one list. */
export const listIn = ({ offsets, columns }: BlockTable, list: number): Int32Array =>
  columns.subarray(offsets[list], offsets[list + 1]);

/** How so many heads, and the entries of a batch, find their list in a table. */
export function stridesOf({ dims: [batch, groups, rows] }: Pick<BlockTable, 'dims'>, heads: number) {
  return {
    headsPerList: heads / groups,
    listsByHead: groups === 1 ? 0 : rows,
    listsByBatch: batch === 1 ? 0 : groups * rows,
  };
}

/** For tables with a list per batch entry and head: which list of this table each of theirs stands for. */
export function sourcesIn(table: BlockTable, heads: number): (list: number) => number {
  const rows = table.dims[2];
  const { headsPerList, listsByHead, listsByBatch } = stridesOf(table, heads);
  return (list) => {
    const head = Math.floor(list / rows) % heads;
    return (
      Math.floor(list / rows / heads) * listsByBatch + Math.floor(head / headsPerList) * listsByHead + (list % rows)
    );
  };
}

/** Copies lists into a table, each in ascending order. */
export function buildTable(name: string, dims: readonly number[], listOf: (list: number) => Int32Array): BlockTable {
  const lists = dims[0] * dims[1] * dims[2];
  const offsets = allocating(() => new Int32Array(lists + 1));
  const found = Array.from({ length: lists }, (_, list) => {
    const entries = listOf(list);
    const total = offsets[list] + entries.length;
    if (total > 2 ** 31 - 1) throw mismatch(`\`${name}\` names more than ${2 ** 31 - 1} blocks`);
    offsets[list + 1] = total;
    return entries;
  });
  const columns = allocating(() => new Int32Array(offsets[lists]));
  found.forEach((entries, list) => {
    const own = columns.subarray(offsets[list], offsets[list + 1]);
    own.set(entries);
    if (!isAscending(own)) own.sort();
    checkList(name, own, list);
  });
  return Object.freeze({ dims: Object.freeze(dims) as BlockTable['dims'], offsets, columns });
}

const isAscending = (list: Int32Array): boolean => list.every((block, i) => i === 0 || block > list[i - 1]);

function checkList(name: string, list: Int32Array, number: number): void {
  if (list.length > 0 && list[0] < 0) throw wrong(name, 'name blocks from 0', `${list[0]} in list ${number}`);
  const again = list.findIndex((block, i) => i > 0 && block <= list[i - 1]);
  if (again >= 0) throw wrong(name, 'name every block once', `${list[again]} twice in list ${number}`);
}

/** Checks a table that someone else may have built. */
export function checkTable(name: string, value: unknown): BlockTable {
  const { dims, offsets, columns } = (is.object(value) ? value : {}) as Partial<BlockTable>;
  const isTable =
    Array.isArray(dims) &&
    dims.length === 3 &&
    dims.every((length) => is.integer(length, 0, maxTokens)) &&
    typedArrayName(offsets) === 'Int32Array' &&
    typedArrayName(columns) === 'Int32Array';
  if (!isTable) throw invalid(name, 'a table as blocks() makes it, { dims, offsets, columns }', value);
  const [from, to] = [offsets as Int32Array, columns as Int32Array];
  const lists = dims[0] * dims[1] * dims[2];
  if (from.length !== lists + 1 || from[0] !== 0 || from[lists] !== to.length) {
    throw wrong(`${name}.offsets`, `be ${lists + 1} offsets from 0 to ${to.length}`, show(from));
  }
  return buildTable(name, dims, (list) => {
    if (from[list + 1] < from[list])
      throw wrong(`${name}.offsets`, 'not fall', `from ${from[list]} to ${from[list + 1]}`);
    return to.subarray(from[list], from[list + 1]);
  });
}

/** Refuses a block that both tables name. */
export function refuseShared(listed: BlockTable, full: BlockTable): void {
  for (let list = 0; list + 1 < listed.offsets.length; ++list) {
    const others = full.columns.subarray(full.offsets[list], full.offsets[list + 1]);
    const own = listed.columns.subarray(listed.offsets[list], listed.offsets[list + 1]);
    let next = 0;
    for (const block of own) {
      while (next < others.length && others[next] < block) ++next;
      if (others[next] !== block) continue;
      throw new TilewiseTypeError(
        'ERR_TILEWISE_INVALID_OPTION',
        `\`blockMask.fullKvIndices\` names block ${block} of list ${list}, which \`blockMask.kvIndices\` names too`,
      );
    }
  }
}

export const wrong = (name: string, expected: string, found: string): Error =>
  new TilewiseRangeError('ERR_TILEWISE_INVALID_OPTION', `\`${name}\` must ${expected}, not ${found}`);
