// The parts of a cache: consecutive KV heads that keep the same tokens, on pages of their own.
// Reader: someone who follows `recentTokens` and `sinkTokens`. A cache whose heads are all alike has one part; a pool, too. Idea:
// DuoAttention (arXiv 2410.10819) and MoA (arXiv 2406.14909), whose heads look back differently far.

import { TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { invalid, is, maxTokens } from '../check/validate.js';
import type { PerHead } from '../patterns/per-head.js';
import type { Range } from '../patterns/sights.js';
import { isList } from '../tensor/nested.js';
import type { CodedTokens } from './coded-tokens.js';
import type { KvPages } from './kv-pages.js';
import type { Horizon, KvRun } from './kv-run.js';

/** Heads that keep the same tokens. */
export interface PartSettings {
  readonly heads: Range;
  /** Undefined: they keep all. */
  readonly horizon: Horizon | undefined;
}

/** The same with its pages. */
export interface KvPart extends PartSettings {
  readonly pool: KvPages;
  /** One per sequence. All parts of a cache have the same tokens. */
  readonly runs: readonly KvRun[];
  /** Codes that older tokens have in place of pages. Then each layer is a part of its own, with one layer. */
  readonly codes?: CodedTokens;
}

/** The parts that a stored layer is in, and which of their layers it is. */
export const layerOf = (parts: readonly KvPart[], stored: number): { parts: readonly KvPart[]; layer: number } =>
  parts[0].codes ? { parts: [parts[stored]], layer: 0 } : { parts, layer: stored };

/** The fewest parts that say what each head keeps. */
export function readParts(recent: PerHead | undefined, sinks: PerHead | undefined, kvHeads: number): PartSettings[] {
  if (recent === undefined && sinks !== undefined) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      '`sinkTokens` needs `recentTokens` next to it: without it every token stays',
    );
  }
  const recentTokens = readPerHead('recentTokens', recent, all, kvHeads, all);
  const sinkTokens = readPerHead('sinkTokens', sinks, 0, kvHeads, maxTokens);
  const blind = recentTokens.findIndex((tokens, head) => tokens + sinkTokens[head] === 0);
  if (blind >= 0) {
    throw new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`recentTokens\` and \`sinkTokens\` must not both be 0, as they are for KV head ${blind}: it would see nothing`,
    );
  }
  const horizons = recentTokens.map((tokens, head) =>
    tokens === all ? undefined : { recentTokens: tokens, sinkTokens: sinkTokens[head] },
  );
  const parts: PartSettings[] = [];
  for (let begin = 0, end = 1; begin < kvHeads; begin = end++) {
    while (end < kvHeads && isSame(horizons[begin], horizons[end])) ++end;
    parts.push({ heads: { begin, end }, horizon: horizons[begin] });
  }
  return parts;
}

const isSame = (a: Horizon | undefined, b: Horizon | undefined): boolean =>
  a?.recentTokens === b?.recentTokens && a?.sinkTokens === b?.sinkTokens;

const all = Number.POSITIVE_INFINITY;

function readPerHead(name: string, value: PerHead | undefined, usual: number, kvHeads: number, most: number): number[] {
  const orAll = most === all ? ' or Infinity' : '';
  const check = (what: string, tokens: unknown): number => {
    if (is.integer(tokens, 0, maxTokens) || (tokens === all && most === all)) return tokens as number;
    throw invalid(what, `a whole number from 0 to ${maxTokens}${orAll}`, tokens);
  };
  if (value === undefined) return new Array<number>(kvHeads).fill(usual);
  if (!isList(value)) return new Array<number>(kvHeads).fill(check(name, value));
  if (value.length !== kvHeads) throw invalid(name, `a number, or an array of ${kvHeads}, one per KV head`, value);
  return Array.from(value, (tokens, head) => check(`${name}[${head}]`, tokens));
}

/** Tokens per page of a cache, and of a pool that is not told: few enough to waste little, enough to be read in runs. */
export const usualPageSize = 256;

/** Smaller where heads keep few tokens, so that pages that are partly seen are a small part of them. */
export function pageSizeOf(horizon: Horizon | undefined): number {
  let size = usualPageSize;
  while (horizon && size > 16 && size * 4 > horizon.recentTokens + horizon.sinkTokens) size /= 2;
  return size;
}

/** Pages that are reserved for `capacity` tokens of a sequence, as far as they stay. */
export function reservedPages(capacity: number, horizon: Horizon | undefined, size: number): number {
  const kept = horizon ? horizon.recentTokens + horizon.sinkTokens + 2 * size : capacity;
  return Math.ceil(Math.min(capacity, kept) / size);
}
