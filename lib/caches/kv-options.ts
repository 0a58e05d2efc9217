// The options of KvCache and KvPool: what they mean, and how each is checked.
// Reader: someone who makes a cache.

import { maxHeadDim } from '../call/shape.js';
import { TilewiseTypeError } from '../check/errors.js';
import {
  checkBoolean,
  checkInteger,
  checkNames,
  checkOneOf,
  invalid,
  is,
  maxTokens,
  namesOf,
} from '../check/validate.js';
import { type Layout, layouts } from '../ops/attention/options.js';
import type { RotaryOptions } from '../ops/rotary/frequencies.js';
import type { PerHead } from '../patterns/per-head.js';
import { type FormatSettings, type KvFormat, readFormat } from '../stores/kv-format.js';
import { backendIndex, checkLocation, cpu, type Location } from '../tensor/devices.js';
import type { FloatType } from '../tensor/types.js';
import { floatTypes } from '../tensor/views.js';
import { type PartSettings, readParts, usualPageSize } from './kv-parts.js';
import { type CachePositions, type RotarySettings, readRotary } from './kv-rotary.js';

/** What the pages of all caches are told. */
interface PageOptions {
  /** Heads of keys and values. */
  kvHeads: number;
  /** Dim of queries and keys. */
  headDim: number;
  /** Dim of values; default headDim. */
  valueDim?: number;
  /** Axes of q, k, v and out, as in attention(). */
  layout?: Layout;
  /** Turns keys when they are appended and queries when they ask, to their positions in the text: see rotate(). */
  rotary?: RotaryOptions;
  /** Where keys and values are kept and calls run: `'cpu'` (default), `'cuda'`, `'cuda:1'` and so on. */
  device?: Location;
  /**
   * Keep the largest and the smallest number and the mean of each channel of the keys of every full page, for questPageScores() of
   * keyPages(): for each of kvHeads * headDim channels two numbers of the cache's type and a float32 per page and layer. They follow append(), truncate() and fork(). With
   * `format` they are of keys as they came.
   */
  pageSummaries?: boolean;
}

export interface KvCacheOptions extends PageOptions {
  /** Layers of the model, 65536 at most; default 1. */
  layers?: number;
  /** Sequences of equal rank that are cached together; default: what the first append() has. */
  batch?: number;
  /** How keys and values are kept; default: the type of the first append(). Others are converted. */
  type?: FloatType;
  /** Tokens per sequence whose memory is reserved at once, in every layer. */
  capacity?: number;
  /** Most tokens per sequence; append() refuses more. */
  maxTokens?: number;
  /**
   * Newest tokens that a query sees, itself included; others are let go of, page by page. Default: all. With 0 it sees its
   * `sinkTokens` alone. StreamingLLM (arXiv 2309.17453). An array says it per KV head, Infinity for heads that see all tokens:
   * DuoAttention (arXiv 2410.10819), MoA (arXiv 2406.14909). Heads with equal numbers are best neighbours: they share pages, and a
   * call.
   */
  recentTokens?: PerHead;
  /** First tokens of a sequence that every query sees, next to `recentTokens`; default 0. An array says it per KV head. */
  sinkTokens?: PerHead;
  /**
   * With `rotary` and `recentTokens`: positions count the text (`'absolute'`, default), or the tokens that a query sees
   * (`'cache'`, as StreamingLLM has it: no position is beyond the window). Then batch entries have one length, and queries come
   * one by one once tokens are let go of. `extraKeys`, `scoreFactor`, `bias`, `mask`, `keyMask` and `alibiSlopes` are refused.
   */
  positions?: CachePositions;
  /** For each layer the one whose keys and values it reads, itself or an earlier one: see claLayerMap(). */
  layerMap?: readonly number[];
  /**
   * Tokens per page, as `pageLists` and selectors of pages count them; default 256, with `format` 16 to 256, about a quarter of the exact
   * tokens: with more, more tokens are exact as well. Not with `recentTokens`.
   */
  pageSize?: number;
  /**
   * How older keys and values are kept: `'int8'`, `'int4'`, `'int2'`, `{ keyBits, valueBits, group, residual }`, `{ tiers }`,
   * `'int8-token'` or `'duo4'`. Not with `recentTokens`.
   */
  format?: KvFormat;
  /** With `format`: also keeps all keys and values as they came, for error(). */
  shadow?: boolean;
  /** One append() per layer and no more, and attention() is not causal: for cross-attention. */
  readOnly?: boolean;
}

