// The part of bench/RESULTS.md that bench/suites/masks.mjs measured, and its targets. Reader: as report.mjs.
import { machineLines } from './machine-lines.mjs';
import { heading, list, NOT_MEASURED, speedColumns, table } from './tables.mjs';

const held = ({ ratio, most }) => (ratio ? `${ratio.toFixed(2)}x${most ? ` (at most ${most}x)` : ''}` : '');

/** @param {object | null} result of bench/suites/masks.mjs */
export function maskSections(result) {
  if (!result) return [heading('Masks and biases', '', `${NOT_MEASURED}: run \`npm run bench:masks\``)];
  const [time, , , quiet] = speedColumns;
  const names = [...new Set(result.rows.map(({ group }) => group))];
  const columns = [['', (r) => r.name], time, ['time over the first row', held], quiet];
  return [
    heading(
      'Masks and biases',
      'The same rule said in a mask or a bias, as exporters write it, and in few words. Batch 1 where nothing else is said, one thread.',
      list(machineLines(result.machine)),
    ),
    ...names.map(
      (name) =>
        `### ${name}\n\n${table(
          result.rows.filter(({ group }) => group === name),
          columns,
        )}`,
    ),
  ];
}

/** @returns {import('./targets.mjs').Target[]} */
export function maskTargets({ rows }) {
  const kinds = new Map();
  for (const row of rows.filter(({ most }) => most)) {
    const text = `${row.group.split(/[ ,]/, 1)[0]}, ${row.name}: at most ${row.most}x`;
    const worst = kinds.get(text);
    if (!worst || row.ratio > worst.ratio) kinds.set(text, row);
  }
  return [...kinds].map(([text, { ratio, most, group, isQuiet }]) => ({
    text,
    measured: `${ratio.toFixed(2)}x (${group}${isQuiet ? '' : ', noisy'})`,
    isMet: ratio <= most,
    short: Math.max(0, ratio / most - 1),
  }));
}
