// The recipes in examples/recipes/: right in float64, short, and shown on docs/guide/recipes.md as they are.
// Reader: someone who adds one.

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const folder = new URL('../../examples/recipes/', import.meta.url);
const page = readFileSync(new URL('../../docs/guide/recipes.md', import.meta.url), 'utf8');
const files = readdirSync(folder);
const recipes = files.filter((name) => name !== 'naive.mjs');
const textOf = (name: string) => readFileSync(new URL(name, folder), 'utf8');

interface Result {
  readonly out: { readonly data: ArrayLike<number> };
  /** In float64. */
  readonly wanted: readonly number[];
}

describe.each(recipes)('examples/recipes/%s', (name) => {
  it('is what float64 says', async () => {
    const { recipe } = (await import(new URL(name, folder).href)) as { recipe(): Promise<Record<string, Result>> };
    const results = Object.entries(await recipe());
    expect(results.length).toBeGreaterThan(0);
    for (const [part, { out, wanted }] of results) {
      expect(out.data.length, part).toBe(wanted.length);
      const worst = wanted.reduce((most, x, i) => Math.max(most, Math.abs(x - out.data[i])), 0);
      expect(worst, part).toBeLessThan(1e-5);
      expect(wanted.some((x) => x !== 0)).toBe(true);
    }
  });

  it('has at most 60 lines, and a place on the page', () => {
    expect(textOf(name).trimEnd().split('\n').length).toBeLessThanOrEqual(60);
    expect(page).toContain(`\`examples/recipes/${name}\``);
  });
});

it('the page shows lines of the recipes as they are', () => {
  const shown = [...page.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code);
  expect(shown.length).toBeGreaterThanOrEqual(recipes.length);
  const all = files.map(textOf);
  expect(shown.filter((code) => !all.some((text) => text.includes(code)))).toEqual([]);
});
