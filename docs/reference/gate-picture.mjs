// The picture of docs/guide/gates.md: which panels of queries are computed where a gate closes rows. Reader: generate.mjs, which
// writes it.
import { legend } from './legend.mjs';

const [queries, heads, panel] = [24, 4, 4];
/** Heads 0 and 1 serve every token; 2 and 3 are routed to, in runs and token by token. */
const isOpen = (query, head) => head < 2 || (head === 2 ? query < 11 : [2, 3, 9, 13, 20].includes(query));

const [left, top, cell, gap] = [64, 64, 14, 56];
const colors = { open: '#2e8b57', along: '#f2b8a0', closed: '#eceff3' };
const x = (head) => left + head * (cell * 2 + gap);
const y = (query) => top + query * cell;

/** The color of a row: its own work, work beside an open row of its panel, or none. */
function colorOf(query, head) {
  if (isOpen(query, head)) return colors.open;
  const first = query - (query % panel);
  const isComputed = Array.from({ length: panel }, (_, i) => isOpen(first + i, head)).some(Boolean);
  return isComputed ? colors.along : colors.closed;
}

/** An SVG document. */
export function gatePicture() {
  const ofHead = (head) => [
    `<text x="${x(head) + cell}" y="${top - 10}" text-anchor="middle">head ${head}</text>`,
    ...Array.from(
      { length: queries },
      (_, query) =>
        `<rect x="${x(head)}" y="${y(query)}" width="${cell * 2}" height="${cell - 1}" fill="${colorOf(query, head)}"/>`,
    ),
    ...Array.from(
      { length: queries / panel },
      (_, i) =>
        `<rect class="panel" x="${x(head) - 3}" y="${y(i * panel) - 0.5}" width="${cell * 2 + 6}" height="${cell * panel}"/>`,
    ),
  ];
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" width="760" height="424" viewBox="0 0 760 424">',
    '<style>text{font:11px sans-serif;fill:#222}.title{font-size:14px}.panel{fill:none;stroke:#222;stroke-width:.7}</style>',
    '<rect width="100%" height="100%" fill="#fff"/>',
    `<text x="12" y="22" class="title">What is computed of ${queries} queries and ${heads} heads, in panels of ${panel} rows</text>`,
    `<text x="12" y="${top + 10}">query 0</text>`,
    `<text x="12" y="${y(queries - 1) + 10}">${queries - 1}</text>`,
    ...Array.from({ length: heads }, (_, head) => ofHead(head)).flat(),
    ...legend(
      [
        { name: 'not 0: computed and multiplied', color: colors.open },
        { name: '0, in a panel with others: computed, and 0', color: colors.along },
        { name: '0, and no other in its panel: not computed', color: colors.closed },
      ],
      430,
    ),
    '</svg>',
  ].join('\n');
}
