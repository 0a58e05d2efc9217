// What a call of a cache refuses: options that the cache says itself or that count what is gone, and queries that would see it.
// Reader: someone who adds an option to caches, or a cache that keeps less.

import { mismatch } from '../call/shape.js';
import { TilewiseTypeError } from '../check/errors.js';
import type { KvPart } from './kv-parts.js';
import type { RotarySettings } from './kv-rotary.js';
import type { Told } from './kv-told.js';

export const wrong = (message: string): Error => new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);

export function longest(lengths: Int32Array): number {
  let most = 0;
  for (const length of lengths) most = Math.max(most, length);
  return most;
}

/** What counts tokens of the text, some of which compact() has let go of. */
const ofText = [
  'pattern',
  'recentTokens',
  'window',
  'sinkTokens',
  'alibiSlopes',
  'scoreFactor',
  'bias',
  'mask',
  'keyMask',
] as const;

/** Refuses options that count what is gone. */
export function refuseDistances(options: Told, parts: readonly KvPart[], layer: number): void {
  if (!parts.some(({ runs }) => runs.some((run) => run.isCompact(layer)))) return;
  const named = ofText.find((name) => options[name] !== undefined);
  if (named)
    throw wrong(`\`${named}\` does not go with a layer after compact(), whose tokens are not all there; leave it out`);
}

/** Refuses what reads the keys themselves, of which some are codes. */
export function refuseBesideCodes({ similarity, pattern }: Told): void {
  const named =
    similarity === 'cosine'
      ? "`similarity` 'cosine'"
      : pattern?.kind === 'hierarchical'
        ? '`pattern` of hierarchical()'
        : undefined;
  if (named) throw wrong(`${named} does not go with a cache of \`format\`: it would read keys that are codes`);
}

/** What does not reach sinks that are extra keys, or is their place. */
const besideSinks = ['extraKeys', 'scoreFactor', 'bias', 'mask', 'keyMask', 'alibiSlopes'] as const;

/** Refuses what the cache says itself. */
export function refuseSight(options: Told, parts: readonly KvPart[], rotary: RotarySettings | undefined): void {
  if (parts.every(({ horizon }) => !horizon)) return;
  const named = (['pattern', 'recentTokens', 'window', 'sinkTokens', 'pageLists'] as const).find(
    (name) => options[name] !== undefined,
  );
  if (named || !options.causal) {
    throw wrong(
      `\`${named ?? 'causal'}\` does not go with a cache of \`recentTokens\`, which says what a query sees; leave it out`,
    );
  }
  const other = besideSinks.find((name) => options[name] !== undefined);
  if (!rotary?.isByRank || !other) return;
  throw wrong(
    `\`${other}\` does not go with \`positions\` 'cache', whose sinks are extra keys: no factor, bias, mask or distance concerns them; leave it out`,
  );
}

/**
 * Whether queries should see tokens which are gone, by what each sequence has for itself. Only queries of the last append
 * always pass: a sequence that got fewer tokens than another there has rows in front which are none of its tokens.
 */
export const areGone = ({ horizon, runs }: KvPart, layer: number, queries: number): boolean =>
  horizon !== undefined &&
  !runs.some((run) => queries <= run.newest(layer)) &&
  runs.some((run) => queries > run.mostQueries(layer));

export function refuseGone(part: KvPart, layer: number, queries: number): void {
  if (!areGone(part, layer, queries)) return;
  const most = Math.min(...part.runs.map((run) => run.mostQueries(layer)));
  throw mismatch(
    `\`q\` must have at most ${most} queries, not ${queries}: those of earlier tokens see some that were let go of`,
  );
}

export function checkCounts(queries: number, keyLengths: Int32Array, queryLengths: Int32Array | undefined): void {
  if (!queryLengths) {
    const most = longest(keyLengths);
    if (queries <= most) return;
    throw mismatch(
      `\`q\` must have at most ${most} queries, those of the last tokens that were appended, not ${queries}`,
    );
  }
  const long = queryLengths.findIndex((length, i) => length > keyLengths[i]);
  if (long < 0) return;
  throw mismatch(
    `\`queryLengths[${long}]\` must be at most ${keyLengths[long]}, the tokens of its sequence, not ${queryLengths[long]}`,
  );
}
