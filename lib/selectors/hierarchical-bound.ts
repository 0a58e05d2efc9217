// What hierarchical() costs at most: which keys it selects depends on the data, how many does not.
// Reader: someone who plans with hierarchical(). core/op/selection.h states the rule; these are its sizes.

import type { HierarchicalPattern } from '../patterns/hierarchical.js';
import type { WindowPattern } from '../patterns/window.js';

/** Products of a query and a key that the selection computes. */
export interface SelectionCost {
  /** Of one head, all batch entries, at most. */
  readonly dots: number;
  /** 2 * dots * headDim * heads. */
  readonly flops: number;
}

const stagesOf = (pattern: Extract<HierarchicalPattern, { method: 'staged' }>, keys: number) =>
  pattern.shorter && keys < pattern.shorter.below ? pattern.shorter.stages : pattern.stages;

const whole = (keep: number, chunk: number): number => Math.floor(keep / chunk) * chunk;

/** Keys that a query sees at most between its sinks and its window. */
function kept(pattern: HierarchicalPattern, keys: number): number {
  if (pattern.method === 'tree') return whole(pattern.maskK, pattern.blockK);
  return Math.min(...stagesOf(pattern, keys).map(({ keep, chunk }) => whole(keep, chunk)));
}

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
  const stages = pattern.method === 'tree' ? [pattern] : stagesOf(pattern, keys);
  let before: { chunk: number; keep: number } | undefined;
  for (const stage of stages) {
    for (let begin = 0; begin < queries; begin += stage.blockQ) {
      const end = Math.min(queries, begin + stage.blockQ);
      const rows = Math.ceil((end - begin) / stage.strideQ);
      // Candidates lie behind the sinks and before the window of the block's last query.
      const region = Math.max(0, Math.min(keys, end - 1 + keys - queries - pattern.window + 1) - pattern.sink);
      dots += rows * ('chunk' in stage ? stageDots(stage.chunk, region, before) : treeDots(stage, region));
    }
    if ('chunk' in stage) before = stage;
  }
  return dots;
}

/** Two products per level and chunk; a chunk of one token takes one. */
function stageDots(chunk: number, region: number, before: { chunk: number; keep: number } | undefined): number {
  const candidates = before ? Math.min(region, whole(before.keep, before.chunk)) : region;
  return Math.ceil(candidates / chunk) * Math.max(1, 2 * levels(chunk));
}

/** Both halves of every group, level by level. */
function treeDots(
  { maskK, blockK, strideK }: { maskK: number; blockK: number; strideK: number },
  region: number,
): number {
  const groups = Math.floor(maskK / blockK);
  const blocks = Math.ceil(region / blockK);
  if (blocks <= groups) return 0;
  return 2 * groups * Math.ceil(blockK / strideK) * levels(Math.ceil(blocks / groups));
}
