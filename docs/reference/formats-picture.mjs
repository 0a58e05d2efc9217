// The picture of docs/guide/quantised-caches.md: bits per character beside bytes per token, drawn from the table of that page.
// Reader: generate.mjs, which writes it; whoever measures again changes the table.
import { readFileSync } from 'node:fs';

const page = readFileSync(new URL('../guide/quantised-caches.md', import.meta.url), 'utf8');
/** The rows whose last cells are bits per character and bytes per token. */
const rows = [...page.matchAll(/^\| ([^|]+?) +\| (\d\.\d{3}) +\| (\d+) +\|$/gm)].map(([, name, bits, bytes]) => ({
  name,
  bits: Number(bits),
  bytes: Number(bytes),
}));

const [left, top, width, height] = [70, 48, 520, 220];
const mostBytes = Math.max(...rows.map(({ bytes }) => bytes));
const [least, most] = [Math.min(...rows.map(({ bits }) => bits)), Math.max(...rows.map(({ bits }) => bits))];
const x = (bytes) => left + (bytes / mostBytes) * width;
const y = (bits) => top + 10 + ((bits - least) / (most - least)) * (height - 40);

/** Labels whose places would overlap go below the point instead of above. */
function point({ name, bits, bytes }, i) {
  const isNear = rows
    .slice(0, i)
    .some((other) => Math.abs(x(other.bytes) - x(bytes)) < 70 && Math.abs(y(other.bits) - y(bits)) < 14);
  const isLast = x(bytes) > left + width - 80;
  const at = isNear ? 17 : -8;
  const anchor = isLast ? 'end' : 'start';
  return `<circle cx="${x(bytes).toFixed(1)}" cy="${y(bits).toFixed(1)}" r="4"/><text x="${x(bytes).toFixed(1)}" y="${(y(bits) + at).toFixed(1)}" text-anchor="${anchor}">${name}</text>`;
}

const ticks = Array.from({ length: 5 }, (_, i) => Math.round((mostBytes * i) / 4));

/** An SVG document. */
export const formatsPicture =
  () => `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 30} ${top + height + 50}" font-family="sans-serif" font-size="12">
<style>text{fill:#24292f}circle{fill:#2563a8}line{stroke:#8c959f}@media(prefers-color-scheme:dark){text{fill:#d0d7de}circle{fill:#6ea8e0}}</style>
<text x="12" y="22">Bits per character (higher is worse) beside bytes per token of a cache</text>
<line x1="${left}" y1="${top + height}" x2="${left + width}" y2="${top + height}"/>
<line x1="${left}" y1="${top}" x2="${left}" y2="${top + height}"/>
${ticks.map((bytes) => `<text x="${x(bytes)}" y="${top + height + 18}" text-anchor="middle">${bytes}</text>`).join('\n')}
<text x="${left + width / 2}" y="${top + height + 38}" text-anchor="middle">bytes per token</text>
${[least, most].map((bits) => `<text x="${left - 8}" y="${(y(bits) + 4).toFixed(1)}" text-anchor="end">${bits.toFixed(3)}</text>`).join('\n')}
${rows.map(point).join('\n')}
</svg>
`;
