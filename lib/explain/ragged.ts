// Ragged calls in explain(): sequences of different lengths, each counted by itself, as the loops tile it; then added up.
// Reader: someone who asks what a step of a server costs.

import { mismatch } from '../call/shape.js';
import { TilewiseTypeError } from '../check/errors.js';
import { checkInteger, maxTokens } from '../check/validate.js';
import type { Pattern } from '../patterns/index.js';
import { readIntegerList } from '../tensor/integers.js';
import type { Counts, ExplainShape } from './explanation.js';
import type { Scene } from './scene.js';

/** Queries and keys of one sequence. */
export interface Lengths {
  readonly queries: number;
  readonly keys: number;
}

/** What is known of one sequence. */
export interface Explained {
  readonly counts: Counts;
  /** Tiles of dense attention with the pattern's causal rule, where it has one. */
  readonly causalTiles: number | undefined;
  readonly scene: Scene;
}

/** Patterns that say of any length what a query sees. */
const isOfAnyLength = ({ kind }: Pattern): boolean =>
  kind === 'window' || kind === 'stridedShards' || kind === 'sampledBlocks';

/** The sequences of a ragged call; undefined where the shape is of a batch. */
export function readSequences(shape: ExplainShape, pattern: Pattern): Lengths[] | undefined {
  const { queryLengths, keyLengths } = shape;
  if (queryLengths === undefined) return undefined;
  const other = (['batch', 'queries', 'keys', 'tokens'] as const).some((name) => shape[name] !== undefined);
  if (other || keyLengths === undefined) {
    throw conflict('`queryLengths` needs `keyLengths`, both in place of `batch`, `queries`, `keys` and `tokens`');
  }
  const ofBatch = (['keyStarts', 'mask', 'positions'] as const).find((name) => shape[name] !== undefined);
  if (ofBatch) throw conflict(`\`${ofBatch}\` does not go with \`queryLengths\`: ragged calls do not take it`);
  if (!isOfAnyLength(pattern)) {
    throw conflict(
      `\`queryLengths\` goes with windows, strided shards and sampled blocks, not with a pattern of kind '${pattern.kind}'`,
    );
  }
  const [queries, keys] = [readLengths('queryLengths', queryLengths), readLengths('keyLengths', keyLengths)];
  if (queries.length !== keys.length || queries.length === 0) {
    throw mismatch(
      `\`queryLengths\` and \`keyLengths\` must have an entry per sequence, not ${queries.length} and ${keys.length}`,
    );
  }
  return Array.from(queries, (count, i) => ({ queries: count, keys: keys[i] }));
}

function readLengths(name: string, value: NonNullable<ExplainShape['queryLengths']>): Int32Array {
  const lengths = readIntegerList(name, value);
  for (const [i, length] of lengths.entries()) checkInteger(`${name}[${i}]`, length, 0, maxTokens);
  return lengths;
}

const conflict = (message: string): Error => new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);

/** The sequence that computes the most. */
export const largestOf = (parts: readonly Explained[]): Explained =>
  parts.reduce((most, part) => (part.counts.pairs.computed > most.counts.pairs.computed ? part : most));

/** The counts of all sequences together; tiles and the worst head are those of the largest one. */
export function totalOf(parts: readonly Explained[]): Counts {
  const largest = largestOf(parts).counts;
  const sum = (count: (counts: Counts) => number) => parts.reduce((total, { counts }) => total + count(counts), 0);
  const [dense, visited] = [sum(({ tiles }) => tiles.dense), sum(({ tiles }) => tiles.visited)];
  const worst = parts.reduce((a, b) => (b.counts.idealSpeedup.worst < a.counts.idealSpeedup.worst ? b : a)).counts;
  const causal = parts.reduce((total, { causalTiles = Number.NaN }) => total + causalTiles, 0);
  const pairs = (name: keyof Counts['pairs']) => sum((counts) => counts.pairs[name]);
  return {
    ...largest,
    idealSpeedup: {
      average: dense > 0 ? dense / visited : 1,
      worst: worst.idealSpeedup.worst,
      ...(!Number.isNaN(causal) && { overCausal: causal > 0 ? causal / visited : 1 }),
    },
    tiles: {
      ...largest.tiles,
      dense,
      visited,
      interior: sum(({ tiles }) => tiles.interior),
      worst: worst.tiles.worst,
      why: `${largest.tiles.why}; other sequences have their own`,
    },
    pairs: { dense: pairs('dense'), computed: pairs('computed'), interior: pairs('interior'), useful: pairs('useful') },
    flops: sum(({ flops }) => flops),
    bytes: sum(({ bytes }) => bytes),
    bytesTouched: sum(({ bytesTouched }) => bytesTouched),
    ...(largest.workspace !== undefined && { workspace: sum(({ workspace = 0 }) => workspace) }),
  };
}
