// What S2's layouts see: strided shards asked block by block, for plans, caches and warnings.
// Reader: someone who plans around s2Attention(). The rule is core's (core/pattern/strided_shards.h), asked through the
// addon with one head per layout; nothing here states it again.

import type { Shape } from '../call/shape.js';
import { allocating, calling, TilewiseRangeError } from '../check/errors.js';
import { maxTokens } from '../check/validate.js';
import { native } from '../native/native.js';
import { describe } from './index.js';
import { type Range, runsOf, unionOf } from './sights.js';
import type { ShardLayouts, StridedShardsPattern } from './strided-shards.js';

/** Queries of one layout. */
export interface LayoutRange extends Range {
  readonly layout: number;
}

/** A pattern's layouts, ready to be asked. */
export class ShardSights {
  readonly #numbers: Float64Array;
  readonly #views: ReturnType<typeof describe>['views'];

  /** @param blockSize tokens per block; with 1, queries and keys are counted in blocks */
  constructor(pattern: StridedShardsPattern, { count, step, offset }: ShardLayouts, blockSize: number) {
    const shape: Shape = {
      batch: 1,
      queryHeads: count,
      kvHeads: count,
      queries: maxTokens,
      keys: maxTokens,
      headDim: 1,
      valueDim: 1,
      type: 'float32',
      keyType: 'float32',
    };
    const perHead: StridedShardsPattern = {
      ...pattern,
      blockSize,
      layoutPer: 'q',
      preset: undefined,
      headStep: step,
      headOffset: offset,
      headBase: 0,
      homoHead: false,
      align: 'top-left',
      numHeads: count,
      numKvHeads: count,
    };
    ({ numbers: this.#numbers, views: this.#views } = describe(shape, perHead, undefined));
  }

  /** What ranges of queries see, as [range, begin, end, isInterior] of every run of keys, ascending in each range. */
  of(ranges: readonly LayoutRange[]): Int32Array {
    const boxes = allocating(() => new Float64Array(3 * ranges.length));
    ranges.forEach(({ layout, begin, end }, i) => {
      boxes.set([layout, begin, end], 3 * i);
    });
    return calling(() => native.sights(this.#numbers, this.#views, boxes));
  }
}

/**
 * The blocks that layouts never lose sight of, per layout: of the first `vertStride` blocks those that a query far behind
 * them sees. Later ones repeat after vertStride blocks.
 */
export function keptBlocks(
  pattern: StridedShardsPattern,
  layouts: ShardLayouts,
  numbers: readonly number[],
): Range[][] {
  const { vertStride } = pattern;
  const sights = new ShardSights({ ...pattern, localBlocks: 1 }, layouts, 1);
  // No block is further away than this.
  const far = Math.min(vertStride, maxTokens - 1);
  const asked = numbers.map((layout) => ({ layout, begin: far, end: far + 1 }));
  return runsOf(sights.of(asked), asked.length).map((runs) =>
    runs.flatMap(({ begin, end }) => (begin < far ? [{ begin, end: Math.min(end, far) }] : [])),
  );
}

/** Of the first `vertStride` blocks those that some layout of the model keeps. */
export function coveredBlocks(pattern: StridedShardsPattern, layouts: ShardLayouts): Range[] {
  // Layouts repeat after vertStride; dense ones are the last.
  const distinct = Math.min(layouts.count, pattern.vertStride);
  const numbers = Array.from({ length: distinct }, (_, l) => l);
  return unionOf(keptBlocks(pattern, layouts, [...numbers, layouts.count - 1]).flat());
}

let hasWarned = false;

/** Refuses, or warns once about, layouts that together miss a part of the far context. */
export function checkCoverage(pattern: StridedShardsPattern, layouts: ShardLayouts): void {
  const { requireFullCoverage: isRequired, vertStride, positions } = pattern;
  const { preset, headStep, homoHead } = pattern;
  const isChosen = preset !== undefined || headStep !== undefined || homoHead;
  if (isRequired === false || (isRequired === undefined && (hasWarned || !isChosen))) return;
  // Relative positions are the same for all heads and reach both ways: no block is ever done with.
  if (positions === 'relative') return;
  const covered = coveredBlocks(pattern, layouts).reduce((sum, { begin, end }) => sum + end - begin, 0);
  const missing = vertStride - covered;
  if (missing === 0) return;
  const what =
    `${missing} of every ${vertStride} blocks before the local window are visible to no head: ` +
    `\`vertStride\` ${vertStride}, ${layouts.count} ${layouts.count === 1 ? 'layout' : 'layouts'}, headStep ${layouts.step}`;
  if (isRequired) {
    throw new TilewiseRangeError('ERR_TILEWISE_INVALID_OPTION', `\`requireFullCoverage\` is not met: ${what}`);
  }
  hasWarned = true;
  process.emitWarning(`${what}. Set \`requireFullCoverage\` to refuse this, or to false if it is meant`, {
    type: 'TilewiseWarning',
    code: 'TILEWISE_PARTIAL_COVERAGE',
  });
}
