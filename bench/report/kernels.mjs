// The part of bench/RESULTS.md that kernels.mjs measured: what a release's kernels take. Reader: as report.mjs.
import { heading, list, NOT_MEASURED, table } from './tables.mjs';

const megabytes = (bytes) => (bytes / 1e6).toFixed(2);
export const sum = (list, field) => list.reduce((total, item) => total + item[field], 0);

/** Kernels of attention as rows, their tiles of dims as columns. */
function registerTable({ architecture, registers }) {
  const dimsOf = (kernel) => Number(/_(\d+)$/.exec(kernel)?.[1]);
  const dims = [...new Set(Object.keys(registers).map(dimsOf).filter(Boolean))].sort((a, b) => a - b);
  const names = [...new Set(Object.keys(registers).map((kernel) => kernel.replace(/_\d+$/, '')))].sort();
  const families = names.filter((name) => `${name}_${dims[0]}` in registers);
  const columns = dims.map((dim) => [dim, (name) => registers[`${name}_${dim}`]]);
  const others = names.filter((name) => name in registers).map((name) => `${name}: ${registers[name]}`);
  return `${table(families, [[`registers on ${architecture}, by dims`, (name) => name], ...columns])}\n\n${list(others)}`;
}

/** @returns {import('./targets.mjs').Target[]} */
export function kernelTargets({ machine, seconds, architectures }) {
  const minutes = seconds / 60;
  const bytes = sum(architectures, 'bytes');
  const wasted = sum(architectures, 'spillBytes') + sum(architectures, 'stackBytes');
  return [
    {
      text: 'a release from nothing, the addon included, on two processors: at most 15 minutes',
      measured: `${minutes.toFixed(1)} minutes on ${machine.processors}`,
      isMet: minutes <= 15,
    },
    {
      text: 'images of all architectures together: at most 20 MB',
      measured: `${megabytes(bytes)} MB`,
      isMet: bytes <= 20e6,
    },
    { text: 'spilled, or on a stack: nothing', measured: `${wasted} bytes`, isMet: wasted === 0 },
  ];
}

/** @param {object | null} result of kernels.mjs */
export function kernelSections(result) {
  if (!result)
    return [heading('Kernel images', '', `${NOT_MEASURED}: run \`npm run bench:kernels\` where there is nvcc`)];
  const { machine, architectures } = result;
  const lines = [`${machine.cpu}, ${machine.processors} processors, commit ${machine.commit}, ${machine.date}`];
  const compiled = architectures.filter(({ kernels }) => kernels > 0);
  const images = table(architectures, [
    ['architecture', (a) => a.architecture],
    ['MB', (a) => megabytes(a.bytes)],
    ['kernels', (a) => a.kernels || 'PTX'],
    ['most registers', (a) => (a.kernels ? Math.max(...Object.values(a.registers)) : '')],
    ['bytes spilled', (a) => (a.kernels ? a.spillBytes : '')],
    ['bytes of stack', (a) => (a.kernels ? a.stackBytes : '')],
  ]);
  const shown = compiled.filter(({ architecture }) => ['sm_80', 'sm_90a'].includes(architecture));
  return [heading('Kernel images', '', list(lines)), images, ...shown.map(registerTable)];
}
