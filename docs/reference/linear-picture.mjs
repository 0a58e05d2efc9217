// The picture of docs/guide/linear.md: what is left of a token, by its age and by its head's decay, and how a state carries it.
// Assumes a built package. Reader: generate.mjs, which writes it.
import { retnetDecay } from 'tilewise';
import { legend } from './legend.mjs';

const decays = retnetDecay({ heads: 5 });
const colors = ['#c0392b', '#e9a03b', '#2e8b57', '#2563a8', '#222222'];
const heads = Array.from(decays, (decay, head) => ({ name: `head ${head}`, color: colors[head], decay }));
const tokens = 256;

const [left, top, width, height] = [64, 36, 520, 220];
const x = (age) => left + (age / tokens) * width;
const y = (rest) => top + height * (1 - rest);
const round = (n) => Math.round(n * 10) / 10;

function curve({ color, decay }) {
  const points = Array.from(
    { length: tokens / 4 + 1 },
    (_, i) => `${round(x(4 * i))},${round(y(Math.exp(decay * 4 * i)))}`,
  );
  return `<polyline points="${points.join(' ')}" stroke="${color}"/>`;
}

const box = (at, line, words, fill) =>
  `<rect x="${at}" y="${line}" width="96" height="28" fill="${fill}" stroke="#222"/>` +
  `<text x="${at + 48}" y="${line + 18}" text-anchor="middle">${words}</text>`;
const arrow = (x1, y1, x2, y2) =>
  `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="#222" marker-end="url(#tip)"/>`;

/** Chunks of tokens in a row, and the state that goes from each to the next. */
function chain() {
  return [0, 1, 2].flatMap((chunk) => {
    const at = left + chunk * 176;
    return [
      box(at, 316, `tokens of chunk ${chunk}`, '#eceff3'),
      box(at + 88, 372, 'state', '#dce8f5'),
      arrow(at + 48, 344, at + 100, 371),
      ...(chunk < 2 ? [arrow(at + 184, 386, at + 263, 386), arrow(at + 176, 372, at + 220, 345)] : []),
    ];
  });
}

/** An SVG document. */
export function linearPicture() {
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" width="720" height="416" viewBox="0 0 720 416">',
    '<style>text{font:11px sans-serif;fill:#222}.title{font-size:14px}.grid{stroke:#eceff3}polyline{fill:none;stroke-width:1.5}</style>',
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>',
    '<rect width="100%" height="100%" fill="#fff"/>',
    '<text x="12" y="22" class="title">What is left of a token by its age: the decays of RetNet</text>',
    ...[0, 0.5, 1].map(
      (rest) =>
        `<line class="grid" x1="${left}" x2="${left + width}" y1="${y(rest)}" y2="${y(rest)}"/>` +
        `<text x="${left - 8}" y="${y(rest) + 4}" text-anchor="end">${rest}</text>`,
    ),
    ...[0, 64, 128, 192, 256].map(
      (age) => `<text x="${round(x(age))}" y="${top + height + 16}" text-anchor="middle">${age}</text>`,
    ),
    `<text x="${left + width / 2}" y="${top + height + 34}" text-anchor="middle">tokens ago</text>`,
    ...heads.map(curve),
    ...legend(heads, 604),
    ...chain(),
    '</svg>',
  ].join('\n');
}
