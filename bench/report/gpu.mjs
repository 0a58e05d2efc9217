// The part of bench/RESULTS.md that bench/gpu/versus.py measured, a section per card.
// Reader: as report.mjs.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chartsOf } from '../gpu/charts.mjs';
import { ceilingsOf, figuresOf } from '../gpu/figures.mjs';
import { heading, list, NOT_MEASURED, percent, table } from './tables.mjs';

const results = fileURLToPath(new URL('../results/', import.meta.url));
const ms = (x) => (x ? x.toFixed(x < 1 ? 4 : 3) : '');
const times = (x) => (x ? `${x.toFixed(2)}x` : '');
const share = (x) => (x ? percent(x, 1) : '');
const round = (x) => (x ? x.toFixed(0) : '');

/** Results of versus.py, by the name of the card. */
export function readGpuResults() {
  if (!existsSync(results)) return [];
  return readdirSync(results)
    .filter((file) => file.endsWith('-attention.json'))
    .map((file) => ({
      card: file.replace('-attention.json', ''),
      ...JSON.parse(readFileSync(`${results}${file}`, 'utf8')),
    }));
}

const caseColumn = ['case', (f) => f.name];
const stateColumn = [
  'MHz, W',
  ({ state }) => (state?.watts ? `${round(state.clockMHz.median)}, ${round(state.watts.median)}` : ''),
];
const timeColumns = [
  ['ms: median (least .. most)', (f) => `${ms(f.ms)} (${ms(f.msLeast)} .. ${ms(f.msMost)})`],
  ['flash', (f) => ms(f.others.flash)],
  ['cuDNN', (f) => ms(f.others.cudnn)],
];
const ratioColumn = ["best other's time over ours", (f) => times(f.ratio)];
const denseColumn = ['speed-up over our dense', (f) => times(f.speedup)];

const printers = {
  dense: [...timeColumns, ratioColumn, ['TFLOP/s', (f) => round(f.tflops)]],
  decode: [...timeColumns, ratioColumn, ['GB/s', (f) => round(f.keyGbps)], ['of copy', (f) => share(f.ofCopy)]],
  family: [
    timeColumns[0],
    ['flex_attention', (f) => ms(f.others.flex)],
    ratioColumn,
    ['TFLOP/s', (f) => round(f.tflops)],
    denseColumn,
    ["tiles' bound", (f) => times(f.bound)],
    ['of it', (f) => share(f.ofBound)],
  ],
  hip: [...timeColumns, ['of it selection, ms', (f) => ms(f.selectMs)], denseColumn],
};

function cardSections(result) {
  const figures = figuresOf(result);
  const { products, copy } = ceilingsOf(result);
  const { machine } = result;
  const lines = [
    `${machine.card.name}, driver ${machine.card.driver}, limits ${machine.card.clockMHzMost} MHz and ${machine.card.wattsMost} W`,
    `${machine.date}, commit ${machine.commit}`,
    `matrix product 8192³ in bfloat16: ${products.map(round).join(' and ') || NOT_MEASURED} TFLOP/s; copy: ${round(copy) || NOT_MEASURED} GB/s`,
  ];
  const groups = Object.entries(printers).map(([group, columns]) => {
    const rows = figures.filter((figure) => figure.group === group);
    return rows.length ? table(rows, [caseColumn, ...columns, stateColumn]) : '';
  });
  const charts = chartsOf(result).map(({ name }) => `![${name}](results/${result.card}-${name}.svg)`);
  return [
    heading(
      `GPU: ${machine.card.name}`,
      'Kernels alone, medians of 21 calls; PyTorch in turns in the same run.',
      list(lines),
    ),
    ...charts,
    ...groups.filter(Boolean),
  ];
}

/** @param {object[]} cards of readGpuResults() */
export function gpuSections(cards) {
  if (cards.length > 0) return cards.flatMap(cardSections);
  const how = 'run `npm run gpu:bench` where there is a GPU, then `node bench/gpu/report.mjs`';
  return [heading('GPU', '', `${NOT_MEASURED}: ${how}`)];
}
