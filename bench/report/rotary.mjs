// The part of bench/RESULTS.md that bench/suites/rotary.mjs measured. Reader: as report.mjs.
import { machineLines } from './machine-lines.mjs';
import { heading, list, NOT_MEASURED, speedColumns, table } from './tables.mjs';

/** @param {object | null} result of bench/suites/rotary.mjs */
export function rotarySections(result) {
  if (!result) return [heading('Rotary embedding', '', `${NOT_MEASURED}: run \`npm run bench:rotary\``)];
  const [time, , , quiet] = speedColumns;
  const columns = [
    ['', ({ group }) => group],
    ['', ({ name }) => name],
    time,
    ['time over a copy', ({ ratio }) => (ratio ? `${ratio.toFixed(2)}x` : '')],
    quiet,
  ];
  return [
    heading(
      'Rotary embedding',
      'rotateSync() against a plain copy of the tensor. Batch 1, tokens first, one thread.',
      `${list(machineLines(result.machine))}\n\n${table(result.rows, columns)}`,
    ),
  ];
}
