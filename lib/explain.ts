// explain(): what a pattern costs before it is run, counted on the tiles that would run it.
// Reader: someone choosing a pattern or a shape. Counts come from core/explain.h, which cuts the same geometry the loops do.

import { backendIndex, backendName, devices } from './devices.js';
import { native } from './native.js';
import { type DeviceName, deviceNames, floatTypes } from './options.js';
import { checkPattern, type Pattern } from './patterns.js';
import { checkHeads, describe, maxHeadDim, outputHeads, type Shape } from './problem.js';
import { bytesPer, type FloatType } from './tensor.js';
import { checkInteger, checkNames, checkOneOf, maxTokens } from './validate.js';

/** The sizes of a call. */
export interface ExplainShape {
  /** Default 1. */
  batch?: number;
  queryHeads: number;
  kvHeads: number;
  queries: number;
  keys: number;
  headDim: number;
  /** Default headDim. */
  valueDim?: number;
  /** Default 'float32'. */
  dtype?: FloatType;
}

/** What a call costs. Tiles and pairs count one head, all batch entries; flops and bytes the whole call. */
export interface Explanation {
  /** Dense tiles over visited tiles: what skipping can win, on average and for the query tile that wins least. */
  readonly idealSpeedup: { readonly average: number; readonly worst: number };
  readonly tiles: {
    /** Tiles of the whole score matrix. */
    readonly dense: number;
    /** Tiles with a visible key, which are computed. */
    readonly visited: number;
    /** Visited tiles that every query sees whole: these run without a mask. */
    readonly interior: number;
    /** Tokens per tile. */
    readonly shape: { readonly queries: number; readonly keys: number };
  };
  /** (query, key) pairs: of the whole matrix, in visited tiles, and visible. */
  readonly pairs: { readonly dense: number; readonly computed: number; readonly useful: number };
  /** 2 * visible pairs * (headDim + valueDim) * heads. */
  readonly flops: number;
  /** q, k, v and out, each read or written once. */
  readonly bytes: number;
  /**
   * The backend that would run the call. `reasons`: one sentence for every device that cannot be used and for
   * everything that keeps this backend from running the problem.
   */
  readonly backend: { readonly name: string; readonly reasons: readonly string[] };
  /** The same as a few lines of text. */
  toString(): string;
}

const shapeNames: ReadonlySet<string> = new Set(
  Object.keys({
    batch: 1,
    queryHeads: 1,
    kvHeads: 1,
    queries: 1,
    keys: 1,
    headDim: 1,
    valueDim: 1,
    dtype: 1,
  } satisfies Record<keyof ExplainShape, 1>),
);
const optionNames: ReadonlySet<string> = new Set(['device']);

/**
 * Counts what attention() would do with a pattern and a shape, without running it. Takes time proportional to the number of
 * queries.
 * @param pattern from full(), causal(), slidingWindow()
 * @param shape sizes of the call
 * @param options.device as in attention()
 * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_UNKNOWN_OPTION,
 *   ERR_TILEWISE_SHAPE_MISMATCH, ERR_TILEWISE_NO_DEVICE
 */
export function explain(pattern: Pattern, shape: ExplainShape, options: { device?: DeviceName } = {}): Explanation {
  checkPattern(pattern);
  checkNames('the shape of explain()', shape, shapeNames);
  checkNames('explain()', options, optionNames);
  const device = options.device === undefined ? 'auto' : checkOneOf('device', options.device, deviceNames);
  const { batch = 1, valueDim = shape.headDim, dtype = 'float32' } = shape;
  const sizes: Shape = {
    batch: checkInteger('batch', batch, 0, maxTokens),
    queryHeads: checkInteger('queryHeads', shape.queryHeads, 1, maxTokens),
    kvHeads: checkInteger('kvHeads', shape.kvHeads, 1, maxTokens),
    queries: checkInteger('queries', shape.queries, 0, maxTokens),
    keys: checkInteger('keys', shape.keys, 0, maxTokens),
    headDim: checkInteger('headDim', shape.headDim, 1, maxHeadDim),
    valueDim: checkInteger('valueDim', valueDim, 1, maxHeadDim),
    type: checkOneOf('dtype', dtype, floatTypes),
  };
  checkHeads(sizes);
  const plan = native.explain(describe(sizes, pattern, device));
  const heads = outputHeads(sizes);
  const queryNumbers = sizes.queries * (sizes.queryHeads * sizes.headDim + heads * sizes.valueDim);
  const keyNumbers = sizes.keys * sizes.kvHeads * (sizes.headDim + sizes.valueDim);
  const unavailable = devices().filter(({ isAvailable }) => !isAvailable);
  return new CountedExplanation({
    idealSpeedup: {
      // Infinity when nothing is visible; 1 when there is nothing to see.
      average: plan.tilesDense > 0 ? plan.tilesDense / plan.tilesVisited : 1,
      worst: plan.tilesDense > 0 ? 1 / plan.worstShare : 1,
    },
    tiles: {
      dense: plan.tilesDense,
      visited: plan.tilesVisited,
      interior: plan.tilesInterior,
      shape: { queries: plan.tileQueries, keys: plan.tileKeys },
    },
    pairs: { dense: plan.pairsDense, computed: plan.pairsComputed, useful: plan.pairsUseful },
    flops: 2 * plan.pairsUseful * (sizes.headDim + sizes.valueDim) * heads,
    bytes: sizes.batch * (queryNumbers + keyNumbers) * bytesPer(sizes.type),
    backend: {
      name: backendName(backendIndex(device)),
      reasons: [...unavailable.map(({ name, reason }) => `${name}: ${reason}`), ...plan.reasons],
    },
  });
}

class CountedExplanation implements Explanation {
  declare readonly idealSpeedup: Explanation['idealSpeedup'];
  declare readonly tiles: Explanation['tiles'];
  declare readonly pairs: Explanation['pairs'];
  declare readonly flops: number;
  declare readonly bytes: number;
  declare readonly backend: Explanation['backend'];

  constructor(counts: Omit<Explanation, 'toString'>) {
    Object.assign(this, counts);
  }

  toString(): string {
    const { tiles, pairs, idealSpeedup, backend } = this;
    const share = (part: number, whole: number) => (whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : 'none');
    return [
      `backend   ${backend.name}${backend.reasons.map((reason) => `\n          (${reason})`).join('')}`,
      `speed-up  ${idealSpeedup.average.toFixed(2)}x over dense at best, ${idealSpeedup.worst.toFixed(2)}x for the worst query tile`,
      `tiles     ${tiles.visited} of ${tiles.dense} visited (${share(tiles.visited, tiles.dense)}), ${tiles.interior} without a mask, ` +
        `${tiles.shape.queries} queries x ${tiles.shape.keys} keys each`,
      `pairs     ${pairs.useful} visible of ${pairs.computed} computed (${share(pairs.useful, pairs.computed)})`,
      `work      ${(this.flops / 1e9).toPrecision(4)} GFLOP, ${(this.bytes / 1e6).toPrecision(4)} MB in and out`,
    ].join('\n');
  }
}
