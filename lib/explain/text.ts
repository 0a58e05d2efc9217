// An explanation in words. Reader: someone who changes what explain() prints.

import type { Shape } from '../call/shape.js';
import { is } from '../check/validate.js';
import type { Pattern } from '../patterns/index.js';
import type { MaskDocuments, MaskPattern } from '../patterns/mask-pattern.js';
import type { Counts } from './explanation.js';
import type { Lengths } from './ragged.js';

/** What makes such a pattern: the name that callers know. */
function makerOf(pattern: Pattern): string {
  if (pattern.kind === 'slices') return 'attentionSlices';
  if (pattern.kind !== 'window') return pattern.kind;
  const { left, right, sinkTokens } = pattern;
  if (left !== Number.POSITIVE_INFINITY || sinkTokens !== 0) return 'slidingWindow';
  if (right === Number.POSITIVE_INFINITY) return 'full';
  return right === 0 ? 'causal' : 'slidingWindow';
}

/** A pattern in words: its maker, numbers, words and axes. What is endless, false or absent says nothing. */
export function titleOf(pattern: Pattern): string {
  const maker = makerOf(pattern);
  if (maker === 'full') return maker; // wherever its queries are
  const words = Object.entries(pattern).flatMap(([name, value]): string[] => {
    if (name === 'kind') return [maker];
    if (value === Number.POSITIVE_INFINITY || (name === 'sinkTokens' && value === 0)) return [];
    if (maker === 'causal' && name === 'right') return [];
    if (pattern.kind === 'window' && Array.isArray(value)) return [`${name} ${titleOfHeadNumbers(value)}`];
    if (typeof value === 'number' || typeof value === 'string') return [`${name} ${value}`];
    if (value === true) return [name];
    if (is.plain(value) && Object.values(value).every(is.number)) {
      const numbers = Object.entries(value).map(([of, one]) => `${of} ${one}`);
      return [`${name} ${numbers.join(' ')}`];
    }
    if (!Array.isArray(value) || value.some((one) => typeof one === 'object') || value.every((one) => one === false)) {
      return [];
    }
    return [`${name} ${value.join(typeof value[0] === 'number' ? 'x' : '/')}`];
  });
  return words.join(', ');
}

/** Numbers that differ from head to head: all of them if they are few. */
function titleOfHeadNumbers(numbers: readonly number[]): string {
  const shown = (value: number) => (value === Number.POSITIVE_INFINITY ? 'all' : String(value));
  if (numbers.length <= 8) return numbers.map(shown).join('/');
  return `${shown(Math.min(...numbers))} to ${shown(Math.max(...numbers))} by head`;
}

/** The sizes of a call in words. */
export function titleOfSizes(sizes: Shape, tokens: readonly number[] | undefined, pageSize?: number): string {
  const { batch, queries, keys } = sizes;
  return [
    batch === 1 ? '' : `batch ${batch}, `,
    tokens ? `${tokens.join('x')} tokens` : `${queries} queries, ${keys} keys`,
    titleOfHeads(sizes, pageSize),
  ].join('');
}

/** Which tiles a mask keeps from being visited. */
export const describeLeftOut = (keys: number): string =>
  keys === 0
    ? 'no tile is left out for a mask'
    : `keys that masks hide from all queries of a tile are left out, ${keys === 1 ? 'one by one' : `${keys} at a time`}`;

/** Names of what hides keys beyond the pattern. */
export const titleOfHiding = (names: readonly string[]): string => names.map((name) => `, \`${name}\``).join('');

/** The same of a ragged call; the lengths of `sizes` are those of one sequence and say nothing. */
export function titleOfSequences(sequences: readonly Lengths[], sizes: Shape, pageSize?: number): string {
  const total = (name: keyof Lengths) => sequences.reduce((sum, lengths) => sum + lengths[name], 0);
  const count = sequences.length === 1 ? '1 sequence' : `${sequences.length} sequences`;
  return `${count}, ${total('queries')} queries and ${total('keys')} keys in all${titleOfHeads(sizes, pageSize)}`;
}