export interface KvPoolOptions extends PageOptions {
  /** Pages of the pool, which all its sequences share. */
  pages: number;
  /** Tokens per page; default 256. */
  pageSize?: number;
  /** Layers of the model, 65536 at most; default 1. */
  layers?: number;
  /** How keys and values are kept; default float32. Others are converted. */
  type?: FloatType;
  /**
   * How older keys and values are kept, as `format` of KvCache. A page is then a block of codes of one layer, `residual`
   * tokens (128 with `'int8-token'` and `'duo4'`), or as many exact tokens; `pageSize` is left out. Pages and blocks take memory when they
   * are used.
   */
  format?: KvFormat;
}

const cacheNames = namesOf<KvCacheOptions>({
  layers: 1,
  kvHeads: 1,
  headDim: 1,
  valueDim: 1,
  layout: 1,
  batch: 1,
  type: 1,
  capacity: 1,
  maxTokens: 1,
  recentTokens: 1,
  sinkTokens: 1,
  rotary: 1,
  positions: 1,
  layerMap: 1,
  readOnly: 1,
  format: 1,
  shadow: 1,
  device: 1,
  pageSize: 1,
  pageSummaries: 1,
});
const poolNames = namesOf<KvPoolOptions>({
  pages: 1,
  pageSize: 1,
  layers: 1,
  kvHeads: 1,
  headDim: 1,
  valueDim: 1,
  layout: 1,
  type: 1,
  rotary: 1,
  device: 1,
  pageSummaries: 1,
  format: 1,
});

export interface PageSettings {
  readonly kvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
  readonly layout: Layout;
  /** Place of the device in the addon's list. */
  readonly device: number;
  readonly hasSummaries: boolean;
}

export interface CacheSettings extends PageSettings {
  readonly batch: number | undefined;
  readonly type: FloatType | undefined;
  readonly capacity: number;
  readonly maxTokens: number;
  /** What its heads keep. */
  readonly parts: readonly PartSettings[];
  readonly rotary: RotarySettings | undefined;
  /** For each layer, which of the stored ones it reads. */
  readonly storedOf: readonly number[];
  /** The layers that have keys and values of their own. */
  readonly owners: readonly number[];
  readonly isReadOnly: boolean;
  /** Undefined: as long as heads keep tokens. */
  readonly pageSize: number | undefined;
  readonly format: FormatSettings | undefined;
  /** The options of a cache that keeps everything as it came. */
  readonly shadow: KvCacheOptions | undefined;
}

export interface PoolSettings extends PageSettings {
  readonly rotary: RotarySettings | undefined;
  readonly pages: number;
  readonly pageSize: number;
  readonly layers: number;
  readonly type: FloatType;
  readonly format: FormatSettings | undefined;
}

function readPageOptions(o: PageOptions): PageSettings {
  const headDim = checkInteger('headDim', o.headDim, 1, maxHeadDim);
  const device = o.device === undefined ? cpu : backendIndex(checkLocation('device', o.device));
  const hasSummaries = o.pageSummaries !== undefined && checkBoolean('pageSummaries', o.pageSummaries);
  return {
    kvHeads: checkInteger('kvHeads', o.kvHeads, 1, maxTokens),
    headDim,
    valueDim: o.valueDim === undefined ? headDim : checkInteger('valueDim', o.valueDim, 1, maxHeadDim),
    layout: o.layout === undefined ? 'bnhd' : checkOneOf('layout', o.layout, layouts),
    device,
    hasSummaries,
  };
}

const orElse = <T>(value: unknown, usual: T, check: () => T): T => (value === undefined ? usual : check());

/** Each layer has lists of its own in every sequence: more of them would be no model's. */
const maxLayers = 2 ** 16;
const checkLayers = (value: unknown) => orElse(value, 1, () => checkInteger('layers', value, 1, maxLayers));

