// Patterns: which keys a query may see, as plain frozen values. Here is the union of all kinds; each has a file.
// Reader: someone who adds a kind. The rules themselves are in core/pattern/; nothing is computed here.

import { invalid, is } from '../check/validate.js';
import { type BlocksPattern, checkBlocks } from './blocks.js';
import { checkHierarchical, type HierarchicalPattern } from './hierarchical.js';
import { isMade } from './made.js';
import { checkNeighborhood, type NeighborhoodPattern } from './neighborhood.js';
import { checkStridedShards, type StridedShardsPattern } from './strided-shards.js';
import { checkWindow, type WindowPattern } from './window.js';

/** Every kind of pattern. */
export type Pattern = WindowPattern | NeighborhoodPattern | StridedShardsPattern | BlocksPattern | HierarchicalPattern;

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
      case 'hierarchical':
        return checkHierarchical(value);
    }
  }
  const makers = ['full()', 'causal()', 'slidingWindow()', 'neighborhood()', 'stridedShards()', 'blocks()'];
  throw invalid('pattern', `what ${makers.join(', ')} or hierarchical() return`, value);
}
