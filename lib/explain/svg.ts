// SVG: panels of rectangles as one document without scripts, fonts or links.
// Reader: someone who changes how pictures look.

import type { Range } from '../patterns/sights.js';
import { type Level, whole } from './scene.js';

const styles = {
  visible: 'fill:#2563a8',
  interior: 'fill:#2e8b57',
  visited: 'fill:#e9a03b',
  query: 'fill:#c0392b',
  outline: 'fill:none;stroke:#c0392b;stroke-width:1.5',
} as const;
export type Kind = keyof typeof styles;

const legend: readonly (readonly [Kind, string])[] = [
  ['visible', 'visible (paler: in part)'],
  ['interior', 'tile without a mask'],
  ['visited', 'tile with a mask'],
  ['query', 'query, query tile'],
];

const number = (value: number): string => String(Number(value.toFixed(2)));
const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Opacity by level. */
const opacities: Record<Level, number> = { 0: 0, 1: 0.3, 2: 0.55, 3: 0.8, 4: 1 };

/** Longest side of a panel, in pixels. */
const side = 360;

interface Rectangle {
  readonly look: string;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  bottom: number;
}

/** Rectangles at least this high and wide have a hair between them; lower ones grow into those above. */
const leastSeen = 4;

/** Rectangles on a plane of columns by rows. */
export class Panel {
  readonly title: string;
  readonly width: number;
  readonly height: number;
  readonly #scale: readonly [x: number, y: number];
  readonly #rectangles: Rectangle[] = [];
  /** The last rectangle of a look between two columns. */
  readonly #last = new Map<string, Rectangle>();

  /** Both directions have one scale, unless the plane would be a sliver. */
  constructor(title: string, columns: number, rows: number) {
    const scale = side / Math.max(columns, rows);
    this.title = title;
    this.width = Math.max(12, columns * scale);
    this.height = Math.max(12, rows * scale);
    this.#scale = [this.width / columns, this.height / rows];
  }

  add(kind: Kind, x: Range, y: Range, level: Level = whole): void {
    if (level === 0) return;
    const [left, right] = [x.begin, x.end].map((at) => at * this.#scale[0]);
    const [top, bottom] = [y.begin, y.end].map((at) => at * this.#scale[1]);
    const look = `class="${kind}"${level === whole ? '' : ` opacity="${opacities[level]}"`}`;
    const place = `${look} ${left} ${right}`;
    const above = this.#last.get(place);
    if (above?.bottom === top && bottom - top < leastSeen) {
      above.bottom = bottom;
      return;
    }
    const rectangle = { look, left, right, top, bottom };
    this.#rectangles.push(rectangle);
    this.#last.set(place, rectangle);
  }

  toString(): string {
    const paths = new Map<string, string>();
    for (const { look, left, right, top, bottom } of this.#rectangles) {
      const gap = (size: number) => (size >= leastSeen ? 0.5 : 0);
      const [width, height] = [right - left, bottom - top].map((size) => number(size - gap(size)));
      paths.set(look, `${paths.get(look) ?? ''}M${number(left)} ${number(top)}h${width}v${height}H${number(left)}z`);
    }
    const ground = `<rect class="ground" width="${number(this.width)}" height="${number(this.height)}"/>`;
    return ground + Array.from(paths, ([look, path]) => `<path ${look} d="${path}"/>`).join('');
  }
}

/** Words on lines of at most so many characters. */
function wrap(title: string, most: number): string[] {
  const lines = [''];
  for (const word of title.split(' ')) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (longer.length > most) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

/** A document with two panels per row, below a title and notes. */
export function svgOf(title: string, notes: readonly string[], panels: readonly Panel[]): string {
  const parts: string[] = [];
  const text = (x: number, y: number, words: string, kind = '') =>
    parts.push(`<text x="${number(x)}" y="${number(y)}"${kind && ` class="${kind}"`}>${escaped(words)}</text>`);
  let y = 8;
  for (const words of wrap(title, 100)) {
    y += 18;
    text(12, y, words, 'title');
  }
  for (const words of notes.flatMap((note) => wrap(note, 130))) {
    y += 15;
    text(12, y, words);
  }
  y += 21;
  legend.forEach(([kind, words], i) => {
    const x = 12 + i * 180;
    parts.push(`<rect class="${kind}" x="${x}" y="${y - 9}" width="10" height="10"/>`);
    text(x + 15, y, words);
  });
  y += 21;
  for (let i = 0; i < panels.length; i += 2) {
    const pair = panels.slice(i, i + 2);
    const titles = pair.map((panel) => wrap(panel.title, 58));
    const lines = Math.max(...titles.map((lines) => lines.length));
    pair.forEach((panel, column) => {
      const x = 12 + column * (side + 24);
      titles[column].forEach((words, row) => {
        text(x, y + 12 + row * 13, words);
      });
      parts.push(`<g transform="translate(${x} ${number(y + 6 + lines * 13)})">${panel}</g>`);
    });
    y += 30 + lines * 13 + Math.max(...pair.map((panel) => panel.height));
  }
  const width = 2 * side + 48;
  const rules = Object.entries({ ...styles, ground: 'fill:#eceff3' }).map(([kind, style]) => `.${kind}{${style}}`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${number(y)}" viewBox="0 0 ${width} ${number(y)}">`,
    `<style>text{font:11px sans-serif;fill:#222}.title{font-size:14px}${rules.join('')}</style>`,
    '<rect width="100%" height="100%" fill="#fff"/>',
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}
