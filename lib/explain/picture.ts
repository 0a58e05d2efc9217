// Pictures of a pattern: the mask, and the tiles that are visited, as text and as SVG.
// Reader: someone who looks at explain().toSVG(). A sequence is drawn as queries by keys; a grid as what a few of its
// queries see, in the plane of their last two axes. The same scene gives the same bytes.

import type { Range, Run } from '../patterns/sights.js';
import {
  axisSight,
  axisTiles,
  type GridQuery,
  gridQuery,
  type Level,
  levelOf,
  levelWithin,
  maskCells,
  parts,
  type Scene,
  tileRows,
} from './scene.js';
import { Panel, svgOf } from './svg.js';

const glyphs = ['.', '-', '+', '*', '#'] as const;
const key = '# visible, - + * in part, . hidden';

/** A small picture in characters. */
export function drawText(scene: Scene): string {
  if (scene.isEmpty) return 'nothing to draw';
  if (!scene.grid) {
    const masks = scene.heads.flatMap((head, i) => {
      const rows = maskCells(scene, head, 16, 64).map((levels) => levels.map((level) => glyphs[level]).join(''));
      return [`mask of head ${head}${i === 0 ? `, queries down and keys across: ${key}` : ''}`, ...rows];
    });
    return masks.join('\n');
  }
  const query = gridQuery(scene, middle(scene.grid.lengths));
  const [down, across] = planeAxes(query).map((axis, i) => {
    const cells = parts(axis === undefined ? 1 : query.lengths[axis], i === 0 ? 20 : 64);
    const at = tokenOn(query, axis);
    const seen = sightOn(scene, query, axis);
    return cells.map((cell) => ({
      level: levelWithin(seen, cell),
      isQuery: cell.begin <= at.begin && at.begin < cell.end,
    }));
  });
  const glyph = (row: { level: Level; isQuery: boolean }, column: { level: Level; isQuery: boolean }) =>
    row.isQuery && column.isQuery ? 'Q' : glyphs[Math.min(row.level, column.level)];
  return [
    `what Q, the query at ${place(query)}, sees${ofPlane(scene, query)}${ofMask(scene)}: ${key}`,
    ...down.map((row) => across.map((column) => glyph(row, column)).join('')),
  ].join('\n');
}

const middle = (lengths: readonly number[]): number[] => lengths.map((length) => Math.floor(length / 2));
const place = ({ tokens }: GridQuery): string => `(${tokens.join(', ')})`;

/** The axes drawn down and across. */
const planeAxes = ({ tokens }: GridQuery): [down: number | undefined, across: number] => {
  const across = tokens.length - 1;
  return [across > 0 ? across - 1 : undefined, across];
};

/** Of three axes the first is not in the plane. */
function ofPlane(scene: Scene, query: GridQuery): string {
  if (query.tokens.length < 3) return '';
  const seen = axisSight(scene, query, 0);
  const d = scene.grid!.dilations[0];
  const step = d === 1 ? '' : ` in steps of ${d}`;
  return ` in plane ${query.tokens[0]} of ${query.lengths[0]} (and in planes ${seen[0].begin} to ${seen.at(-1)!.end - 1}${step})`;
}

const ofMask = ({ grid }: Scene): string => (grid?.isMasked ? ' without its mask' : '');

/** A picture of the mask and of the tiles. */
export function drawSVG(scene: Scene): string {
  const panels = scene.isEmpty
    ? []
    : scene.grid
      ? gridPanels(scene)
      : scene.heads.flatMap((head) => headPanels(scene, head));
  const { heads, kinds } = scene;
  const left = kinds > heads.length ? [`pictures are of ${heads.length} of ${kinds} kinds of heads`] : [];
  return svgOf(scene.title, [...scene.notes, ...left], panels);
}

const tileKind = (isInterior: boolean) => (isInterior ? 'interior' : 'visited');
const mostCells = 256;

const headPanels = (scene: Scene, head: number): Panel[] => [maskPanel(scene, head), tilePanel(scene, head)];

function maskPanel(scene: Scene, head: number): Panel {
  const { queries, keys } = scene;
  const rows = maskCells(scene, head, mostCells, mostCells);
  const columns = rows[0].length;
  const cell = [queries / rows.length, keys / columns].map((tokens) => Number(tokens.toFixed(1)));
  const caption = cell.every((tokens) => tokens === 1) ? '' : `; a cell is about ${cell[0]} x ${cell[1]}`;
  const panel = new Panel(
    `mask of head ${head}: ${queries} queries down, ${keys} keys across${caption}`,
    columns,
    rows.length,
  );
  rows.forEach((levels, y) => {
    for (let x = 0, end = 0; x < columns; x = end) {
      for (end = x + 1; end < columns && levels[end] === levels[x]; ) ++end;
      panel.add('visible', { begin: x, end }, { begin: y, end: y + 1 }, levels[x]);
    }
  });
  return panel;
}

