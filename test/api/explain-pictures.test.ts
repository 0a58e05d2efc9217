// What explain() draws: the mask in characters, the mask and the tiles as SVG. Reader: someone who changes a picture.

import { describe, expect, it } from 'vitest';
import {
  blocks,
  causal,
  type ExplainOptions,
  type ExplainShape,
  explain,
  full,
  hierarchical,
  neighborhood,
  type Pattern,
  slidingWindow,
  stridedShards,
} from '../../dist/index.js';

const one = { queryHeads: 1, kvHeads: 1, headDim: 64 };

describe('pictures', () => {
  const rowsOf = (pattern: Pattern, shape: ExplainShape) =>
    String(explain(pattern, shape)).split('\n\n')[1].split('\n').slice(1);

  it('show the mask as text', () => {
    expect(rowsOf(slidingWindow({ left: 2, causal: true, sinkTokens: 1 }), { ...one, tokens: 6 })).toEqual([
      '#.....',
      '##....',
      '###...',
      '####..',
      '#.###.',
      '#..###',
    ]);
    const checkered = blocks({
      blockQ: 2,
      blockK: 2,
      csr: { rowOffsets: Int32Array.of(0, 1, 2), columns: Int32Array.of(0, 1) },
      predicate: (_b, _h, query, key) => (query + key) % 2 === 0,
    });
    expect(rowsOf(checkered, { ...one, tokens: 4 })).toEqual(['#...', '.#..', '..#.', '...#']);
  });

  it('show what a query of a grid sees', () => {
    expect(rowsOf(neighborhood({ kernelSize: 3, dilation: [1, 2] }), { ...one, tokens: [4, 8] })).toEqual([
      '........',
      '..#.#.#.',
      '..#.Q.#.',
      '..#.#.#.',
    ]);
    expect(rowsOf(neighborhood({ kernelSize: 3, causal: true }), { ...one, tokens: 8 })).toEqual(['..##Q...']);
  });

  it('shrink, with shades for what is visible in part', () => {
    const rows = rowsOf(causal(), { ...one, tokens: 640 });
    expect(rows).toHaveLength(16);
    expect(rows[0]).toMatch(/^[+*-]{4}\.{60}$/);
    expect(rows[15]).toMatch(/^#{60}[+*-]{4}$/);
  });

  it.each<[string, Pattern, ExplainShape]>([
    ['a window', slidingWindow({ left: 30, causal: true, sinkTokens: 3 }), { ...one, tokens: 2000 }],
    ['shards', stridedShards({ blockSize: 16, localBlocks: 4, vertStride: 8 }), { ...one, tokens: 30_000 }],
    ['a line', neighborhood({ kernelSize: 5 }), { ...one, tokens: 60 }],
    ['a plane', neighborhood({ kernelSize: 5, dilation: 2 }), { ...one, tokens: [20, 30] }],
    ['a volume', neighborhood({ kernelSize: [18, 24, 24] }), { ...one, tokens: [30, 48, 80] }],
    ['a selection', hierarchical('3k'), { ...one, tokens: 40_000 }],
    ['nothing', full(), { ...one, queries: 0, keys: 5 }],
    ['no batch', full(), { ...one, batch: 0, queries: 5, keys: 5 }],
  ])('as SVG of %s are small documents, the same every time', (_, pattern, shape) => {
    for (const tiling of ['static', 'dynamic'] as const) {
      const svg = explain(pattern, shape, { tiling }).toSVG();
      expect(svg.startsWith('<svg xmlns="http://www.w3.org/2000/svg"')).toBe(true);
      expect(svg.endsWith('</svg>\n')).toBe(true);
      expect(svg).not.toMatch(/NaN|Infinity|undefined|script|href/);
      const opened = svg.match(/<(?:svg|style|g|text)[ >]/g)!.length;
      expect(svg.match(/<\/(?:svg|style|g|text)>/g)).toHaveLength(opened);
      expect(svg.length).toBeLessThan(100_000);
      expect(explain(pattern, shape, { tiling }).toSVG()).toBe(svg);
    }
  });

  const tilesIn = (svg: string, kind: string) =>
    Array.from(svg.matchAll(new RegExp(`<path class="${kind}" d="([^"]+)"`, 'g'))).flatMap(([, path]) =>
      path.match(/M/g),
    ).length;

  it('show tiles where they are counted', () => {
    // A row of the tile map per query tile: two tiles of 4 queries, of which the second sees both tiles of keys.
    const svg = explain(causal(), { ...one, tokens: 8 }, { queryTile: 4, keyTile: 4 }).toSVG();
    expect(tilesIn(svg, 'interior')).toBe(1);
    expect(tilesIn(svg, 'visited')).toBe(2);
  });

  // The last tile is short, and masks what does not exist unless the loop cuts its tiles.
  it.each<[string, Pattern, ExplainOptions]>([
    ['everything', full(), { queryTile: 16, keyTile: 16 }],
    ['everything, on the tiles of the CPU', full(), { device: 'cpu' }],
    ['a window', slidingWindow({ left: 9, causal: true, sinkTokens: 3 }), { queryTile: 7, keyTile: 6 }],
    ['shards', stridedShards({ blockSize: 4, localBlocks: 2, vertStride: 3 }), { queryTile: 4, keyTile: 3 }],
  ])('show as many tiles as are counted: %s', (_, pattern, options) => {
    for (const tiling of options.device ? [undefined] : (['static', 'dynamic'] as const)) {
      const explained = explain(pattern, { ...one, tokens: 50 }, { ...options, tiling });
      const { visited, interior } = explained.tiles;
      expect(tilesIn(explained.toSVG(), 'interior')).toBe(interior);
      expect(tilesIn(explained.toSVG(), 'visited')).toBe(visited - interior);
    }
  });
});