function titleOfHeads({ queryHeads, kvHeads, headDim, valueDim, type, keyType }: Shape, pageSize?: number): string {
  const both = (a: number | string, b: number | string) => (a === b ? String(a) : `${a}/${b}`);
  const heads = `, ${both(queryHeads, kvHeads)} ${queryHeads === 1 ? 'head' : 'heads'} of ${both(headDim, valueDim)}`;
  const store = pageSize === undefined ? '' : `, keys on pages of ${pageSize}`;
  return `${heads}, ${both(type, keyType)}${store}`;
}

const ratio = (value: number): string => (Number.isFinite(value) ? `${value.toFixed(2)}x` : 'nothing visible');
const share = (part: number, whole: number): string => (whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : 'none');
/** Whole numbers as they are; means over heads with one digit. */
const count = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(1));

/** What skipping can win at best. */
export const describeSpeedup = ({ idealSpeedup: { average, overCausal } }: Counts): string =>
  `${ratio(average)} over dense at best` +
  (overCausal === undefined ? '' : `, ${ratio(overCausal)} over dense with the same causal rule`);

/** A warning where tiles do not pay; undefined where they do. */
export function describeExcess({ tiles: { visited, dense, worst } }: Counts): string | undefined {
  if (visited <= dense && worst.visited <= worst.dense) return undefined;
  const who = visited > dense ? 'these tiles are' : 'those of the worst query tile are';
  return `${who} more than dense attention would visit: dynamic tiles begin anew with every run of keys`;
}

/** What could be said in place of a mask. */
function describeMaskPattern(said: MaskPattern | MaskDocuments): string {
  if ('pattern' in said)
    return '`pattern: documents()` hides the same keys as the mask, which is then not read: see `maskPattern`';
  const { causal, ...others } = said;
  const names = [...(causal ? ['causal'] : []), ...Object.keys(others)].map((name) => `\`${name}\``);
  if (names.length === 0) return 'the mask hides nothing; a call without it reads less';
  const verb = names.length === 1 ? 'hides' : 'hide';
  return `${names.join(', ')} ${verb} the same keys as the mask, which is then not read: see \`maskPattern\``;
}

/** The counts, a line each. */
export function describeCounts(e: Counts): string[] {
  const { tiles, pairs, idealSpeedup, backend, worstHead, selection, maskPattern } = e;
  const box = (axes: readonly number[]) => axes.join('x');
  const lines = [
    `backend   ${backend.name}: ${backend.why}${backend.reasons.map((reason) => `\n          (${reason})`).join('')}`,
    `tile      ${box(tiles.queryTile)} queries x ${box(tiles.keyTile)} keys: ${tiles.why}`,
    `speed-up  ${describeSpeedup(e)}; ${ratio(idealSpeedup.worst)} for the worst query tile` +
      ` (${count(tiles.worst.visited)} of ${count(tiles.worst.dense)} tiles)`,
    `tiles     ${count(tiles.visited)} of ${count(tiles.dense)} visited (${share(tiles.visited, tiles.dense)}), ` +
      `${count(tiles.interior)} without a mask (${share(tiles.interior, tiles.visited)} of those)`,
    `pairs     ${count(pairs.useful)} visible of ${count(pairs.computed)} computed (${share(pairs.useful, pairs.computed)}), ` +
      `${count(pairs.dense)} dense`,
    `work      ${(e.flops / 1e9).toPrecision(4)} GFLOP, ${(e.bytes / 1e6).toPrecision(4)} MB in and out` +
      (e.bytesTouched < e.bytes ? `, ${(e.bytesTouched / 1e6).toPrecision(4)} MB of them touched` : '') +
      (e.workspace === undefined ? '' : `, ${(e.workspace / 1e6).toPrecision(4)} MB of workspace`),
  ];
  const excess = describeExcess(e);
  if (excess) lines.push(`warning   ${excess}`);
  if (maskPattern) lines.push(`advice    ${describeMaskPattern(maskPattern)}`);
  if (worstHead) {
    lines.push(
      `heads     differ: counts are means; head ${worstHead.head} computes most, ${count(worstHead.computed)} pairs, ` +
        `${ratio(worstHead.idealSpeedup)} over dense`,
    );
  }
  if (selection) {
    lines.push(
      `selection ${count(selection.dots)} products per head at most, ${(selection.flops / 1e9).toPrecision(4)} GFLOP`,
      'bound     what is selected depends on the data: counts are for as many keys as may be, side by side',
    );
  }
  return lines;
}
