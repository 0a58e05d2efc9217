// explain(): what a pattern costs before it is run, counted on the tiles that would run it or on tiles of one's own.
// Reader: someone choosing a pattern or a shape. Counts come from core/plan/plan.h, which asks the patterns what the loops ask.

import type { Request } from '../call/request.js';
import { checkHeads, maxHeadDim, outputHeads, type Shape } from '../call/shape.js';
import { calling, TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { checkInteger, checkNames, checkOneOf, invalid, maxTokens, namesOf } from '../check/validate.js';
import { field } from '../native/fields.js';
import { type NativePlan, native } from '../native/native.js';
import type { HierarchicalPattern } from '../patterns/hierarchical.js';
import { checkPattern, describe, type Pattern, type RunnablePattern, runnableOf } from '../patterns/index.js';
import { axisRules, type Grid, maxGridRank, type PerAxis } from '../patterns/neighborhood.js';
import { checkCoverage } from '../patterns/shard-sights.js';
import { shardLayouts } from '../patterns/strided-shards.js';
import { boundsOf } from '../selectors/hierarchical-bound.js';
import { describePages } from '../stores/pages.js';
import { bytesPer, floatTypes, sizeOf } from '../tensor/views.js';
import { chooseBackend } from './backend.js';
import { causalShare } from './causal-dense.js';
import { CountedExplanation } from './counted.js';
import type { Counts, ExplainOptions, ExplainShape, Explanation } from './explanation.js';
import { exactPageSize, keyBytesOf, readDevice } from './format.js';
import { type Hiding, putHiding, readHiding, rowsOfGate, rowsOfKeyMask, simplerThan, withoutHidden } from './hiding.js';
import { boundsOfPages, readPageSize } from './page-size.js';
import { type Explained, largestOf, readSequences, totalOf } from './ragged.js';
import { headsToDraw, type Scene } from './scene.js';
import {
  describeExcess,
  describeLeftOut,
  describeSpeedup,
  titleOf,
  titleOfHiding,
  titleOfSequences,
  titleOfSizes,
} from './text.js';
import { bytesOfWorkspace, readWorkspace } from './workspace.js';

const shapeNames = namesOf<ExplainShape>({
  batch: 1,
  queryHeads: 1,
  kvHeads: 1,
  queries: 1,
  keys: 1,
  tokens: 1,
  headDim: 1,
  valueDim: 1,
  dtype: 1,
  keyDtype: 1,
  similarity: 1,
  rotary: 1,
  pageSize: 1,
  selectedPages: 1,
  format: 1,
  queryLengths: 1,
  keyLengths: 1,
  keyStarts: 1,
  mask: 1,
  keyMask: 1,
  gate: 1,
  positions: 1,
});
const optionNames = namesOf<ExplainOptions>({ device: 1, queryTile: 1, keyTile: 1, tiling: 1 });

/**
 * Counts what attention() would do with a pattern and a shape, without running it. A grid takes time proportional to the
 * sum of its axes' lengths, other patterns to the number of query tiles times the runs of keys that one sees.
 * Where masks hide keys their numbers are read, and a grid takes as long as other patterns.
 * @param pattern any pattern; hierarchical() gets bounds, because what it selects depends on the data
 * @param shape sizes of the call; `tokens` in place of queries and keys
 * @param options see ExplainOptions
 * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_UNKNOWN_OPTION,
 *   ERR_TILEWISE_SHAPE_MISMATCH, ERR_TILEWISE_NO_DEVICE
 */
export function explain(pattern: Pattern, shape: ExplainShape, options: ExplainOptions = {}): Explanation {
  const checked = checkPattern(pattern);
  checkNames('the shape of explain()', shape, shapeNames);
  checkNames('explain()', options, optionNames);
  const sequences = readSequences(shape, checked);
  if (!sequences) {
    const { counts, scene } = explainBatch(checked, shape, options);
    return new CountedExplanation(counts, scene);
  }
  const { queryLengths: _, keyLengths: __, keyMask, gate, ...sizes } = shape;
  const masks = keyMask && rowsOfKeyMask(keyMask, sequences);
  const gates = gate && rowsOfGate(gate, sequences);
  const parts = sequences.map((lengths, i) => {
    const own = { ...(masks && { keyMask: masks[i] }), ...(gates && { gate: gates[i] }) };
    return explainBatch(checked, { ...sizes, ...lengths, ...own }, options);
  });
  const counts = totalOf(parts);
  const title = `${titleOf(checked)}; ${titleOfSequences(sequences, readSizes({ ...sizes, ...sequences[0] }, undefined), sizes.pageSize)}`;
  const notes = [...notesOf(counts), 'pictures are of the sequence that computes most'];
  return new CountedExplanation(counts, { ...largestOf(parts).scene, title, notes });
}

/** Counts a call whose batch entries are alike. */
function explainBatch(pattern: Pattern, shape: ExplainShape, options: ExplainOptions): Explained {
  const device = readDevice(options, shape);
  const tokens = readTokens(shape, pattern);
  const sizes = readSizes(shape, tokens);
  checkHeads(sizes);
  const grid: Grid | undefined =
    pattern.kind === 'neighborhood' && tokens ? { lengths: tokens, rules: axisRules(pattern, tokens) } : undefined;
  const hiding = readHiding(shape, pattern, sizes);
  const pageSize = readPageSize(shape, pattern);
  const bounds =
    pattern.kind === 'hierarchical'
      ? boundsOf(pattern, sizes, hiding.keyLengths)
      : boundsOfPages(shape, pattern, sizes, pageSize, hiding.keyLengths);
  const counted = bounds ? bounds.window : runnableOf(pattern as Exclude<Pattern, HierarchicalPattern>, sizes, hiding);
  const rank = grid ? grid.lengths.length : 1;
  const tiles = readTiles(options, rank);
  if (pattern.kind === 'stridedShards')
    checkCoverage(pattern, shardLayouts(pattern, outputHeads(sizes), sizes.kvHeads));
  const keyBytes = keyBytesOf(shape, pattern, sizes);
  const workspace = readWorkspace(shape, pattern);
  const requestOf = (one: RunnablePattern, hidden: Hiding) => {
    const request = describe(sizes, one, grid);
    if (workspace?.isCosine) request.numbers[field.isCosine] = 1;
    const stored = pageSize ?? exactPageSize(shape, sizes);
    if (stored !== undefined) describePages(request, stored, sizes);
    putHiding(request, hidden, sizes, tokens ?? [sizes.queries]);
    return request;
  };
  const hidesByMask = (hiding.mask ?? hiding.keyMask ?? hiding.gate) !== undefined;
  const unmasked = { ...hiding, mask: undefined, keyMask: undefined, gate: undefined };
  const request = requestOf(counted, bounds ? unmasked : hiding);
  const { numbers, views } = request;
  const planOn = (index: number, of: Request) => {
    of.numbers[field.device] = index;
    return calling(() => native.explain(of.numbers, of.views, tiles));
  };
  const { plan: whole, backend } = chooseBackend(device, (index) => planOn(index, request));
  const plan =
    bounds && hidesByMask
      ? withoutHidden(
          whole,
          (hidden) => planOn(numbers[field.device], requestOf(bounds.known, hidden)),
          hiding,
          unmasked,
        )
      : whole;
  const dots = bounds?.dots;
  const ruled = counted.kind === 'ranges' ? pattern : counted; // ranges do not say what made them
  const share = hiding.positions ? undefined : causalShare(ruled, sizes, grid, tilesOf(plan, rank));
  const simpler = simplerThan(hiding, pattern, sizes);
  const found = {
    ...counts(plan, sizes, rank, share, dots, hidesByMask && !bounds, keyBytes),
    ...(workspace && { workspace: bytesOfWorkspace(workspace, sizes, backend.name) }),
    ...(simpler && { maskPattern: simpler }),
    backend,
  };
  const seen = (boxes: readonly number[], tiles?: Float64Array) =>
    calling(() => native.sights(numbers, views, Float64Array.from(boxes), tiles));
  const scene: Scene = {
    title: `${titleOf(pattern)}; ${titleOfSizes(sizes, tokens, pageSize)}${titleOfHiding(hiding.names)}`,
    notes: [
      ...notesOf(found),
      ...(hiding.names.length > 0 && sizes.batch > 1 ? ['pictures are of the first batch entry'] : []),
      ...(hidesByMask && (grid || bounds) ? ['pictures are of the pattern without a mask or gate'] : []),
    ],
    isEmpty: sizes.batch === 0 || sizes.queries === 0 || sizes.keys === 0,
    queries: sizes.queries,
    keys: sizes.keys,
    grid: grid && {
      lengths: grid.lengths,
      dilations: grid.rules.map(({ dilation }) => dilation),
      isMasked: hidesByMask,
    },
    blockQueries:
      counted.kind === 'blocks' ? counted.blockQ : counted.kind === 'lists' ? counted.blockQueries : undefined,
    queryTile: tokensOf(plan, rank),
    keyTile: plan.keyTile.slice(0, rank),
    isDynamic: options.tiling === 'dynamic',
    ...headsToDraw(counted, sizes, seen),
    sights: (boxes) => seen(boxes),
    tiles: (boxes) => seen(boxes, tiles),
  };
  return { counts: found, causalTiles: share === undefined ? undefined : found.tiles.dense * share, scene };
}

function notesOf(counts: Counts): string[] {
  const excess = describeExcess(counts);
  return [describeSpeedup(counts), ...(excess ? [excess] : [])];
}

/** A query tile in tokens: rows of several heads are rows of fewer tokens. */
const tokensOf = ({ queryTile, headsPerTile }: NativePlan, rank: number): number[] =>
  queryTile.slice(0, rank).map((rows) => Math.max(1, Math.floor(rows / headsPerTile)));

/** A plan's tiles as they are asked for: those of one head, at their multiples. */
function tilesOf(plan: NativePlan, rank: number): Float64Array {
  const tiles = new Float64Array(1 + 2 * maxGridRank);
  tiles.set(tokensOf(plan, rank), 1);
  tiles.set(plan.keyTile.slice(0, rank), 1 + maxGridRank);
  return tiles;
}

/** The token axes when the caller names them; neighborhoods must, everything else may. */
function readTokens(shape: ExplainShape, pattern: Pattern): number[] | undefined {
  const { tokens, queries, keys } = shape;
  if (tokens === undefined) {
    if (pattern.kind !== 'neighborhood') return undefined;
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      'A neighborhood needs `tokens`, the lengths of its one to three token axes, in place of `queries` and `keys`',
    );
  }
  if (queries !== undefined || keys !== undefined) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      '`tokens` stands for both `queries` and `keys`; leave those out',
    );
  }
  const lengths = Array.isArray(tokens) ? (tokens as readonly number[]) : [tokens as number];
  if (lengths.length < 1 || lengths.length > maxGridRank) {
    throw invalid('tokens', `one to ${maxGridRank} lengths`, tokens);
  }
  return lengths.map((length, axis) =>
    checkInteger(Array.isArray(tokens) ? `tokens[${axis}]` : 'tokens', length, 0, maxTokens),
  );
}

