// What hierarchical() costs at most: which keys it selects depends on the data, how many does not.
// Reader: someone who plans with hierarchical(). core/op/selection.h states the rule; these are its sizes.

import { type HierarchicalPattern, type SelectionStage, stagesOf, type TreePattern } from '../patterns/hierarchical.js';
import type { WindowPattern } from '../patterns/window.js';

/** Products of a query and a key that the selection computes. */
export interface SelectionCost {
  /** Of one head, all batch entries, at most. */
  readonly dots: number;
  /** 2 * dots * headDim * heads. */
  readonly flops: number;
}

/** What a stage keeps, in whole chunks. */
const whole = ({ keep, chunk }: Required<SelectionStage>): number => Math.floor(keep / chunk) * chunk;

/** Keys that a query sees at most between its sinks and its window. */
const kept = (pattern: HierarchicalPattern, keys: number): number => Math.min(...stagesOf(pattern, keys).map(whole));

/** A window that shows every query as many keys as a selection does at most: what is selected, moved to the sinks. */
export function boundOf(pattern: HierarchicalPattern, keys: number): WindowPattern {
  const sinkTokens = Math.min(keys, pattern.sink + kept(pattern, keys));
  return { kind: 'window', left: pattern.window - 1, right: 0, sinkTokens, align: 'bottom-right' };
}

/** Levels of halving until one token is left. */
const levels = (tokens: number): number => Math.ceil(Math.log2(Math.max(1, tokens)));

/** Products of one head and batch entry, at most. */
export function selectionDots(pattern: HierarchicalPattern, queries: number, keys: number): number {
  let dots = 0;
  let before: Required<SelectionStage> | undefined;
  for (const stage of stagesOf(pattern, keys)) {
    for (let begin = 0; begin < queries; begin += stage.blockQ) {
      const end = Math.min(queries, begin + stage.blockQ);
      const rows = Math.ceil((end - begin) / stage.strideQ);
      // Candidates are behind the sinks and before the window of the block's last query.
      const region = Math.max(0, Math.min(keys, end - 1 + keys - queries - pattern.window + 1) - pattern.sink);
      dots += rows * (pattern.method === 'tree' ? treeDots(pattern, region) : stageDots(stage, region, before));
    }
    before = stage;
  }
  return dots;
}

/** Two products per level and chunk; a chunk of one token takes one. */
function stageDots(
  { chunk }: Required<SelectionStage>,
  region: number,
  before: Required<SelectionStage> | undefined,
): number {
  const candidates = before ? Math.min(region, whole(before)) : region;
  return Math.ceil(candidates / chunk) * Math.max(1, 2 * levels(chunk));
}

/** Both halves of every group, level by level. */
function treeDots({ maskK, blockK, strideK }: TreePattern, region: number): number {
  const groups = Math.floor(maskK / blockK);
  const blocks = Math.ceil(region / blockK);
  if (blocks <= groups) return 0;
  return 2 * groups * Math.ceil(blockK / strideK) * levels(Math.ceil(blocks / groups));
}
