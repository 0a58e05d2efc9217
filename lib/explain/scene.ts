// Scenes: what pictures of a pattern show, as cells and tiles.
// Reader: someone who changes a picture. What is visible comes from the addon, in runs; here runs become cells.

import { outputHeads, type Shape } from '../call/shape.js';
import type { RunnablePattern } from '../patterns/index.js';
import { type Range, type Run, runsOf } from '../patterns/sights.js';
import { isOneWindow } from '../patterns/window.js';

/** A pattern on a shape, and the tiles it is counted on. */
export interface Scene {
  readonly title: string;
  /** Lines below the title of a picture. */
  readonly notes: readonly string[];
  /** There is nothing to draw: no queries, no keys, or no batch entry that has any. */
  readonly isEmpty: boolean;
  readonly queries: number;
  readonly keys: number;
  /** Of neighborhoods: the token axes, outermost first. Pictures of one are of its axes: a mask is not in them. */
  readonly grid:
    | { readonly lengths: readonly number[]; readonly dilations: readonly number[]; readonly isMasked: boolean }
    | undefined;
  /** Ranges of queries must not cross multiples of this. */
  readonly blockQueries: number | undefined;
  /** Per token axis. */
  readonly queryTile: readonly number[];
  readonly keyTile: readonly number[];
  readonly isDynamic: boolean;
  /** Of sequences: the heads that are drawn, each for all that see the same, and how many see something else each. */
  readonly heads: readonly number[];
  readonly kinds: number;
  /** What ranges of queries see, and the tiles that they visit as query tiles; see `sights` in native.ts. */
  sights(boxes: readonly number[]): Int32Array;
  tiles(boxes: readonly number[]): Int32Array;
}

/** How much of a cell is visible: 0 nothing, then by thirds, `whole` everything. */
export type Level = 0 | 1 | 2 | 3 | 4;
export const whole = 4;

export function levelOf(visible: number, area: number): Level {
  if (visible === 0) return 0;
  return visible >= area ? whole : ((1 + Math.min(2, Math.floor((3 * visible) / area))) as Level);
}

/** Ranges of queries of a head. */
const ofSequence = (head: number, boxes: readonly Range[]): number[] =>
  boxes.flatMap(({ begin, end }) => [head, begin, end]);

/** Most heads of a picture. */
const mostHeads = 4;

/** The heads whose pictures differ: of windows that do, by a few of their queries; else head 0 speaks for all. */
export function headsToDraw(
  pattern: RunnablePattern,
  shape: Shape,
  sights: Scene['sights'],
): Pick<Scene, 'heads' | 'kinds'> {
  if (pattern.kind !== 'window' || isOneWindow(pattern)) return { heads: [0], kinds: 1 };
  const rows = parts(shape.queries, 16).map(({ end }) => ({ begin: end - 1, end }));
  const seen = new Map<string, number>();
  for (let head = 0; head < outputHeads(shape); ++head) {
    const sight = sights(ofSequence(head, rows)).join();
    if (!seen.has(sight)) seen.set(sight, head);
  }
  return { heads: [...seen.values()].slice(0, mostHeads), kinds: seen.size };
}

/** A range of places along an axis of a query's dilation group. */
const ofAxis = ({ group }: GridQuery, axis: number, { begin, end }: Range): number[] => [group, axis, begin, end];

/** A query of a grid: its token on every axis, and its place in its dilation group. */
export interface GridQuery {
  readonly tokens: readonly number[];
  readonly lengths: readonly number[];
  readonly places: readonly number[];
  readonly groupLengths: readonly number[];
  readonly group: number;
}

export function gridQuery(scene: Scene, tokens: readonly number[]): GridQuery {
  const { lengths, dilations } = scene.grid!;
  return {
    tokens,
    lengths,
    places: tokens.map((token, axis) => Math.floor(token / dilations[axis])),
    groupLengths: tokens.map((token, axis) => Math.ceil((lengths[axis] - (token % dilations[axis])) / dilations[axis])),
    // The last axis counts fastest, as in core/pattern/grid.h.
    group: tokens.reduce((group, token, axis) => group * dilations[axis] + (token % dilations[axis]), 0),
  };
}

/** The tokens that a query sees along an axis. */
export function axisSight(scene: Scene, query: GridQuery, axis: number): Range[] {
  const place = query.places[axis];
  const [[{ begin, end }]] = runsOf(scene.sights(ofAxis(query, axis, { begin: place, end: place + 1 })), 1);
  const d = scene.grid!.dilations[axis];
  const residue = query.tokens[axis] % d;
  if (d === 1) return [{ begin, end }];
  return Array.from({ length: end - begin }, (_, i) => {
    const token = residue + (begin + i) * d;
    return { begin: token, end: token + 1 };
  });
}

