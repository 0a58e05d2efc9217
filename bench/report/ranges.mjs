// Patterns that become ranges of keys, for bench/RESULTS.md and docs/measurements/targets.md: what `npm run bench:families --
// --filter '^(documents|zigzag|power)' --json bench/results/ranges.json` measured. Reader: as report.mjs.
import { patternTable } from './families.mjs';
import { machineLines } from './machine-lines.mjs';
import { heading, list, NOT_MEASURED } from './tables.mjs';
import { atLeast, percent } from './targets.mjs';

/** @param {object | null} result of bench/suites/families.mjs */
export const rangeSections = (result) => [
  heading(
    'Ranges of keys',
    'Documents against packed sequences, a shard of a zigzag ring and `power()` against dense causal; 2 heads.',
    result ? `${list(machineLines(result.machine))}\n\n${patternTable(result.rows)}` : NOT_MEASURED,
  ),
];

/** @returns {import('./targets.mjs').Target[]} of the same result */
export function rangeTargets({ rows }) {
  const sets = [...new Set(rows.map((r) => r.set))];
  return sets.flatMap((set) => {
    const of = (group) => rows.filter((r) => r.set === set && r.group === group && r.ofFlopRatio);
    const share = (row) => row.ofFlopRatio;
    return [
      atLeast(`${set}: documents, of the speed of the same ones packed`, 1 / 1.03, of('documents'), share, percent),
      atLeast(`${set}: a zigzag shard, of the FLOP/s of dense causal`, 0.97, of('positions'), share, percent),
      atLeast(`${set}: power() at 32k, of the FLOP ratio to dense causal`, 0.85, of('power'), share, percent),
    ];
  });
}
