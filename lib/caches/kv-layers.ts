// The parts of a whole cache: how they are made, and what they hold together.
// Reader: someone who follows a KvCache. Without codes all parts have all layers, each its own heads; with codes each stored layer is
// a part of its own, since layers come by their codes one after the other.

import { mismatch } from '../call/shape.js';
import { TilewiseRangeError } from '../check/errors.js';
import { checkInteger } from '../check/validate.js';
import { cpu } from '../tensor/devices.js';
import { type IntegerList, readIntegerList } from '../tensor/integers.js';
import type { FloatType } from '../tensor/types.js';
import { CodedTokens, holdsOf as codedHoldsOf, tiersOf } from './coded-tokens.js';
import type { CacheSettings } from './kv-options.js';
import { KvPages } from './kv-pages.js';
import { type KvPart, pageSizeOf, reservedPages } from './kv-parts.js';
import { KvRun } from './kv-run.js';
import { LastingSummaries } from './lasting-summaries.js';
import { type PageHold, releaseAll } from './page-counts.js';

/** The parts of an empty cache. */
export function makeParts(settings: CacheSettings, batch: number, type: FloatType): KvPart[] {
  const { headDim, valueDim, device, owners, capacity, format, hasSummaries } = settings;
  if (format) return owners.map(() => makeCodedPart(settings, batch, type));
  return settings.parts.map(({ heads, horizon }): KvPart => {
    const kvHeads = heads.end - heads.begin;
    const pageSize = settings.pageSize ?? pageSizeOf(horizon);
    const sizes = { layers: owners.length, kvHeads, headDim, valueDim, pageSize, type, device, hasSummaries };
    const pool = new KvPages(sizes);
    const pages = batch * reservedPages(capacity, horizon, pageSize);
    for (let layer = 0; layer < owners.length && pages > 0; ++layer) pool.reserve(layer, pages);
    return { heads, horizon, pool, runs: Array.from({ length: batch }, () => new KvRun(pool, horizon)) };
  });
}

/** A part of one layer, whose exact tokens are on small pages: they are let go of once they have codes. */
function makeCodedPart(
  { kvHeads, headDim, valueDim, device, capacity, format: wanted, pageSize: told, hasSummaries }: CacheSettings,
  batch: number,
  type: FloatType,
): KvPart {
  const format = wanted!;
  const pageSize = told ?? pageSizeOf({ recentTokens: format.residual, sinkTokens: 0 });
  const sizes = { layers: 1, kvHeads, headDim, valueDim, pageSize, type, device };
  const pool = new KvPages(sizes);
  const summaries = hasSummaries ? new LastingSummaries(sizes) : undefined;
  const codes = new CodedTokens(format, tiersOf(device, format, kvHeads), summaries).empty(batch);
  if (capacity > 0) codes.reserve(new Array<number>(batch).fill(capacity));
  const runs = Array.from({ length: batch }, () => new KvRun(pool, undefined));
  return { heads: { begin: 0, end: kvHeads }, horizon: undefined, pool, runs, codes };
}

/** The only part, if rows go onto its pages as they come, and all of them stay. */
export function plainPart(parts: readonly KvPart[] = [], settings: CacheSettings): KvPart | undefined {
  const { rotary, isReadOnly, device } = settings;
  const [part, other] = parts;
  const isPlain = part && !other && !part.horizon && !part.codes && !part.pool.summaries;
  return isPlain && !rotary && !isReadOnly && device === cpu ? part : undefined;
}

/** The same tokens: pages and blocks are shared. */
export const forkParts = (parts: readonly KvPart[]): KvPart[] =>
  parts.map((part) => ({ ...part, runs: part.runs.map((run) => run.fork()), codes: part.codes?.fork() }));

/** What refers to pages and blocks. */
export const holdsOf = (parts: readonly KvPart[]): PageHold[] =>
  parts.flatMap(({ runs, codes }) => [...runs.map(({ hold }) => hold), ...(codes?.runs.flatMap(codedHoldsOf) ?? [])]);

/** Gives back the pages of caches that were collected without dispose(), which forks may share. */
const collected = new FinalizationRegistry<readonly PageHold[]>((holds) => {
  for (const hold of holds) releaseAll(hold);
});

/** Gives back the pages and blocks of a cache once nobody has it any more, unless noLongerKept() comes first. */
export const keepUntilCollected = (cache: object, parts: readonly KvPart[]): void =>
  collected.register(cache, holdsOf(parts), cache);
export const noLongerKept = (cache: object): boolean => collected.unregister(cache);

/** Tokens that every layer has, of each sequence. */
export const lengthsOf = (parts: readonly KvPart[]): number[] =>
  parts[0].runs.map((_, entry) => Math.min(...parts.map(({ runs }) => runs[entry].length)));

/** Bytes of the pages and blocks that sequences refer to. */
export const bytesOf = (parts: readonly KvPart[]): number =>
  parts.reduce(
    (bytes, { pool, runs, codes }) =>
      bytes + runs.reduce((pages, run) => pages + run.held, 0) * pool.pageBytes + (codes?.bytes ?? 0),
    0,
  );

/** Cuts sequences to one length, or to one each; refuses lengths that cannot be kept. */
export function truncateParts(parts: readonly KvPart[], length: number | IntegerList): void {
  const entries = parts[0]?.runs.length ?? 0;
  const lengths = typeof length === 'number' ? undefined : readIntegerList('length', length);
  if (lengths && entries > 0 && lengths.length !== entries) {
    throw mismatch(`\`length\` must have ${entries} entries, one per sequence, not ${lengths.length}`);
  }
  if (!lengths) checkKept('length', length as number, parts);
  for (const [entry, kept] of lengths?.entries() ?? []) checkKept(`length[${entry}]`, kept, parts, entry);
  for (const { runs, codes } of parts)
    for (const [entry, run] of runs.entries()) {
      const kept = lengths?.[entry] ?? (length as number);
      run.truncate(kept);
      codes?.truncate(entry, kept);
    }
}

/** Checks a length that sequences are cut to: one of them is as long, and queries to come see no token that is gone. */
function checkKept(name: string, length: number, parts: readonly KvPart[], only?: number): void {
  const each = parts.flatMap(({ runs, codes }) =>
    runs.flatMap((run, entry) => (only === undefined || only === entry ? [{ run, entry, codes }] : [])),
  );
  checkInteger(name, length, 0, Math.max(0, ...each.map(({ run }) => run.longest)));
  const least = Math.max(
    0,
    ...each.map(({ run, entry, codes }) => codes?.leastLength(entry, run.goneTokens) ?? run.leastLength),
  );
  if (length >= least) return;
  const why = parts[0].codes
    ? 'older tokens are codes of several at a time, and can only be kept together'
    : 'queries from there on see tokens that were let go of';
  throw new TilewiseRangeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `\`${name}\` must be ${least} at least, not ${length}: ${why}`,
  );
}

/** Place of a layer's keys and values among those that are stored. */
export const storedPlace = ({ storedOf }: CacheSettings, layer: number): number =>
  storedOf[checkInteger('layer', layer, 0, storedOf.length - 1)];

/** The same of a layer that has keys and values of its own. */
export function ownPlace(settings: CacheSettings, layer: number): number {
  const stored = storedPlace(settings, layer);
  const owner = settings.owners[stored];
  if (owner === layer) return stored;
  throw new TilewiseRangeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `Layer ${layer} reads the keys and values of layer ${owner}, as \`layerMap\` says: append() them there`,
  );
}
