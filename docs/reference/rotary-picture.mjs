// The picture of docs/guide/rotary.md: how many positions each pair takes for a turn, by the rules that stretch a context.
// Assumes a built package. Reader: generate.mjs, which writes it.
import { readFrequencies } from '../../dist/ops/rotary/frequencies.js';
import { legend } from './legend.mjs';

const dims = 128;
const theta = 500_000;
const [factor, original] = [8, 8192];
const rules = [
  { name: 'no scaling', color: '#222222' },
  { name: 'linear', color: '#c0392b', scaling: { kind: 'linear', factor } },
  { name: 'ntk', color: '#e9a03b', scaling: { kind: 'ntk', factor } },
  { name: 'yarn', color: '#2563a8', scaling: { kind: 'yarn', factor, original } },
  { name: 'llama3', color: '#2e8b57', scaling: { kind: 'llama3', factor, original } },
];

const [left, top, width, height] = [64, 36, 520, 300];
const [least, most] = [0, 8]; // powers of ten
const x = (pair) => left + (pair / (dims / 2 - 1)) * width;
const y = (positions) => top + height * (1 - (Math.log10(positions) - least) / (most - least));
const round = (n) => Math.round(n * 10) / 10;

function curve({ color, scaling }) {
  const { frequencies } = readFrequencies({ theta, dims, scaling }, dims);
  const points = Array.from(frequencies, (f, pair) => `${round(x(pair))},${round(y((2 * Math.PI) / f))}`);
  return `<polyline points="${points.join(' ')}" stroke="${color}"/>`;
}

function power(exponent) {
  const at = round(y(10 ** exponent));
  const label = `<text x="${left - 8}" y="${at + 4}" text-anchor="end">10<tspan dy="-4" font-size="8">${exponent}</tspan></text>`;
  return `<line class="grid" x1="${left}" x2="${left + width}" y1="${at}" y2="${at}"/>${label}`;
}

/** An SVG document. */
export function rotaryPicture() {
  const trained = round(y(original));
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" width="720" height="384" viewBox="0 0 720 384">',
    '<style>text{font:11px sans-serif;fill:#222}.title{font-size:14px}.grid{stroke:#eceff3}polyline{fill:none;stroke-width:1.5}</style>',
    '<rect width="100%" height="100%" fill="#fff"/>',
    `<text x="12" y="22" class="title">Positions for a whole turn of each pair: theta ${theta}, ${dims} dims, factor ${factor}</text>`,
    ...Array.from({ length: most - least + 1 }, (_, i) => power(least + i)),
    `<line x1="${left}" x2="${left + width}" y1="${trained}" y2="${trained}" stroke="#222" stroke-dasharray="4 4"/>`,
    `<text x="${left + 6}" y="${trained - 6}">the ${original} tokens that the model was trained with</text>`,
    ...[0, 16, 32, 48, 63].map(
      (pair) => `<text x="${round(x(pair))}" y="${top + height + 18}" text-anchor="middle">${pair}</text>`,
    ),
    `<text x="${left + width / 2}" y="${top + height + 36}" text-anchor="middle">pair</text>`,
    ...rules.map(curve),
    ...legend(rules, 604),
    '</svg>',
  ].join('\n');
}
