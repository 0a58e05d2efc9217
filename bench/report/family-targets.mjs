// The figures the families hold themselves to, checked against a result of bench/suites/families.mjs.
// Reader: as targets.mjs. Each is asked of every instruction set by itself; the bars were set for AVX2.
import { atLeast, ofFma, percent, times } from './targets.mjs';

const ofFlopRatio = (row) => row.ofFlopRatio;
const speedup = (row) => row.speedup;

/** "Between `least` and `most`" for the row that is farthest outside, or nearest to a bound. */
function between(text, [least, most], rows, figureOf, show) {
  const full = `${text}: ${show(least)} to ${show(most)}`;
  if (rows.length === 0) return { text: full, measured: 'not measured', isMet: null };
  const missing = (row) => Math.max(1 - figureOf(row) / least, figureOf(row) / most - 1);
  const worst = rows.reduce((a, b) => (missing(b) > missing(a) ? b : a));
  const noise = worst.isQuiet === false ? ', noisy' : '';
  return {
    text: full,
    measured: `${show(figureOf(worst))} (${worst.name}${noise})`,
    isMet: missing(worst) <= 0,
  };
}

function denseTargets(set, rows) {
  const windows = (test) => rows.filter((r) => r.kind === 'window' && test(r.window));
  const kernels = (kernel) => rows.filter((r) => r.kind === 'neighborhood' && r.kernel === kernel);
  const s2 = rows.filter((r) => r.kind === 's2');
  const blocks = rows.filter((r) => r.kind === 'blocks');
  const ofBound = (row) => row.speedup / row.bound;
  return [
    atLeast(`${set}: S2 16k, of the FLOP ratio to dense causal`, 0.92, s2, ofFlopRatio, percent),
    atLeast(
      `${set}: sliding windows of 512 and more, 16k, of the FLOP ratio to dense causal`,
      0.92,
      windows((keys) => keys >= 512),
      ofFlopRatio,
      percent,
    ),
    atLeast(
      `${set}: sliding window of 128, 16k, of the FLOP ratio to dense causal`,
      0.8,
      windows((keys) => keys === 128),
      ofFlopRatio,
      percent,
    ),
    atLeast(`${set}: random block lists, 64-row query blocks, any run, of the FMA peak`, 0.6, blocks, ofFma, percent),
    atLeast(`${set}: neighborhood 64x64, 7x7, against dense`, 31, kernels('7x7'), speedup, times),
    atLeast(`${set}: neighborhood 64x64, 13x13, against dense`, 14, kernels('13x13'), speedup, times),
    atLeast(
      `${set}: neighborhood 16x28x28, 8x7x7, of the planner's average bound`,
      0.85,
      kernels('8x7x7'),
      ofBound,
      percent,
    ),
  ];
}

function hipTargets(set, rows) {
  const at = (group, size) => rows.filter((r) => r.kind === 'hip' && r.group === group && r.size === size);
  return [
    [65536, '64k', 4, 8],
    [131072, '128k', 8, 14],
  ].flatMap(([size, text, prefill, decode]) => [
    atLeast(
      `${set}: HiP prefill ${text}, selection included, against dense causal`,
      prefill,
      at('hip prefill', size),
      speedup,
      times,
    ),
    atLeast(
      `${set}: HiP decode ${text}, refresh 16 and 8, against dense`,
      decode,
      at('hip decode', size),
      speedup,
      times,
    ),
  ]);
}

function sqaTargets(set, rows) {
  const variant = (name) => rows.filter((r) => r.kind === 'sqa' && r.variant === name && r.speedup);
  return [
    between(`${set}: SQA 8k, time of GQA 32/8 over SQA 16/8`, [1.9, 2.05], variant('SQA'), speedup, times),
    between(`${set}: SQA 8k, time of GQA 32/8 over xSQA 8/8`, [3.7, 4.1], variant('xSQA'), speedup, times),
  ];
}

/** What asking a predicate may cost beyond the asking, and for how long the event loop may wait. */
function predicateTargets(rows) {
  const [longest] = rows.toSorted((a, b) => b.tokens - a.tokens);
  const atMost = (text, most, value, show) => ({
    text: `${text}: at most ${show(most)}`,
    measured: longest ? `${show(value)} (${longest.name}${longest.isQuiet ? '' : ', noisy'})` : 'not measured',
    isMet: longest ? value <= most : null,
  });
  const ms = (value) => `${value.toFixed(1)} ms`;
  const pause = longest && Math.max(longest.pauseMs.mask, longest.pauseMs.call);
  return [
    atMost('createBlockMask, time of a plain loop that asks each pair once', 2, longest?.ratio, times),
    atMost('a predicate, longest pause of the event loop', 12, pause, ms),
  ];
}

/** What a study of the same stages found, less its noise. */
function recallTargets(recall) {
  const lengths = [...new Set(recall.map((r) => r.tokens))];
  return lengths.map((tokens) => {
    const rows = recall.filter((r) => r.tokens === tokens);
    const [{ expected, noise, stages }] = rows;
    const text = `HiP ${stages}, T=${tokens}, mass recall on AR(1) keys (${expected.toFixed(2)} less a noise of ${noise})`;
    const show = (share) => share.toFixed(2);
    return atLeast(text, expected - noise, rows, (r) => r.recall, show);
  });
}

/** @returns {import('./targets.mjs').Target[]} of a result of bench/suites/families.mjs */
export function familyTargets({ rows, predicates = [], recall }) {
  const sets = [...new Set(rows.map((r) => r.set))];
  const perSet = sets.flatMap((set) => {
    const ours = rows.filter((r) => r.set === set);
    return [...denseTargets(set, ours), ...hipTargets(set, ours), ...sqaTargets(set, ours)];
  });
  return [...perSet, ...predicateTargets(predicates), ...recallTargets(recall)];
}
