// Patterns: which keys a query may see, as plain frozen values. Here is the union of all kinds; each has a file.
// Reader: someone who adds a kind: a line in the union, in both switches and in `codes`. The rules themselves are in
// core/pattern/; nothing is computed here.

import { Request } from '../call/request.js';
import { outputHeads, putShape, type Shape } from '../call/shape.js';
import { invalid, is } from '../check/validate.js';
import { attentionForm, field } from '../native/fields.js';
import { atPositions, type RuledPattern, rangesOf } from './as-ranges.js';
import { checkSlices } from './attention-slices.js';
import { askingFor, listsOf, type NativeLists, putLists } from './block-lists.js';
import { type BlocksPattern, checkBlocks } from './blocks.js';
import { checkDocuments } from './documents.js';
import { checkHierarchical, type HierarchicalPattern } from './hierarchical.js';
import { isMade } from './made.js';
import { checkNeighborhood, type Grid, type NeighborhoodPattern, putGrid } from './neighborhood.js';
import type { Positions } from './positions.js';
import { checkPower, type PowerPattern } from './power.js';
import { checkRanges, putRanges, type RangesPattern } from './ranges.js';
import {
  checkSampledBlocks,
  type SampledBlocksPattern,
  type SequenceLengths,
  sampledListsOf,
} from './sampled-blocks.js';
import { checkStridedShards, putShards, type StridedShardsPattern } from './strided-shards.js';
import { checkWindow, putWindows, type WindowPattern } from './window.js';

/** Every kind of pattern. */
export type Pattern =
  | WindowPattern
  | NeighborhoodPattern
  | StridedShardsPattern
  | BlocksPattern
  | RangesPattern
  | SampledBlocksPattern
  | RuledPattern
  | HierarchicalPattern;

/** Checks a pattern that someone else may have built. */
export function checkPattern(value: unknown): Pattern {
  if (is.object(value)) {
    if (isMade(value)) return value as unknown as Pattern;
    switch (value.kind) {
      case 'window':
        return checkWindow(value);
      case 'neighborhood':
        return checkNeighborhood(value);
      case 'stridedShards':
        return checkStridedShards(value);
      case 'blocks':
        return checkBlocks(value);
      case 'ranges':
        return checkRanges(value);
      case 'sampledBlocks':
        return checkSampledBlocks(value);
      case 'documents':
        return checkDocuments(value);
      case 'slices':
        return checkSlices(value);
      case 'power':
        return checkPower(value);
      case 'hierarchical':
        return checkHierarchical(value);
    }
  }
  throw invalid('pattern', `what ${makers.join(', ')} or hierarchical() return`, value);
}

const makers = [
  ...['full()', 'causal()', 'slidingWindow()', 'neighborhood()', 'stridedShards()', 'blocks()', 'ranges()'],
  ...['documents()', 'attentionSlices()', 'power()', 'sampledBlocks()'],
];

/** A pattern that native code runs as it is: one that selects or draws has been turned into its lists, a rule into ranges. */
export type RunnablePattern = Exclude<Pattern, { kind: 'hierarchical' | 'sampledBlocks' } | RuledPattern> | NativeLists;

/**
 * What runs for sequences of such lengths; a hierarchical pattern selects elsewhere, from the data.
 * @param told how long sequences are, and where tokens are: with positions a window or power()
 */
export function runnableOf(
  pattern: Exclude<Pattern, { kind: 'hierarchical' }>,
  sequences: Shape,
  told: SequenceLengths & { readonly positions?: Positions | undefined },
): RunnablePattern {
  if (told.positions) return atPositions(pattern as WindowPattern | PowerPattern, sequences, told.positions);
  switch (pattern.kind) {
    case 'sampledBlocks':
      return sampledListsOf(pattern, { ...sequences, heads: outputHeads(sequences) }, told);
    case 'documents':
    case 'slices':
    case 'power':
      return rangesOf(pattern, sequences, told.keyLengths);
    default:
      return pattern;
  }
}

// The values of the field `pattern`.
const codes: Record<RunnablePattern['kind'], number> = {
  window: 0,
  neighborhood: 1,
  stridedShards: 2,
  blocks: 3,
  lists: 3,
  ranges: 4,
};

/** Asks a pattern's predicate, in slices, what putPattern() would ask at once; undefined: there is nothing to ask. */
export function questionsOf(
  pattern: RunnablePattern,
  shape: Shape,
): ((signal: AbortSignal | undefined) => Promise<unknown>) | undefined {
  if (pattern.kind !== 'blocks') return undefined;
  const asking = askingFor(pattern, { ...shape, heads: outputHeads(shape) });
  return asking && ((signal) => asking.finishInSlices(signal, pattern.onProgress));
}

/** A problem of this shape and pattern without data, for explain(). `grid` belongs to neighborhoods. */
export function describe(shape: Shape, pattern: RunnablePattern, grid: Grid | undefined): Request {
  const request = new Request(attentionForm, false);
  putShape(request.numbers, shape);
  putPattern(request, pattern, shape, grid);
  return request;
}

/** Fills in a pattern. `grid` belongs to neighborhoods. */
export function putPattern(request: Request, pattern: RunnablePattern, shape: Shape, grid: Grid | undefined): void {
  request.numbers[field.pattern] = codes[pattern.kind];
  switch (pattern.kind) {
    case 'window':
      putWindows(request, pattern, shape);
      break;
    case 'neighborhood':
      putGrid(request.numbers, grid as Grid);
      break;
    case 'stridedShards':
      putShards(request.numbers, pattern, shape);
      break;
    case 'blocks':
      putLists(request, listsOf(pattern, { ...shape, heads: outputHeads(shape) }));
      break;
    case 'lists':
      putLists(request, pattern);
      break;
    case 'ranges':
      putRanges(request, pattern, { ...shape, heads: outputHeads(shape) });
  }
}
