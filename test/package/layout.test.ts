// The law of the layout (docs/design/architecture.md): arrows point down, nothing goes round in a circle, files are read in one
// sitting, and no loop knows a pattern by name. Reader: someone whose change does not find its room.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const floors = ['lib', 'binding', 'core', 'cpu', 'cuda', 'emulator'];
const files = floors.flatMap((floor) =>
  readdirSync(path.join(root, floor), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(h|cc|cu|inl|ts)$/.test(name))
    .map((name) => path.posix.join(floor, name.replaceAll(path.sep, '/'))),
);
const known = new Set(files);
const textOf = new Map(files.map((file) => [file, readFileSync(path.join(root, file), 'utf8')]));

/** The files of the repository that a file includes or imports. */
function arrowsOf(file: string): string[] {
  const pattern = file.endsWith('.ts') ? /(?:from|import) '(\.[^']+)'/g : /^#include "([^"]+)"/gm;
  return [...textOf.get(file)!.matchAll(pattern)].flatMap(([, name]) => {
    const target = path.posix.join(path.posix.dirname(file), name.replace(/\.js$/, '.ts'));
    return known.has(target) ? [target] : [];
  });
}
const arrows = files.flatMap((from) => arrowsOf(from).map((to) => ({ from, to })));

/** A circle among arrows, if there is one: its stations in order. */
function circleIn(edges: readonly { from: string; to: string }[]): string[] | undefined {
  const done = new Set<string>();
  const walk = (at: string, way: string[]): string[] | undefined => {
    if (way.includes(at)) return [...way.slice(way.indexOf(at)), at];
    if (done.has(at)) return undefined;
    for (const { from, to } of edges) {
      const circle = from === at ? walk(to, [...way, at]) : undefined;
      if (circle) return circle;
    }
    done.add(at);
    return undefined;
  };
  for (const { from } of edges) {
    const circle = walk(from, []);
    if (circle) return circle;
  }
  return undefined;
}

const floorOf = (file: string): string => file.split('/')[0];
/** A folder of a floor; what is beside the folders stands for itself. */
const roomOf = (file: string): string => file.split('/').slice(0, 2).join('/');

describe('the layout', () => {
  it('is found as it is', () => {
    expect(files.length).toBeGreaterThan(250);
    expect(arrows.length).toBeGreaterThan(500);
    expect(circleIn([...arrows, { from: 'core/base/platform.h', to: 'core/op/backend.h' }])).toContain(
      'core/op/backend.h',
    );
  });

  it('has arrows between floors that only point down', () => {
    const below: Record<string, string[]> = {
      lib: [],
      // backends.cc alone knows which backends there are.
      binding: ['core'],
      core: [],
      cpu: ['core'],
      cuda: ['core'],
      emulator: ['cuda', 'core'],
    };
    const up = arrows.filter(
      ({ from, to }) =>
        from !== 'binding/backends.cc' && floorOf(from) !== floorOf(to) && !below[floorOf(from)].includes(floorOf(to)),
    );
    expect(up).toEqual([]);
  });

  it('has no circle of files, and none of rooms', () => {
    expect(circleIn(arrows)).toBeUndefined();
    const between = arrows
      .map(({ from, to }) => ({ from: roomOf(from), to: roomOf(to) }))
      .filter(({ from, to }) => from !== to && floorOf(from) === floorOf(to) && floorOf(from) !== 'emulator');
    expect(circleIn(between)).toBeUndefined();
  });

  it('has files of at most 350 lines', () => {
    expect(files.filter((file) => textOf.get(file)!.trimEnd().split('\n').length > 350)).toEqual([]);
  });

  it('has loops that know no pattern by name, and only the store knows what a page is', () => {
    const naming = (what: RegExp, ...rooms: string[]) =>
      files.filter((file) => !rooms.some((room) => file.startsWith(room)) && what.test(textOf.get(file)!));
    expect(naming(/PatternKind/, 'core/', 'binding/')).toEqual([]);
    // instances.h lists the kernels that there are.
    const patterns = /\b(Window|Neighborhood|StridedShards|BlockLists?)\b/;
    expect(naming(patterns, 'core/', 'binding/', 'lib/', 'cuda/attention/sm80/instances.h')).toEqual([]);
    expect(naming(/pageSize/, 'core/store/', 'binding/', 'lib/')).toEqual([]);
  });
});
