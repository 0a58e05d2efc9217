// The rows of a suite that holds every call against the first of its group, as tables and as targets. Reader: as report.mjs.
import { machineLines } from './machine-lines.mjs';
import { heading, list, NOT_MEASURED, speedColumns, table } from './tables.mjs';

const held = ({ ratio, most }) => (ratio ? `${ratio.toFixed(2)}x${most ? ` (at most ${most}x)` : ''}` : '');

/**
 * A section with a table per group.
 * @param {object | null} result of such a suite @param {string} script the command that measures it
 */
export function ratioSections(result, title, intro, script) {
  if (!result) return [heading(title, '', `${NOT_MEASURED}: run \`${script}\``)];
  const [time, , , quiet] = speedColumns;
  const names = [...new Set(result.rows.map(({ group }) => group))];
  const columns = [['', (r) => r.name], time, ['time over the first row', held], quiet];
  const rowsOf = (name) => result.rows.filter(({ group }) => group === name);
  return [
    heading(title, intro, list(machineLines(result.machine))),
    ...names.map((name) => `### ${name}\n\n${table(rowsOf(name), columns)}`),
  ];
}

/** The worst row of each kind of group, the first word of its name, and contender that has a target. */
export function ratioTargets({ rows }) {
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
