// The emulator's twins of warp collectives: what PTX makes a collective is one in the emulator, too.
// Reader: someone who adds a primitive. The C++ checks call each name of the table (collective_checks.cu).
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const prims = new URL('../../cuda/prims/ptx/', import.meta.url);
const table = readFileSync(new URL('../native/emulator/collectives.h', import.meta.url), 'utf8');

/** Bodies of functions and macros of the primitives, by name. */
function definitions(): Map<string, string> {
  const bodies = new Map<string, string>();
  const add = (name: string, body: string) => bodies.set(name, (bodies.get(name) ?? '') + body);
  for (const file of readdirSync(prims)) {
    const text = readFileSync(new URL(file, prims), 'utf8');
    if (file.endsWith('.inc')) add('Wgmma', text);
    for (const [, name, body] of text.matchAll(/TW_PRIM [^(;{]*?(\w+)(?:<\w+>)?\([^{;]*\) (\{(?:.*\}$|[\s\S]*?^\}))/gm))
      add(name, body);
    for (const [, name, body] of text.matchAll(/#define (\w+)\([^)]*\)((?:.*\\\n)*.*)/g)) add(name, body);
  }
  return bodies;
}

/** Those that are collectives themselves, or use one. */
function collectives(): string[] {
  const bodies = definitions();
  const found = new Set<string>();
  const isOne = (body: string) =>
    /_sync\(|__sync|[.]sync[.;" ]|"bar[.]/.test(body) ||
    [...found].some((name) => new RegExp(`\\b${name}\\b`).test(body));
  for (let before = -1; before !== found.size; ) {
    before = found.size;
    for (const [name, body] of bodies) if (isOne(body)) found.add(name);
  }
  return [...found].filter((name) => /^[a-z]/.test(name)).toSorted();
}

describe('collectives', () => {
  it('the table has every primitive whose PTX is one, and no other', () => {
    const named = [...table.matchAll(/^ {2}X\((\w+),/gm)].map(([, name]) => name);
    expect(named.toSorted()).toEqual(collectives());
  });
});
