// The picture of docs/guide/score-factors.md: the factors of one token of a grid, of two heads. Reader: generate.mjs, which
// writes it.
import { gaussianMixture } from '../../dist/index.js';

const grid = [9, 13];
const heads = [
  { name: 'near: alpha 1, sigma 1.5', alpha: [1, 0], sigma: [1.5, 1] },
  { name: 'a ring: alpha 1 and -0.9, sigma 3.5 and 1.5', alpha: [1, -0.9], sigma: [3.5, 1.5] },
];
const [cell, top] = [24, 52];
const [row, column] = [4, 6];

/** White at 0, blue at 1, red below 0. */
function colorOf(factor) {
  const strength = Math.min(1, Math.abs(factor));
  const [r, g, b] = factor < 0 ? [192, 57, 43] : [37, 99, 168];
  const mix = (channel) => Math.round(255 + (channel - 255) * strength);
  return `rgb(${mix(r)},${mix(g)},${mix(b)})`;
}

function panel({ name }, head, factors) {
  const left = 12 + head * (grid[1] * cell + 36);
  const cells = Array.from({ length: grid[0] * grid[1] }, (_, key) => {
    const [y, x] = [Math.floor(key / grid[1]), key % grid[1]];
    return `<rect x="${left + x * cell}" y="${top + y * cell}" width="${cell - 1}" height="${cell - 1}" fill="${colorOf(factors[key])}"/>`;
  });
  const center = `<rect x="${left + column * cell}" y="${top + row * cell}" width="${cell - 1}" height="${cell - 1}" fill="none" stroke="#222" stroke-width="2"/>`;
  return [`<text x="${left}" y="${top - 10}">${name}</text>`, ...cells, center].join('\n');
}

/** An SVG document. */
export function factorsPicture() {
  const tokens = grid[0] * grid[1];
  const { data } = gaussianMixture({
    grid,
    alpha: heads.map(({ alpha }) => alpha),
    sigma: heads.map(({ sigma }) => sigma),
  });
  const query = row * grid[1] + column;
  const [width, height] = [24 + 2 * grid[1] * cell + 36, top + grid[0] * cell + 12];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    '<style>text{font:11px sans-serif;fill:#222}.title{font-size:14px}</style>',
    '<rect width="100%" height="100%" fill="#fff"/>',
    '<text x="12" y="22" class="title">What the scores of one query (framed) are multiplied by: blue 1, white 0</text>',
    ...heads.map((head, i) =>
      panel(head, i, data.subarray((i * tokens + query) * tokens, (i * tokens + query + 1) * tokens)),
    ),
    '</svg>',
  ].join('\n');
}
