// The picture of docs/guide/quantised-caches.md: how many bits each token of a cache has, as tokens come.
// Assumes a built package; the bits are those that a cache says it has. Reader: generate.mjs, which writes it.
import { KvCache, Tensor } from 'tilewise';

const residual = 8;
const tiers = [
  { bits: 8, tokens: 16 },
  { bits: 4, tokens: 24 },
  { bits: 2, tokens: Number.POSITIVE_INFINITY },
];
const most = 88;
const lengths = [12, 28, 44, 60, 76, 88];
const colors = { exact: '#2563a8', 8: '#2e8b57', 4: '#e9a03b', 2: '#b0b8c0' };

const cache = new KvCache({ kvHeads: 1, headDim: 1, format: { tiers, residual, group: 1 } });
const row = new Tensor('float32', new Float32Array(1), [1, 1, 1, 1]);
const states = [];
for (let tokens = 1; tokens <= most; ++tokens) {
  cache.append(0, row, row);
  if (lengths.includes(tokens)) states.push({ tokens, runs: cache.bits(0) });
}

const [left, top, cell, height, step] = [110, 56, 7, 20, 34];
const width = left + most * cell + 20;
const rows = states.map(({ tokens, runs }, i) => {
  const y = top + i * step;
  const boxes = runs.map(({ begin, end, keys }) => {
    const [x, w] = [left + begin * cell, (end - begin) * cell];
    const label = w > 24 ? `<text x="${x + w / 2}" y="${y + 14}" text-anchor="middle">${keys}</text>` : '';
    return `<rect x="${x}" y="${y}" width="${w - 1}" height="${height}" rx="3" fill="${colors[keys]}"/>${label}`;
  });
  return `<text x="12" y="${y + 14}" class="side">${tokens} tokens</text>${boxes.join('')}`;
});
const total = top + states.length * step + 8;

/** An SVG document. */
export const tiersPicture =
  () => `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${total}" font-family="sans-serif" font-size="12">
<style>text{fill:#fff}.side,.title{fill:#24292f}@media(prefers-color-scheme:dark){.side,.title{fill:#d0d7de}}</style>
<text x="12" y="22" class="title">Tokens of a cache, oldest on the left; the newest ${residual} at most are exact.</text>
<text x="12" y="40" class="title">Tiers: 16 tokens of 8 bits, 24 of 4 bits, the rest of 2 bits.</text>
${rows.join('\n')}
</svg>
`;
