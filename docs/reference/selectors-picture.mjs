// The picture of docs/guide/selecting.md: what a query of a long prompt sees by each selector's lists.
// Assumes a built package. Reader: generate.mjs, which writes it.
import { blockMeanTopKSync, questPageScoresSync, Tensor, verticalSlashSync } from 'tilewise';

const [tokens, dim, cell] = [48, 16, 4];

/** Numbers with structure: some keys that all queries like, and a rhythm. */
function rows(seed) {
  const data = new Float32Array(tokens * dim);
  for (let t = 0; t < tokens; t++) {
    for (let d = 0; d < dim; d++)
      data[t * dim + d] = Math.sin((t * (d + 1)) / 3 + seed) + (t % 11 === 3 && seed ? 1.5 : 0.3);
  }
  return new Tensor('float32', data, [1, tokens, 1, dim]);
}
const [q, k] = [rows(0), rows(1)];
const device = 'cpu';

/** Which pairs of a query and a key are seen. */
const panels = [
  { title: 'Quest: pages of 4, 4 per token', isSeen: questPairs() },
  { title: 'block means: blocks of 6, 4 per row', isSeen: blockPairs() },
  { title: 'vertical-slash: 5 and 6', isSeen: slashPairs() },
];

/** Token by token, as in decoding. */
function questPairs() {
  const lists = Array.from({ length: tokens }, (_, t) => {
    const keys = k.slice(1, 0, t + 1);
    return questPageScoresSync(q.slice(1, t, t + 1), keys, { pageSize: 4, pages: 4, device }).lists[0][0];
  });
  return (query, key) => key <= query && lists[query].includes(Math.floor(key / 4));
}

function blockPairs() {
  const { offsets, columns } = blockMeanTopKSync(q, k, { blockSize: 6, topK: 4, device }).lists.listed;
  const listOf = (row) => columns.subarray(offsets[row], offsets[row + 1]);
  return (query, key) => key <= query && listOf(Math.floor(query / 6)).includes(Math.floor(key / 6));
}

function slashPairs() {
  const options = { lastQueries: 16, vertical: 5, slash: 6, forcedVertical: 1, forcedSlash: 3, device };
  const { verticals, slashes } = verticalSlashSync(q, k, options);
  return (query, key) => key <= query && (verticals[0][0].includes(key) || slashes[0][0].includes(query - key));
}

function panel({ title, isSeen }, index) {
  const [left, top] = [20 + index * 220, 56];
  const cells = [];
  for (let query = 0; query < tokens; query++) {
    for (let key = 0; key < tokens; key++) {
      // Runs of cells are one rectangle.
      if (!isSeen(query, key) || (key > 0 && isSeen(query, key - 1))) continue;
      let end = key + 1;
      while (end < tokens && isSeen(query, end)) ++end;
      cells.push(
        `<rect x="${left + key * cell}" y="${top + query * cell}" width="${(end - key) * cell}" height="${cell}"/>`,
      );
    }
  }
  const size = tokens * cell;
  return [
    `<text x="${left}" y="${top - 8}">${title}</text>`,
    `<path class="hidden" d="M${left} ${top}V${top + size}H${left + size}Z"/>`,
    `<g fill="#2563a8">${cells.join('')}</g>`,
    `<rect class="frame" x="${left}" y="${top}" width="${size}" height="${size}"/>`,
  ].join('\n');
}

/** An SVG document. */
export function selectorsPicture() {
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" width="680" height="288" viewBox="0 0 680 288">',
    '<style>text{font:12px sans-serif;fill:#222}.title{font-size:14px}.hidden{fill:#eceff3}.frame{fill:none;stroke:#222}</style>',
    '<rect width="100%" height="100%" fill="#fff"/>',
    '<text x="12" y="22" class="title">What selectors choose of causal attention: queries down, keys across</text>',
    ...panels.map(panel),
    '<text x="20" y="274">grey: what causal attention sees and the lists leave out</text>',
    '</svg>',
  ].join('\n');
}
