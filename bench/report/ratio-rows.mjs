// The rows of a suite that holds every call against the first of its group, as tables and as targets. Reader: as report.mjs.
import { machineLines } from './machine-lines.mjs';
import { heading, list, NOT_MEASURED, speedColumns, table } from './tables.mjs';

const barOf = ({ most, mostMore }) =>
  most ? ` (at most ${+most.toFixed(2)}x)` : mostMore ? ` (at most ${mostMore.toFixed(2)} ms more)` : '';
const held = (row) => (row.ratio ? `${row.ratio.toFixed(2)}x${barOf(row)}` : '');

/** What a row is held to: its text, the figure, and what the figure is to be at most. */
function targetOf({ name, most, mostMore, leastShare, ratio, more }) {
  if (most && leastShare) {
    const bar = `${name}: at most 1.3x, or ${100 * leastShare} % of the FMA peak`;
    return { bar, figure: ratio, limit: most, shown: `${ratio.toFixed(2)}x, at most ${most.toFixed(2)}x` };
  }
  return most
    ? { bar: `${name}: at most ${most}x`, figure: ratio, limit: most, shown: `${ratio.toFixed(2)}x` }
    : {
        bar: `${name}: at most ${mostMore.toFixed(2)} ms more`,
        figure: more,
        limit: mostMore,
        shown: `${more.toFixed(2)} ms`,
      };
}

/**
 * A section with a table per group.
 * @param {object | null} result of such a suite @param {string} script the command that measures it
 */
export function ratioSections(result, title, intro, script) {
  if (!result) return [heading(title, '', `${NOT_MEASURED}: run \`${script}\``)];
  const [time, , , quiet] = speedColumns;
  const names = [...new Set(result.rows.map(({ group }) => group))];
  const share = ['of the FMA peak', ({ shareOfPeak }) => `${Math.round(100 * shareOfPeak)} %`];
  const rowsOf = (name) => result.rows.filter(({ group }) => group === name);
  const columnsOf = (rows) => {
    const hasShares = rows.some(({ shareOfPeak }) => shareOfPeak);
    return [['', (r) => r.name], time, ['time over the first row', held], ...(hasShares ? [share] : []), quiet];
  };
  return [
    heading(title, intro, list(machineLines(result.machine))),
    ...names.map((name) => `### ${name}\n\n${table(rowsOf(name), columnsOf(rowsOf(name)))}`),
  ];
}

/** The worst row of each kind of group, the first word of its name, and contender that has a target. */
export function ratioTargets({ rows }) {
  const kinds = new Map();
  for (const row of rows.filter(({ most, mostMore }) => most || mostMore)) {
    const target = targetOf(row);
    const text = `${row.group.split(/[ ,]/, 1)[0]}, ${target.bar}`;
    const worst = kinds.get(text);
    if (!worst || target.figure / target.limit > worst.figure / worst.limit) kinds.set(text, { ...target, ...row });
  }
  return [...kinds].map(([text, { figure, limit, shown, group, isQuiet }]) => ({
    text,
    measured: `${shown} (${group}${isQuiet ? '' : ', noisy'})`,
    isMet: figure <= limit,
    short: Math.max(0, figure / limit - 1),
  }));
}
