// power(): blocks at distances that are powers of two, behind a window of blocks and the leading ones.
// Reader: someone who runs PowerAttention. The rule is in core/pattern/power_ranges.h; here are its arguments and limits.

import { calling } from '../check/errors.js';
import { checkInteger, checkNames, invalid, maxTokens, namesOf } from '../check/validate.js';
import { native } from '../native/native.js';
import type { NativeRanges } from '../native/ranges.js';
import { type Align, checkAlign } from './align.js';
import { made } from './made.js';
import type { PositionsOfCall } from './positions.js';

/**
 * A query in block `b` sees, up to its own position, the keys of block `b - d` for `d` = 0, 1, 2, 4, 8 ..., for `d < window`, and
 * those of the first `sinkBlocks` blocks. Blocks are counted from position 0, wherever the queries begin.
 */
export interface PowerPattern {
  readonly kind: 'power';
  readonly block: number;
  readonly window: number;
  readonly sinkBlocks: number;
  readonly base: 2;
  readonly align: Align;
}

export interface PowerOptions {
  /** Tokens per block; from 1, default 256. */
  block?: number;
  /** Blocks of the window, the query's own included; default 5. The query's own is visible with 0, too. */
  window?: number;
  /** Leading blocks that stay visible; default 1. */
  sinkBlocks?: number;
  /** Distances are powers of this; 2. */
  base?: 2;
  /** Where queries are among the keys; default `'bottom-right'`. */
  align?: Align;
}

const powerNames = namesOf<PowerOptions>({ block: 1, window: 1, sinkBlocks: 1, base: 1, align: 1 });
const patternNames: ReadonlySet<string> = new Set(['kind', ...powerNames]);

/**
 * PowerAttention (arXiv 2503.03588): every key reaches every later query within a few layers, and a query visits about
 * `window + log2(blocks)` blocks. Causal. Prompts in chunks and single tokens see what a whole prompt would.
 * @param options see PowerOptions; the defaults are the paper's
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION
 */
export function power(options: PowerOptions = {}): PowerPattern {
  checkNames('power()', options, powerNames);
  const { block = 256, window = 5, sinkBlocks = 1, base = 2, align } = options;
  if (base !== 2) throw invalid('base', 'the number 2', base);
  return made({
    kind: 'power',
    block: checkInteger('block', block, 1, maxTokens),
    window: checkInteger('window', window, 0, maxTokens),
    sinkBlocks: checkInteger('sinkBlocks', sinkBlocks, 0, maxTokens),
    base,
    align: checkAlign(align),
  });
}

/** Checks a pattern that someone else may have built. */
export function checkPower(value: Record<string, unknown>): PowerPattern {
  checkNames('`pattern`', value, patternNames);
  const { kind: _, ...options } = value;
  return power(options as PowerOptions);
}

/** What the queries of a call see, as rows of ranges: a list for each row of positions. */
export function rangesOfPower({ block, window, sinkBlocks }: PowerPattern, at: PositionsOfCall): NativeRanges {
  const none = Int32Array.of(0);
  const rule = { left: none, right: none, sinkTokens: none, block, window, sinkBlocks };
  return calling(() => native.positionRanges({ ...at, ...rule }));
}
