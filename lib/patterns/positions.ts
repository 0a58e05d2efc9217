// Positions: where queries and keys are, when they are not in a row: shards of a ring, gathered keys, clusters.
// Reader: someone who attends over parts of sequences, or follows the option `positions`. The rules that count positions are in
// core/pattern/position_ranges.h and power_ranges.h. Idea: zigzag context parallelism and Routing Transformer (arXiv 2003.05997)
// are ordinary attention once order is a matter of positions.

import { mismatch, type Shape } from '../call/shape.js';
import { calling, showDims, TilewiseRangeError } from '../check/errors.js';
import { checkNames, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import { native } from '../native/native.js';
import type { NativeRanges, PositionRules } from '../native/ranges.js';
import { toDense } from '../tensor/dense.js';
import { type IntegerList, readIntegerList } from '../tensor/integers.js';
import { isList, type NestedArray, readNested } from '../tensor/nested.js';
import { readHostTensor } from '../tensor/views.js';
import { type Align, offsetOf } from './align.js';
import { entriesOf } from './per-head.js';
import { bounded, type WindowPattern } from './window.js';

/** Ascending whole numbers, [tokens] or [batch, tokens]: an array, an Int32Array or an integer tensor. */
export type PositionList = IntegerList | readonly NestedArray[];

export interface TokenPositions {
  /** Where each query is, [queries] or [batch, queries]; ascending, several may be at one position. */
  readonly queries: PositionList;
  /** Where each key is, [keys] or [batch, keys], likewise. */
  readonly keys: PositionList;
}

/** Positions that have been read, in memory of their own. */
interface Rows {
  readonly name: string;
  readonly dims: readonly number[];
  readonly data: Int32Array;
}
export interface Positions {
  readonly queries: Rows;
  readonly keys: Rows;
}

/** The positions of a call's tokens, as the addon takes them. */
export type PositionsOfCall = Pick<PositionRules, 'queries' | 'keys' | 'offsets' | 'ofQueries' | 'ofKeys'>;

const names = namesOf<TokenPositions>({ queries: 1, keys: 1 });

/** Reads the option `positions`. */
export function readPositions(value: unknown): Positions {
  checkNames('`positions`', value, names);
  const { queries, keys } = value as Record<string, unknown>;
  return { queries: readRows('positions.queries', queries), keys: readRows('positions.keys', keys) };
}

function readRows(name: string, value: unknown): Rows {
  const { dims, data } = readNumbers(name, value);
  if (dims.length < 1 || dims.length > 2) {
    throw mismatch(`\`${name}\` must have dims [tokens] or [batch, tokens], not ${showDims(dims)}`);
  }
  const tokens = dims[dims.length - 1];
  for (let i = 0; i < data.length; ++i) {
    if (data[i] < -maxTokens || data[i] > maxTokens) {
      throw invalid(`${name}[${i}]`, `a whole number from ${-maxTokens} to ${maxTokens}`, data[i]);
    }
    if (i % tokens === 0 || data[i] >= data[i - 1]) continue;
    throw new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${name}\` must ascend, but ${data[i]} comes after ${data[i - 1]}; sort the tokens by position and the results back`,
    );
  }
  return { name, dims, data };
}

function readNumbers(name: string, value: unknown): Pick<Rows, 'dims' | 'data'> {
  if (isList(value)) {
    const isNested = value.length > 0 && isList(value[0]);
    const { dims, data } = isNested
      ? readNested(value, 'int32', name)
      : { dims: [value.length], data: readIntegerList(name, value).slice() };
    return { dims, data: data as Int32Array };
  }
  if (!is.object(value)) throw invalid(name, 'an Int32Array, an array of integers or an integer tensor', value);
  const { dims, data } = toDense(name, readHostTensor(name, value, ['int32', 'int64', 'uint8']));
  return { dims, data: readIntegerList(name, data).slice() };
}

/** The explicit positions of a call. */
export function positionsOf({ queries, keys }: Positions, shape: Shape): PositionsOfCall {
  const rows = [queries, keys].map(({ name, dims, data }, i) => {
    const tokens = i === 0 ? shape.queries : shape.keys;
    const count = dims.length === 1 ? 1 : dims[0];
    if (dims[dims.length - 1] !== tokens || (count !== 1 && count !== shape.batch)) {
      throw mismatch(
        `\`${name}\` must have dims [${tokens}] or [${shape.batch}, ${tokens}], one position per token, not ${showDims(dims)}`,
      );
    }
    return { data, count, tokens };
  });
  const sets = Math.max(...rows.map(({ count }) => count));
  const [ofQueries, ofKeys] = rows.map(({ data, count, tokens }) => {
    if (count === sets) return data;
    const repeated = new Int32Array(sets * tokens);
    for (let set = 0; set < sets; ++set) repeated.set(data, set * tokens);
    return repeated;
  });
  return { queries: shape.queries, keys: shape.keys, offsets: new Int32Array(sets), ofQueries, ofKeys };
}

/** Positions in a row, where `align` puts them; `keyLengths`: keys in use of each batch entry. */
export function positionsInRow(
  align: Align,
  { queries, keys }: Shape,
  keyLengths: Int32Array | undefined,
): PositionsOfCall {
  const offsets = (keyLengths ?? Int32Array.of(keys)).map((length) => offsetOf(align, queries, length));
  return { queries, keys, offsets, ofQueries: undefined, ofKeys: undefined };
}

/**
 * What the queries of a call see through a window that counts positions: for each row of positions a list for all heads, or one
 * per KV head or per query head.
 */
export function rangesOfWindow(
  { left, right, sinkTokens }: WindowPattern,
  at: PositionsOfCall,
): NativeRanges & { lists: number } {
  const numbers = [left, right, sinkTokens].map((one) => entriesOf(one));
  const lists = Math.max(...numbers.map(({ length }) => length));
  const perList = numbers.map((entries) =>
    Int32Array.from({ length: lists }, (_, list) => bounded(entries[Math.floor((list * entries.length) / lists)])),
  );
  const rule = { left: perList[0], right: perList[1], sinkTokens: perList[2], block: 0, window: 0, sinkBlocks: 0 };
  return { ...calling(() => native.positionRanges({ ...at, ...rule })), lists };
}
