// Patterns: which keys a query may see, as plain frozen values. Here is the union of all kinds; each has a file.
// Reader: someone who adds a kind: a line in the union, in both switches and in `codes`. The rules themselves are in
// core/pattern/; nothing is computed here.

import { Request } from '../call/request.js';
import { outputHeads, putShape, type Shape } from '../call/shape.js';
import { invalid, is } from '../check/validate.js';
import { attentionForm, field } from '../native/fields.js';
import { askingFor, listsOf, type NativeLists, putLists } from './block-lists.js';
import { type BlocksPattern, checkBlocks } from './blocks.js';
import { checkHierarchical, type HierarchicalPattern } from './hierarchical.js';
import { isMade } from './made.js';
import { checkNeighborhood, type Grid, type NeighborhoodPattern, putGrid } from './neighborhood.js';
import { checkRanges, putRanges, type RangesPattern } from './ranges.js';
import {
  checkSampledBlocks,
  type SampledBlocksPattern,
  type SequenceLengths,
  sampledListsOf,
} from './sampled-blocks.js';
import { checkStridedShards, putShards, type StridedShardsPattern } from './strided-shards.js';
import { checkWindow, putWindow, type WindowPattern } from './window.js';

/** Every kind of pattern. */
export type Pattern =
  | WindowPattern
  | NeighborhoodPattern
  | StridedShardsPattern
  | BlocksPattern
  | RangesPattern
  | SampledBlocksPattern
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
      case 'hierarchical':
        return checkHierarchical(value);
    }
  }
  const makers = [
    'full()',
    'causal()',
    'slidingWindow()',
    'neighborhood()',
    'stridedShards()',
    'blocks()',
    'ranges()',
    'sampledBlocks()',
  ];
  throw invalid('pattern', `what ${makers.join(', ')} or hierarchical() return`, value);
}

/** A pattern that native code runs as it is: one that selects or draws has been turned into its lists. */
export type RunnablePattern = Exclude<Pattern, { kind: 'hierarchical' | 'sampledBlocks' }> | NativeLists;

/** What runs for sequences of such lengths; a hierarchical pattern selects elsewhere, from the data. */
export const runnableOf = (
  pattern: Exclude<Pattern, { kind: 'hierarchical' }>,
  sequences: Shape,
  lengths: SequenceLengths,
): RunnablePattern =>
  pattern.kind === 'sampledBlocks'
    ? sampledListsOf(pattern, { ...sequences, heads: outputHeads(sequences) }, lengths)
    : pattern;

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
      putWindow(request.numbers, pattern);
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
