// The picture of docs/guide/generating.md and serving.md: which pages sequences have, what a fork shares, what a ring lets go of.
// Assumes a built package; the pages are those that a cache takes. Reader: generate.mjs, which writes it.
import { KvPages } from '../../dist/caches/kv-pages.js';
import { KvRun } from '../../dist/caches/kv-run.js';

const pageSize = 16;
const pool = new KvPages({
  ...{ layers: 1, kvHeads: 1, headDim: 1, valueDim: 1 },
  ...{ pageSize, type: 'float32', device: 0, mostPages: 16 },
});

function grow(run, tokens) {
  run.grow(0, tokens).settle();
  return run;
}

/** A sequence that was appended token by token. */
function written(tokens, horizon) {
  const run = new KvRun(pool, horizon);
  for (let i = 0; i < tokens; ++i) grow(run, 1);
  return run;
}

const colors = ['#2563a8', '#e9a03b', '#2e8b57', '#8e44ad'];
const prompt = written(58);
const fork = grow(prompt.fork(), 20);
const other = written(40);
const horizon = { recentTokens: 36, sinkTokens: 4 };
const ring = written(121, horizon);
const rows = [
  { run: prompt, note: ['a prompt', '58 tokens'] },
  { run: fork, note: ['its fork()', 'and 20 tokens more'] },
  { run: other, note: ['another sequence', '40 tokens'] },
  { run: ring, note: ['a ring of 36 and 4 sinks', '121 tokens'] },
];

/** The page that a token is on; undefined when it was let go of. */
function pageOf(run, token) {
  try {
    return run.pageOf(token);
  } catch {
    return undefined;
  }
}

const pagesOf = (run) =>
  Array.from({ length: Math.ceil(run.length / pageSize) }, (_, i) => {
    const filled = Math.min(pageSize, run.length - i * pageSize);
    return { page: pageOf(run, i * pageSize), filled: filled / pageSize };
  });

const [left, top, width, height, gap] = [190, 52, 46, 28, 4];
const x = (place) => left + place * (width + gap);

function box(place, y, { page, filled, owners }) {
  const at = x(place);
  if (page === undefined) {
    return `<rect x="${at}" y="${y}" width="${width}" height="${height}" rx="4" class="gone"/>`;
  }
  const share = width / owners.length;
  const fills = owners.map(
    (owner, i) =>
      `<rect x="${at + i * share}" y="${y}" width="${share * filled}" height="${height}" fill="${colors[owner]}"/>`,
  );
  return [
    ...fills,
    `<rect x="${at}" y="${y}" width="${width}" height="${height}" rx="4" class="page"/>`,
    `<text x="${at + width / 2}" y="${y + 18}" text-anchor="middle">${page}</text>`,
  ].join('');
}

const ownersOf = (page) => rows.flatMap(({ run }, i) => (pagesOf(run).some((one) => one.page === page) ? [i] : []));

function sequence({ run, note }, i) {
  const y = top + i * 52;
  const boxes = pagesOf(run).map((one, place) => box(place, y, { ...one, owners: ownersOf(one.page) }));
  const words = note.map((line, l) => `<text x="12" y="${y + 11 + 15 * l}"${l ? ' class="less"' : ''}>${line}</text>`);
  return [...words, ...boxes].join('');
}

/** An SVG document. */
export function pagesPicture() {
  const poolTop = top + rows.length * 52 + 30;
  const all = Array.from({ length: 16 }, (_, page) => ({ page, owners: ownersOf(page) }));
  const inPool = ({ page, owners }) => {
    const [place, line] = [page % 8, Math.floor(page / 8)];
    return box(place, poolTop + line * (height + gap), { page, filled: owners.length ? 1 : 0, owners });
  };
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" width="720" height="384" viewBox="0 0 720 384">',
    '<style>text{font:12px sans-serif;fill:#222}.title{font-size:14px}.less{fill:#667}',
    '.page{fill:none;stroke:#222}.gone{fill:none;stroke:#99a;stroke-dasharray:3 3}rect{fill-opacity:.45}</style>',
    '<rect width="100%" height="100%" fill="#fff" style="fill-opacity:1"/>',
    `<text x="12" y="22" class="title">Sequences on pages of ${pageSize} tokens: the number in a box is the page of the pool</text>`,
    ...rows.map(sequence),
    `<text x="12" y="${poolTop + 11}">the pool</text><text x="12" y="${poolTop + 26}" class="less">16 pages of memory</text>`,
    ...all.map(inPool),
    '<text x="12" y="372" class="less">Two colours: shared. Half full: room for tokens to come. Dashed: let go of. White: free.</text>',
    '</svg>',
  ].join('\n');
}
