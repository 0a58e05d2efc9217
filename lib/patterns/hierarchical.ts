// hierarchical(): which keys a query sees is found out from queries and keys, block of queries by block of queries.
// Reader: someone with long contexts who wants to know what is approximated. The rule itself is stated in
// core/op/selection.h; here are its arguments, their limits and the presets.

import { TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { checkInteger, checkNames, checkOneOf, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import { made } from './made.js';

/** Whose selection is one: every query head's, that of the query heads of a KV head, or that of all heads. */
export type SelectionScope = 'head' | 'kv' | 'layer';

/** One stage of selection: chunks of keys are searched, the best are kept and cut into the next stage's chunks. */
export interface SelectionStage {
  /** Queries that share a selection; divides that of the stage before. Default: the option `blockQ`. */
  readonly blockQ?: number;
  /** Of those queries every so manieth takes part: the last of each group. */
  readonly strideQ: number;
  /** Keys per chunk; divides that of the stage before. */
  readonly chunk: number;
  /** Keys kept, in whole chunks; at least one chunk. */
  readonly keep: number;
}

interface Selected {
  readonly kind: 'hierarchical';
  /** Leading keys that every query sees. */
  readonly sink: number;
  /** Keys up to a query's own position that it sees; the rest is selected from the keys between sinks and window. */
  readonly window: number;
  readonly scope: SelectionScope;
}

/** Chunks of keys, kept and cut, stage by stage (InfiniteHiP, arXiv 2502.08910). */
export interface StagedPattern extends Selected {
  readonly method: 'staged';
  readonly stages: readonly Required<SelectionStage>[];
  /** With fewer keys than `below`, these stages instead. */
  readonly shorter?: { readonly below: number; readonly stages: readonly Required<SelectionStage>[] };
}

/** Ranges of keys, halved over and over (HiP, arXiv 2406.09827). */
export interface TreePattern extends Selected {
  readonly method: 'tree';
  readonly blockQ: number;
  readonly strideQ: number;
  readonly strideK: number;
  readonly blockK: number;
  readonly maskK: number;
}

export type HierarchicalPattern = StagedPattern | TreePattern;

export type HierarchicalPreset = '16k-shallow' | '3k' | '5k' | 'default' | 'llama-3.1' | 'test-high';

/** What hierarchical() can be told: a preset, `stages`, or `method: 'tree'` and its sizes. Nothing at all: 'default'. */
export interface HierarchicalOptions {
  /**
   * Stages, sink and window by name; options below that are given replace theirs. `'default'`: 2048 keys of 64:8k,
   * 8:2k (chunk : keep); with fewer than 32768 keys 512 of 64:4k, 8:512. `'3k'`, `'5k'`, `'16k-shallow'`: InfiniteHiP's.
   * `'llama-3.1'`: its later configuration. `'test-high'`: near dense.
   */
  preset?: HierarchicalPreset;
  /** `'staged'` (default), or `'tree'`: slower on many cores, kept for comparison. */
  method?: 'staged' | 'tree';
  /** One to eight stages, each finer than the one before. */
  stages?: readonly SelectionStage[];
  /** Queries that share a selection; default 64. At most `window`. */
  blockQ?: number;
  /** Leading keys that every query sees; default 128. */
  sink?: number;
  /** Keys up to its own position that every query sees; default 1024. At least the queries of a block. */
  window?: number;
  /** Who shares a selection: `'kv'` (default) the query heads of one KV head, `'head'` nobody, `'layer'` all heads. */
  scope?: SelectionScope;
  /** Tree: keys selected; default 512. */
  maskK?: number;
  /** Tree: keys per block; default 2. */
  blockK?: number;
  /** Tree: of a block's queries every so manieth takes part; default 2. */
  strideQ?: number;
  /** Tree: of a block's keys every so manieth takes part; default 1. */
  strideK?: number;
}

/** Most stages: kMaxSelectionStages in core/op/selection.h. */
const maxStages = 8;
const methods = ['staged', 'tree'] as const;
const scopes = ['head', 'kv', 'layer'] as const;

const sharedNames = ['method', 'sink', 'window', 'scope'] as const;
const treeNames = ['maskK', 'blockK', 'strideQ', 'strideK'] as const;
export const hierarchicalNames = namesOf<HierarchicalOptions>({
  preset: 1,
  method: 1,
  stages: 1,
  blockQ: 1,
  sink: 1,
  window: 1,
  scope: 1,
  maskK: 1,
  blockK: 1,
  strideQ: 1,
  strideK: 1,
});
const stageNames = namesOf<SelectionStage>({ blockQ: 1, strideQ: 1, chunk: 1, keep: 1 });
const shorterNames: ReadonlySet<string> = new Set(['below', 'stages']);
const stagedPatternNames: ReadonlySet<string> = new Set(['kind', ...sharedNames, 'stages', 'shorter']);
const treePatternNames: ReadonlySet<string> = new Set(['kind', ...sharedNames, 'blockQ', ...treeNames]);

const k = 1024;
const stage = (chunk: number, keep: number, strideQ: number): SelectionStage => ({ strideQ, chunk, keep });
const infiniteHip = { sink: 256, window: 1024 };
/** Chunk, keys kept and strideQ of every stage; blocks of 64 queries. */
const presets: Record<
  HierarchicalPreset,
  Pick<StagedPattern, 'sink' | 'window'> & Pick<HierarchicalOptions, 'stages'>
> = {
  // Of equal cost, 64-token chunks in two stages keep more of the softmax's mass than 256:32k, 32:8k, 8:2k does (keys
  // with correlation 0.9: 0.86 against 0.60 at 128k). Synthetic keys; not measured on a model.
  default: { sink: 128, window: 1024, stages: [stage(64, 8 * k, 4), stage(8, 2 * k, 1)] },
  '3k': { ...infiniteHip, stages: [stage(256, 32 * k, 4), stage(32, 8 * k, 4), stage(8, 2 * k, 1)] },
  '5k': { ...infiniteHip, stages: [stage(64, 32 * k, 4), stage(32, 16 * k, 4), stage(16, 4 * k, 1)] },
  '16k-shallow': { ...infiniteHip, stages: [stage(32, 16 * k, 4)] },
  'test-high': { ...infiniteHip, stages: [stage(64, 64 * k, 1), stage(16, 16 * k, 1), stage(1, 4 * k, 1)] },
  'llama-3.1': { ...infiniteHip, stages: [stage(64, 32 * k, 2), stage(32, 8 * k, 2), stage(8, 2 * k, 1)] },
};
const defaultShorter = { below: 32 * k, stages: [stage(64, 4 * k, 4), stage(8, 512, 1)] };
const presetNames = Object.keys(presets) as HierarchicalPreset[];

/**
 * Every query sees the first `sink` keys, the last `window` keys up to its own position, and about as many keys between
 * as the last stage keeps: those whose products with some of the block's queries are the largest, looked for where
 * neighbouring keys score alike. Causal, queries at the end of the keys.
 *
 * An approximation: a key that stands out among its neighbours can be missed. Early queries of a block are served by a
 * selection that later ones take part in; `blockQ: 1` rules that out.
 * @param options a preset's name, or see HierarchicalOptions
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION
 */
export function hierarchical(options: HierarchicalOptions | HierarchicalPreset = {}): HierarchicalPattern {
  if (typeof options === 'string') return hierarchical({ preset: checkOneOf('preset', options, presetNames) });
  checkNames('hierarchical()', options, hierarchicalNames);
  const o: HierarchicalOptions = { ...options };
  const method = o.method === undefined ? 'staged' : checkOneOf('method', o.method, methods);
  if (method === 'tree') {
    refuseBeside(o, "`method` 'tree'", ['preset', 'stages']);
    return readPattern(
      { blockQ: 64, maskK: 512, blockK: 2, strideQ: 2, strideK: 1, ...common, ...given(o), method },
      '',
    );
  }
  refuseBeside(o, "`method` 'staged'", treeNames);
  if (o.stages !== undefined) {
    refuseBeside(o, '`stages`', ['preset']);
    return readPattern({ ...common, ...given(o), method }, '');
  }
  const preset = o.preset === undefined ? 'default' : checkOneOf('preset', o.preset, presetNames);
  const shorter = preset === 'default' ? defaultShorter : undefined;
  return readPattern({ scope: 'kv', ...presets[preset], shorter, ...given(o), method }, '');
}

/** Checks a pattern that someone else may have built. */
export function checkHierarchical(value: Record<string, unknown>): HierarchicalPattern {
  checkNames('`pattern`', value, value.method === 'tree' ? treePatternNames : stagedPatternNames);
  return readPattern(value, 'pattern.');
}

const common = { scope: 'kv', sink: 128, window: 1024 };

const given = (o: HierarchicalOptions): Record<string, unknown> =>
  Object.fromEntries(Object.entries(o).filter(([, value]) => value !== undefined));

function refuseBeside(o: HierarchicalOptions, what: string, names: readonly (keyof HierarchicalOptions)[]): void {
  const name = names.find((candidate) => o[candidate] !== undefined);
  if (name === undefined) return;
  throw new TilewiseTypeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `${what} leaves no room for \`${name}\`; leave one of them out`,
  );
}

function readPattern(o: Record<string, unknown>, prefix: string): HierarchicalPattern {
  const count = (name: string, least: number) => checkInteger(`${prefix}${name}`, o[name], least, maxTokens);
  const method = checkOneOf(`${prefix}method`, o.method, methods);
  const blockQ = o.blockQ === undefined ? 64 : count('blockQ', 1);
  const shared = {
    kind: 'hierarchical' as const,
    sink: count('sink', 0),
    window: count('window', 1),
    scope: checkOneOf(`${prefix}scope`, o.scope, scopes),
  };
  if (method === 'tree') {
    checkWindow(prefix, shared.window, blockQ);
    const blockK = count('blockK', 1);
    const [strideQ, strideK, maskK] = [count('strideQ', 1), count('strideK', 1), count('maskK', blockK)];
    return made({ ...shared, method, blockQ, strideQ, strideK, blockK, maskK });
  }
  const stages = readStages(`${prefix}stages`, o.stages, blockQ);
  checkWindow(prefix, shared.window, stages[0].blockQ);
  if (o.shorter === undefined) return made({ ...shared, method, stages });
  if (!is.object(o.shorter)) throw invalid(`${prefix}shorter`, 'an object { below, stages }', o.shorter);
  checkNames(`\`${prefix}shorter\``, o.shorter, shorterNames);
  const shorter = Object.freeze({
    below: checkInteger(`${prefix}shorter.below`, o.shorter.below, 0, maxTokens),
    stages: readStages(`${prefix}shorter.stages`, o.shorter.stages, blockQ),
  });
  checkWindow(prefix, shared.window, shorter.stages[0].blockQ);
  return made({ ...shared, method, stages, shorter });
}

/** Candidates must be older than every query of a block, so that no query meets its future. */
function checkWindow(prefix: string, window: number, blockQ: number): void {
  if (window >= blockQ) return;
  throw new TilewiseRangeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `\`${prefix}window\` must be at least ${blockQ}, the queries of a block (blockQ), not ${window}`,
  );
}

