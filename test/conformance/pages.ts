// Keys and values of a case on pages: shuffled, with pages that belong to nobody, NaN in every slot that is not in use, and
// table entries before the first page in use and behind the last that name no page. Reader: someone who judges paged attention.

import type { PagedKeys, TensorLike } from '../../dist/index.js';
import { type ElementType, forEachIndex, type Operand, rowMajor } from '../references/operand.js';
import type { PageLists } from '../references/problem.js';
import { encode, type Layout } from './memory.js';
import { Random } from './random.js';

/** How the keys of a case are kept. */
export interface PagesCase {
  size: number;
  spare?: number; // pages of the pool that nobody uses; default 3
  lists?: 'all' | 'kv'; // only listed pages are seen, by all heads alike or by those of each KV head
}

/** Lists of half the pages of each sequence, some of them empty. */
export function listsOf(
  { size, lists }: PagesCase,
  lengths: ArrayLike<number>,
  kvHeads: number,
  random: Random,
): PageLists {
  const listOf = (pages: number) => Array.from({ length: pages }, (_, page) => page).filter(() => random.chance(0.5));
  return {
    size,
    lists: Array.from(lengths, (length) =>
      Array.from({ length: lists === 'kv' ? kvHeads : 1 }, () => listOf(Math.ceil(length / size))),
    ),
  };
}

interface Pool {
  pages: number;
  /** Page of every block of keys in use, by batch entry. */
  rows: number[][];
  perSequence: number;
}

function poolOf({ size, spare = 3 }: PagesCase, lengths: ArrayLike<number>, keys: number, seed: number): Pool {
  const random = new Random(seed);
  const counts = Array.from(lengths, (length) => Math.ceil(length / size));
  const pages = counts.reduce((a, n) => a + n, spare);
  const free = Array.from({ length: pages }, (_, page) => page);
  for (let i = pages - 1; i > 0; i--) {
    const j = random.integer(0, i);
    [free[i], free[j]] = [free[j], free[i]];
  }
  return {
    pages,
    rows: counts.map((count) => free.splice(0, count)),
    perSequence: Math.ceil(keys / size),
  };
}

/** By batch entry: where keys in use end, and where they start if not at 0. */
interface KeysInUse {
  lengths: ArrayLike<number>;
  starts?: ArrayLike<number>;
}

/** An operand [batch, heads, keys, dim] as pages of a layout. */
function onPages(
  operand: Operand,
  pool: Pool,
  size: number,
  { lengths, starts }: KeysInUse,
  layout: Layout,
): TensorLike {
  const [, heads, , dim] = operand.dims;
  const dims = layout === 'bnhd' ? [pool.pages, size, heads, dim] : [pool.pages, heads, size, dim];
  const [byPage, ...inner] = rowMajor(dims);
  const [byToken, byHead] = layout === 'bnhd' ? inner : [inner[1], inner[0]];
  const data = encode(operand.type as ElementType, new Float64Array(dims.reduce((a, n) => a * n, 1)).fill(NaN));
  pool.rows.forEach((row, b) => {
    for (let token = starts?.[b] ?? 0; token < lengths[b]; token++) {
      const to = row[Math.floor(token / size)] * byPage + (token % size) * byToken;
      const { offset, strides } = operand;
      const from = {
        dims: [heads, dim],
        strides: [strides[1], strides[3]],
        offset: offset + b * strides[0] + token * strides[2],
      };
      let n = 0;
      forEachIndex(from, (index) => {
        data[to + Math.floor(n / dim) * byHead + (n % dim)] = operand.data[index];
        n++;
      });
    }
  });
  return { type: operand.type, data, dims };
}

/** What a call on pages takes in place of its keys and values. */
export function pagesOf(
  pagesCase: PagesCase,
  { key, value, inUse, layout, seed }: { key: Operand; value: Operand; inUse: KeysInUse; layout: Layout; seed: number },
): { key: TensorLike; value: TensorLike; pages: PagedKeys } {
  const pool = poolOf(pagesCase, inUse.lengths, key.dims[2], seed);
  const { size } = pagesCase;
  const nobodys = [-1, 2 ** 31 - 1, pool.pages];
  const entries = pool.rows.flatMap((row, b) =>
    Array.from({ length: pool.perSequence }, (_, i) => {
      const isInUse = i < row.length && (i + 1) * size > (inUse.starts?.[b] ?? 0);
      return isInUse ? row[i] : nobodys[(b + i) % nobodys.length];
    }),
  );
  return {
    key: onPages(key, pool, size, inUse, layout),
    value: onPages(value, pool, size, inUse, layout),
    pages: {
      table: { type: 'int32', data: Int32Array.from(entries), dims: [pool.rows.length, pool.perSequence] },
      pageSize: size,
    },
  };
}