function tilePanel(scene: Scene, head: number): Panel {
  const { queries, keys, queryTile, keyTile, isDynamic } = scene;
  const { rows, step } = tileRows(scene, head, mostCells / 2);
  const count = Math.ceil(keys / keyTile[0]);
  const cells = !isDynamic && count > mostCells ? parts(count, mostCells) : undefined;
  const captions = [
    `tiles of head ${head}: ${queryTile[0]} queries x ${keyTile[0]} keys`,
    ...(step === 1 ? [] : [`one row of ${step} is shown`]),
    ...(cells ? [`a cell is about ${(count / cells.length).toFixed(1)} tiles`] : []),
  ];
  const panel = new Panel(captions.join('; '), keys, queries);
  rows.forEach((row, y) => {
    const height = step === 1 ? row.queries : { begin: row.queries.begin, end: rows[y + 1]?.queries.begin ?? queries };
    if (!cells) {
      for (const tile of joined(row.tiles, keys / mostCells)) panel.add(tileKind(tile.isInterior), tile, height);
      return;
    }
    for (const { kind, level, begin, end } of cellRuns(row.tiles, cells, keyTile[0])) {
      panel.add(kind, { begin, end: Math.min(keys, end) }, height, level);
    }
  });
  return panel;
}

/** Ranges of keys whose cells, several tiles each, look alike. */
function cellRuns(tiles: readonly Run[], cells: readonly Range[], width: number) {
  const runs: { kind: 'interior' | 'visited'; level: Level; begin: number; end: number }[] = [];
  let next = 0;
  for (const cell of cells) {
    const [first, begin, end] = [next, cell.begin * width, cell.end * width];
    while (next < tiles.length && tiles[next].begin < end) ++next;
    const level = levelOf(next - first, cell.end - cell.begin);
    const kind = tileKind(tiles.slice(first, next).every(({ isInterior }) => isInterior));
    const last = runs.at(-1);
    if (last?.kind === kind && last.level === level) last.end = end;
    else runs.push({ kind, level, begin, end });
  }
  return runs;
}

/** Tiles too narrow to be told apart become one with their neighbours of the same kind. */
function joined(tiles: readonly Run[], least: number): Run[] {
  const all: Run[] = [];
  for (const tile of tiles) {
    const last = all.at(-1);
    const isNarrow = tile.end - tile.begin < least || tile.end - tile.begin === 1;
    if (last && isNarrow && last.end === tile.begin && last.isInterior === tile.isInterior) {
      all[all.length - 1] = { ...last, end: tile.end };
    } else {
      all.push(tile);
    }
  }
  return all;
}

/** What a query in a corner, one at an edge and one in the middle see, next to the tiles that their query tiles visit. */
function gridPanels(scene: Scene): Panel[] {
  const { lengths } = scene.grid!;
  const centre = middle(lengths);
  const queries = [lengths.map(() => 0), centre.with(-1, 0), centre].map((tokens) => gridQuery(scene, tokens));
  const distinct = queries.filter((query, i) => queries.findIndex((other) => place(other) === place(query)) === i);
  return distinct.flatMap((query) => [windowPanel(scene, query), gridTilePanel(scene, query)]);
}

const one: Range = { begin: 0, end: 1 };

/** What a query sees along an axis, and where it is; all there is when there is no such axis. */
const sightOn = (scene: Scene, query: GridQuery, axis: number | undefined): readonly Range[] =>
  axis === undefined ? [one] : axisSight(scene, query, axis);
const tokenOn = ({ tokens }: GridQuery, axis: number | undefined): Range =>
  axis === undefined ? one : { begin: tokens[axis], end: tokens[axis] + 1 };

function windowPanel(scene: Scene, query: GridQuery): Panel {
  const [down, across] = planeAxes(query);
  const panel = new Panel(
    `what the query at ${place(query)} sees${ofPlane(scene, query)}`,
    query.lengths[across],
    down === undefined ? 1 : query.lengths[down],
  );
  for (const y of sightOn(scene, query, down)) {
    for (const x of sightOn(scene, query, across)) panel.add('visible', x, y);
  }
  panel.add('query', tokenOn(query, across), tokenOn(query, down));
  return panel;
}

function gridTilePanel(scene: Scene, query: GridQuery): Panel {
  const [down, across] = planeAxes(query);
  const { dilations } = scene.grid!;
  const tiles = query.tokens.map((_, axis) => axisTiles(scene, query, axis));
  const group = dilations.some((d) => d > 1) ? `, in its dilation group of ${query.groupLengths.join('x')}` : '';
  const panel = new Panel(
    `tiles its query tile visits: ${scene.queryTile.join('x')} queries x ${scene.keyTile.join('x')} keys${group}`,
    query.groupLengths[across],
    down === undefined ? 1 : query.groupLengths[down],
  );
  // The first of three axes is not drawn: tiles of the query's own plane.
  const isDeepInterior = query.tokens.length < 3 || isInteriorAt(tiles[0], query.places[0]);
  const rows: readonly Run[] = down === undefined ? [{ ...one, isInterior: true }] : joined(tiles[down], 0);
  const columns = joined(tiles[across], 0);
  for (const y of rows) {
    for (const x of columns) panel.add(tileKind(isDeepInterior && x.isInterior && y.isInterior), x, y);
  }
  const own = (axis: number): Range => {
    const begin = Math.floor(query.places[axis] / scene.queryTile[axis]) * scene.queryTile[axis];
    return { begin, end: Math.min(query.groupLengths[axis], begin + scene.queryTile[axis]) };
  };
  panel.add('outline', own(across), down === undefined ? one : own(down));
  return panel;
}

const isInteriorAt = (tiles: readonly Run[], at: number): boolean =>
  tiles.some(({ begin, end, isInterior }) => isInterior && begin <= at && at < end);
