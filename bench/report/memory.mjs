// What bench/suites/run.mjs found of memory beyond inputs and outputs, for bench/RESULTS.md and docs/measurements/targets.md.
// Reader: someone who doubts that nothing of queries x keys is made.
import { machineLines } from './machine-lines.mjs';
import { heading, list, NOT_MEASURED, table } from './tables.mjs';

const mib = (bytes) => (bytes / 2 ** 20).toFixed(1);
const isPattern = ({ pattern = 'causal' }) => pattern !== 'causal';

/** @param {object | null} result of bench/suites/run.mjs */
export function memorySections(result) {
  if (!result?.memory.length) return [heading('Memory', '', NOT_MEASURED)];
  const columns = [
    ['N', ({ tokens }) => tokens],
    ['pattern', ({ pattern = 'causal' }) => pattern.replace('-', ' ')],
    ['inputs and output, MiB', ({ operands }) => (operands ? mib(operands) : NOT_MEASURED)],
    ['peak beyond them, MiB', ({ beyond }) => (beyond === null ? NOT_MEASURED : mib(beyond))],
    ['N x N bytes, MiB', ({ tokens }) => mib(tokens * tokens)],
  ];
  return [
    heading(
      'Memory',
      'float32, 2 heads, D = 64, one process per row; making the pattern counts. A mask of one byte per pair would have N x N bytes.',
      `${list(machineLines(result.machine).slice(0, 2))}\n\n${table(result.memory, columns)}`,
    ),
  ];
}

const most = (text, rows, limit) => {
  const found = rows.filter(({ beyond }) => beyond !== null);
  if (found.length === 0) return { text, measured: NOT_MEASURED, isMet: null };
  const worst = found.reduce((a, b) => (b.beyond / limit(b) > a.beyond / limit(a) ? b : a));
  return { text, measured: `${mib(worst.beyond)} MiB (${worst.name})`, isMet: worst.beyond <= limit(worst) };
};

/** @returns {import('./targets.mjs').Target[]} of the same result */
export function memoryTargets({ memory }) {
  const small = memory.find(({ tokens, pattern = 'causal' }) => tokens === 1024 && pattern === 'causal');
  const large = memory.filter((row) => row.tokens === 16384 && !isPattern(row));
  return [
    most(
      'memory beyond inputs and output does not grow with N: at 16k no more than at 1k plus 4 MiB',
      small ? large : [],
      () => small.beyond + 4 * 2 ** 20,
    ),
    most(
      'patterns at 64k: no operand is copied and nothing of N x N is made, less than one operand beyond them',
      memory.filter(isPattern),
      ({ operands }) => operands / 4,
    ),
  ];
}
