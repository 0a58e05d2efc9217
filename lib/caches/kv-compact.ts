// compact(): some tokens of a layer are kept, KV head by KV head, and the others are let go of. Reader: someone who follows
// snapKV() (arXiv 2404.14469) into a cache. What is kept has the positions that it had; tokens to come count on from the text.

import { mismatch } from '../call/shape.js';
import { TilewiseRangeError } from '../check/errors.js';
import { invalid, readEach } from '../check/validate.js';
import { axesOf } from '../tensor/axes.js';
import { gathered } from '../tensor/gather.js';
import { readIntegerList } from '../tensor/integers.js';
import { floatTypes, readHostTensor } from '../tensor/views.js';
import { denseRows } from './kv-dense.js';
import type { KvPages } from './kv-pages.js';
import type { KvPart } from './kv-parts.js';
import { appendRows } from './kv-rows.js';

/**
 * Keeps the tokens of a layer that lists name.
 * @param lists for each sequence and KV head, of one length per sequence
 */
export function compactLayer(parts: readonly KvPart[], layer: number, lists: unknown): void {
  const [part] = parts;
  const { pool, runs } = part;
  if (parts.length > 1 || part.horizon) {
    throw mismatch('compact() is for caches that keep all tokens, not for one with `recentTokens`');
  }
  if (part.codes) throw mismatch('compact() is for caches without `format`: codes stay together');
  const kept = readLists(lists, part, layer);
  const counts = runs.map((_, b) => kept[b * pool.sizes.kvHeads].length);
  if (runs.every((run, b) => counts[b] === run.lengthOf(layer))) return;
  const most = Math.max(0, ...counts);
  const rowsOf = (pagesOf: (pool: KvPages) => ReturnType<KvPages['keysOf']>) =>
    gathered(
      readHostTensor('the cache', denseRows(parts, layer, pagesOf, false), floatTypes),
      axesOf(4, false),
      kept,
      most,
    );
  const [k, v] = [rowsOf((pages) => pages.keysOf(layer)), rowsOf((pages) => pages.valuesOf(layer))];
  const undo = runs.map((run, b) => run.compact(layer, counts[b]));
  try {
    appendRows(parts, layer, { k, v, batch: runs.length, tokens: most }, false, counts);
  } catch (error) {
    for (const back of undo) back();
    throw error;
  }
  for (const run of runs) run.trim();
}

function readLists(value: unknown, { pool, runs }: KvPart, layer: number): Int32Array[] {
  const { kvHeads } = pool.sizes;
  if (!Array.isArray(value) || value.length !== runs.length) {
    throw invalid('lists', `an array of ${runs.length}, with lists of tokens for each sequence`, value);
  }
  return readEach(value, (heads, b) => {
    if (!Array.isArray(heads) || heads.length !== kvHeads) {
      throw invalid(`lists[${b}]`, `an array of ${kvHeads} lists of tokens, one per KV head`, heads);
    }
    const read = readEach(heads, (list, head) => readIntegerList(`lists[${b}][${head}]`, list));
    for (const [head, list] of read.entries()) {
      const name = `lists[${b}][${head}]`;
      if (list.length !== read[0].length) {
        throw mismatch(
          `\`${name}\` must have ${read[0].length} tokens, as many as the other heads, not ${list.length}`,
        );
      }
      checkTokens(name, list, runs[b].lengthOf(layer));
    }
    return read;
  }).flat();
}

function checkTokens(name: string, list: Int32Array, length: number): void {
  for (const [i, token] of list.entries()) {
    if (token >= 0 && token < length && (i === 0 || token > list[i - 1])) continue;
    throw new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${name}\` entry ${i} must be a token from 0 to ${length - 1} above the one before it, not ${token}`,
    );
  }
}