function readStages(name: string, value: unknown, blockQ: number): readonly Required<SelectionStage>[] {
  if (!Array.isArray(value) || value.length < 1 || value.length > maxStages) {
    throw invalid(name, `an array of 1 to ${maxStages} stages { strideQ, chunk, keep }`, value);
  }
  let before: Required<SelectionStage> | undefined;
  const stages = value.map((given: unknown, i) => {
    const at = `${name}[${i}]`;
    if (!is.object(given)) throw invalid(at, 'an object { strideQ, chunk, keep }', given);
    checkNames(`\`${at}\``, given, stageNames);
    const chunk = checkInteger(`${at}.chunk`, given.chunk, 1, maxTokens);
    const read = Object.freeze({
      blockQ:
        given.blockQ === undefined
          ? (before?.blockQ ?? blockQ)
          : checkInteger(`${at}.blockQ`, given.blockQ, 1, maxTokens),
      strideQ: checkInteger(`${at}.strideQ`, given.strideQ, 1, maxTokens),
      chunk,
      keep: checkInteger(`${at}.keep`, given.keep, chunk, Number.MAX_SAFE_INTEGER),
    });
    for (const part of ['blockQ', 'chunk'] as const) {
      if (before === undefined || before[part] % read[part] === 0) continue;
      throw new TilewiseRangeError(
        'ERR_TILEWISE_INVALID_OPTION',
        `\`${at}.${part}\` must divide the ${before[part]} of the stage before, not be ${read[part]}`,
      );
    }
    before = read;
    return read;
  });
  return Object.freeze(stages);
}

/** The stages that run for so many keys; a tree is one stage whose chunks are its blocks of keys. */
export function stagesOf(pattern: HierarchicalPattern, keys: number): readonly Required<SelectionStage>[] {
  if (pattern.method === 'tree') {
    const { blockQ, strideQ, blockK, maskK } = pattern;
    return [{ blockQ, strideQ, chunk: blockK, keep: maskK }];
  }
  return pattern.shorter && isShort(pattern, keys) ? pattern.shorter.stages : pattern.stages;
}

/** Whether so many keys have stages of their own. */
export const isShort = (pattern: HierarchicalPattern, keys: number): boolean =>
  pattern.method === 'staged' && pattern.shorter !== undefined && keys < pattern.shorter.below;