export function readCacheOptions(options: KvCacheOptions): CacheSettings {
  checkNames('new KvCache()', options, cacheNames);
  const o = options;
  const most = orElse(o.maxTokens, maxTokens, () => checkInteger('maxTokens', o.maxTokens, 1, maxTokens));
  const layerMap = readLayerMap(o.layerMap, o.layers);
  const owners = layerMap.flatMap((owner, layer) => (owner === layer ? [layer] : []));
  const placeOf = new Map(owners.map((owner, place) => [owner, place]));
  const pages = readPageOptions(o);
  const parts = readParts(o.recentTokens, o.sinkTokens, pages.kvHeads);
  const forgets = parts.some(({ horizon }) => horizon);
  for (const name of ['pageSize', 'pageSummaries'] as const) {
    if (forgets && o[name] !== undefined) throw invalid(name, 'left out next to `recentTokens`', o[name]);
  }
  return {
    ...pages,
    batch: orElse(o.batch, undefined, () => checkInteger('batch', o.batch, 1, maxTokens)),
    type: orElse(o.type, undefined, () => checkOneOf('type', o.type as FloatType, floatTypes)),
    capacity: orElse(o.capacity, 0, () => checkInteger('capacity', o.capacity, 0, most)),
    maxTokens: most,
    parts,
    rotary: readRotary(o.rotary, o.positions, pages.headDim, forgets),
    storedOf: layerMap.map((owner) => placeOf.get(owner)!),
    owners,
    isReadOnly: orElse(o.readOnly, false, () => checkBoolean('readOnly', o.readOnly)),
    pageSize: orElse(o.pageSize, undefined, () => checkInteger('pageSize', o.pageSize, 1, maxTokens)),
    format: readCacheFormat(o, pages, forgets),
    shadow: readShadow(o),
  };
}

function readCacheFormat(options: KvCacheOptions, pages: PageSettings, forgets: boolean): FormatSettings | undefined {
  const read = readFormat(options.format, pages);
  if (!read || !forgets) return read;
  throw conflict('`format` does not go with `recentTokens`, whose few tokens stay as they came; leave it out');
}

function readShadow(options: KvCacheOptions): KvCacheOptions | undefined {
  const { format, shadow, ...others } = options;
  if (shadow === undefined || !checkBoolean('shadow', shadow)) return undefined;
  if (format === undefined) throw conflict('`shadow` needs `format` next to it: without codes nothing is lost');
  return { ...others, rotary: undefined };
}

const conflict = (message: string): Error => new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);

function readLayerMap(value: unknown, layers: unknown): number[] {
  if (value === undefined) return Array.from({ length: checkLayers(layers) }, (_, layer) => layer);
  const count = is.object(value) && Array.isArray(value) && value.length <= maxLayers ? value.length : 0;
  const least = layers === undefined ? count : checkLayers(layers);
  const map = count > 0 && count === least ? Array.from(value as readonly unknown[]) : [];
  const isMap =
    count > 0 &&
    map.length === count &&
    map.every((owner, layer) => is.integer(owner, 0, layer) && map[owner] === owner);
  if (!isMap) {
    const expected = `an array of ${least || 'at least one'} layers, each itself or an earlier one that reads its own`;
    throw invalid('layerMap', expected, value);
  }
  return map as number[];
}

export function readPoolOptions(options: KvPoolOptions): PoolSettings {
  checkNames('new KvPool()', options, poolNames);
  const o = options;
  const pages = readPageOptions(o);
  const format = readFormat(o.format, pages);
  if (format && o.pageSize !== undefined) {
    throw conflict('`pageSize` does not go with `format` of a pool, whose pages are blocks of codes; leave it out');
  }
  const usual = format?.blockTokens ?? usualPageSize;
  const pageSize = orElse(o.pageSize, usual, () => checkInteger('pageSize', o.pageSize, 1, maxTokens));
  return {
    ...pages,
    rotary: readRotary(o.rotary, undefined, pages.headDim, false),
    pages: checkInteger('pages', o.pages, 1, Math.floor(maxTokens / pageSize)),
    pageSize,
    layers: checkLayers(o.layers),
    type: orElse(o.type, 'float32', () => checkOneOf('type', o.type as FloatType, floatTypes)),
    format,
  };
}