/** The tiles that a query's tile visits along an axis, in places of its dilation group. */
export function axisTiles(scene: Scene, query: GridQuery, axis: number): Run[] {
  const size = scene.queryTile[axis];
  const length = query.groupLengths[axis];
  const begin = Math.floor(query.places[axis] / size) * size;
  return runsOf(scene.tiles(ofAxis(query, axis, { begin, end: Math.min(length, begin + size) })), 1)[0];
}

/** How much of a range of tokens is among those that are seen. */
export const levelWithin = (seen: readonly Range[], range: Range): Level =>
  levelOf(
    seen.reduce((tokens, one) => tokens + overlap(one, range), 0),
    range.end - range.begin,
  );

/** `total` cut into at most `most` parts of nearly one length. */
export function parts(total: number, most: number): Range[] {
  const count = Math.min(total, most);
  return Array.from({ length: count }, (_, i) => ({
    begin: Math.floor((i * total) / count),
    end: Math.floor(((i + 1) * total) / count),
  }));
}

/** A range cut where blocks of `size` begin. */
function cutAt({ begin, end }: Range, size: number | undefined): Range[] {
  if (size === undefined) return [{ begin, end }];
  const pieces: Range[] = [];
  for (let at = begin; at < end; at = pieces.at(-1)!.end) {
    pieces.push({ begin: at, end: Math.min(end, (Math.floor(at / size) + 1) * size) });
  }
  return pieces;
}

const overlap = (a: Range, b: Range): number => Math.max(0, Math.min(a.end, b.end) - Math.max(a.begin, b.begin));

/** Above this many queries a row of cells asks what all its queries together see, instead of one by one. */
const mostSingleQueries = 4096;

/** The mask of a head as rows of cells, each a range of queries by a range of keys. */
export function maskCells(scene: Scene, head: number, mostRows: number, mostColumns: number): Level[][] {
  const columns = parts(scene.keys, mostColumns);
  const rows = parts(scene.queries, mostRows);
  const size = scene.queries <= mostSingleQueries ? 1 : scene.blockQueries;
  const boxes = rows.flatMap((row, y) => cutAt(row, size).map((box) => ({ ...box, y })));
  const visible = rows.map(() => new Float64Array(columns.length));
  // As they come: there may be millions.
  const sights = scene.sights(ofSequence(head, boxes));
  for (let i = 0; i < sights.length; i += 4) {
    const { begin, end, y } = boxes[sights[i]];
    const run = { begin: sights[i + 1], end: sights[i + 2] };
    let c = Math.floor((run.begin / scene.keys) * columns.length);
    while (columns[c].end <= run.begin) ++c;
    for (; c < columns.length && columns[c].begin < run.end; ++c) {
      // What not every query of a box sees never makes a cell whole.
      const seen = overlap(run, columns[c]) * (end - begin);
      visible[y][c] += sights[i + 3] === 1 ? seen : 0.999 * seen;
    }
  }
  return rows.map(({ begin, end }, y) =>
    columns.map((column, c) => levelOf(visible[y][c], (column.end - column.begin) * (end - begin))),
  );
}

/** A query tile, and what it visits. */
interface TileRow {
  readonly queries: Range;
  readonly tiles: readonly Run[];
}

/** The query tiles of a head, one of every `step` so that they are at most so many. */
export function tileRows(scene: Scene, head: number, most: number): { rows: TileRow[]; step: number } {
  const { queries, queryTile, blockQueries = Math.max(1, queries) } = scene;
  const perBlock = Math.ceil(blockQueries / queryTile[0]);
  const count = Math.ceil(queries / blockQueries) * perBlock;
  const step = Math.ceil(count / most);
  const boxes: Range[] = [];
  for (let i = 0; i < count; i += step) {
    const block = Math.floor(i / perBlock) * blockQueries;
    const begin = block + (i % perBlock) * queryTile[0];
    const end = Math.min(queries, block + blockQueries, begin + queryTile[0]);
    if (begin < end) boxes.push({ begin, end });
  }
  const tiles = runsOf(scene.tiles(ofSequence(head, boxes)), boxes.length);
  return { step, rows: boxes.map((box, i) => ({ queries: box, tiles: tiles[i] })) };
}