function readSizes(shape: ExplainShape, tokens: readonly number[] | undefined): Shape {
  const { batch = 1, valueDim = shape.headDim, dtype = 'float32', keyDtype = dtype } = shape;
  const count = tokens && sizeOf(tokens);
  if (count !== undefined && count > maxTokens) {
    throw new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`tokens\` must be at most ${maxTokens} in all, not ${count}`,
    );
  }
  return {
    batch: checkInteger('batch', batch, 0, maxTokens),
    queryHeads: checkInteger('queryHeads', shape.queryHeads, 1, maxTokens),
    kvHeads: checkInteger('kvHeads', shape.kvHeads, 1, maxTokens),
    queries: count ?? checkInteger('queries', shape.queries, 0, maxTokens),
    keys: count ?? checkInteger('keys', shape.keys, 0, maxTokens),
    headDim: checkInteger('headDim', shape.headDim, 1, maxHeadDim),
    valueDim: checkInteger('valueDim', valueDim, 1, maxHeadDim),
    type: checkOneOf('dtype', dtype, floatTypes),
    keyType: checkOneOf('keyDtype', keyDtype, dtype === 'float32' ? floatTypes : [dtype]),
  };
}

/** The tiles asked for, as native code reads them: 0 leaves the choice to the backend. */
function readTiles({ queryTile, keyTile, tiling }: ExplainOptions, rank: number): Float64Array {
  const numbers = new Float64Array(1 + 2 * maxGridRank);
  if (tiling !== undefined && checkOneOf('tiling', tiling, ['static', 'dynamic'] as const) === 'dynamic')
    numbers[0] = 1;
  const read = (name: string, value: PerAxis<number> | undefined, at: number) => {
    if (value === undefined) return;
    const isList = Array.isArray(value);
    if (isList && value.length !== rank) {
      throw new TilewiseRangeError(
        'ERR_TILEWISE_SHAPE_MISMATCH',
        `\`${name}\` has ${value.length} axes, but the tokens have ${rank}; give one number or as many`,
      );
    }
    for (let axis = 0; axis < rank; ++axis) {
      const one = isList ? value[axis] : value;
      numbers[at + axis] = checkInteger(isList ? `${name}[${axis}]` : name, one, 1, maxTokens);
    }
  };
  read('queryTile', queryTile, 1);
  read('keyTile', keyTile, 1 + maxGridRank);
  return numbers;
}

