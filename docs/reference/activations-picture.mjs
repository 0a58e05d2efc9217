// The picture of docs/guide/activations.md: the weight of a score under each activation. Reader: generate.mjs, which writes it.
import { legend } from './legend.mjs';

const keys = 64;
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const curves = [
  { name: 'sigmoid', color: '#c0392b', of: sigmoid },
  { name: `sigmoid, bias -ln ${keys}`, color: '#2563a8', of: (x) => sigmoid(x - Math.log(keys)) },
  { name: `relu over ${keys} keys`, color: '#2e8b57', of: (x) => Math.max(0, x) / keys },
  { name: `softmax, ${keys - 1} other scores of 0`, color: '#222222', of: (x) => sigmoid(x - Math.log(keys - 1)) },
];

const [left, top, width, height] = [64, 36, 440, 260];
const [least, most] = [-6, 10];
const x = (score) => left + ((score - least) / (most - least)) * width;
const y = (weight) => top + height * (1 - weight);
const round = (n) => Math.round(n * 10) / 10;

function curve({ color, of }, i) {
  const points = Array.from({ length: 8 * (most - least) + 1 }, (_, n) => {
    const score = least + n / 8;
    return `${round(x(score))},${round(y(of(score)))}`;
  });
  return `<polyline points="${points.join(' ')}" stroke="${color}"${i === curves.length - 1 ? ' stroke-dasharray="5 4"' : ''}/>`;
}

/** An SVG document. */
export function activationsPicture() {
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" width="760" height="344" viewBox="0 0 760 344">',
    '<style>text{font:11px sans-serif;fill:#222}.title{font-size:14px}.grid{stroke:#eceff3}polyline{fill:none;stroke-width:1.5}</style>',
    '<rect width="100%" height="100%" fill="#fff"/>',
    '<text x="12" y="22" class="title">The weight of a key by its score</text>',
    ...[0, 0.25, 0.5, 0.75, 1].map(
      (weight) =>
        `<line class="grid" x1="${left}" x2="${left + width}" y1="${y(weight)}" y2="${y(weight)}"/>` +
        `<text x="${left - 8}" y="${y(weight) + 4}" text-anchor="end">${weight}</text>`,
    ),
    ...[-6, -4, -2, 0, 2, 4, 6, 8, 10].map(
      (score) => `<text x="${round(x(score))}" y="${top + height + 18}" text-anchor="middle">${score}</text>`,
    ),
    `<text x="${left + width / 2}" y="${top + height + 36}" text-anchor="middle">score</text>`,
    ...curves.map(curve),
    ...legend(curves, 530),
    '</svg>',
  ].join('\n');
}