function counts(
  plan: NativePlan,
  sizes: Shape,
  rank: number,
  share: number | undefined,
  dots: number | undefined,
  hidesByMask: boolean,
  keyBytes: number,
): Omit<Counts, 'backend'> {
  const { batch, queries, keys, headDim, valueDim } = sizes;
  const heads = outputHeads(sizes);
  // Native counts are sums over heads, or over groups of heads that share tiles.
  const perHead = (pairs: number) => pairs / heads;
  const perMap = (tiles: number) => (plan.maps > 0 ? (tiles * batch) / plan.maps : 0);
  const dense = perMap(plan.queryTiles) * plan.keyTiles;
  const visited = perMap(plan.visited);
  const queryTile = tokensOf(plan, rank);
  const keyTile = plan.keyTile.slice(0, rank);
  const rows = batch * queries * (sizes.queryHeads * headDim + heads * valueDim);
  const bytesOfKeys = (count: number) => rows * bytesPer(sizes.type) + count * keyBytes;
  return {
    idealSpeedup: {
      // Infinity when nothing is visible; 1 when there is nothing to see.
      average: dense > 0 ? dense / visited : 1,
      worst: dense > 0 ? plan.keyTiles / plan.mostVisited : 1,
      ...(share !== undefined && { overCausal: dense * share > 0 ? (dense * share) / visited : 1 }),
    },
    tiles: {
      dense,
      visited,
      interior: perMap(plan.interior),
      worst: { visited: plan.mostVisited, dense: plan.keyTiles },
      shape: { queries: sizeOf(queryTile), keys: sizeOf(keyTile) },
      queryTile,
      keyTile,
      why: `${plan.why || 'as asked for'}${hidesByMask ? `; ${describeLeftOut(plan.maskKeys)}` : ''}`,
    },
    pairs: {
      dense: batch * queries * keys,
      computed: perHead(plan.computed),
      interior: perHead(plan.unmasked),
      useful: perHead(plan.useful),
    },
    flops: 2 * plan.useful * (headDim + valueDim),
    bytes: bytesOfKeys(batch * keys * sizes.kvHeads),
    bytesTouched: bytesOfKeys(plan.keysTouched),
    ...(plan.variesByHead && {
      worstHead: {
        head: plan.worstHead,
        visited: plan.worstHeadVisited,
        computed: plan.worstHeadComputed / plan.headsPerTile,
        useful: plan.worstHeadUseful / plan.headsPerTile,
        idealSpeedup: (plan.worstHeadQueryTiles * plan.keyTiles) / plan.worstHeadVisited,
      },
    }),
    ...(dots !== undefined && { selection: { dots, flops: 2 * dots * headDim * heads } }),
  };
}
