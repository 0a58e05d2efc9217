// docs/guide/papers.md says what is so: every call in its tables runs after the page's four lines. Reader: someone who adds
// a paper.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as tilewise from '../../dist/index.js';

const page = readFileSync(new URL('../../docs/guide/papers.md', import.meta.url), 'utf8');
const before = page.match(/```js\n([\s\S]*?)```/)![1];
const rows = [...page.matchAll(/^\| (.*?) \| (.*?) \| (.*?) ?\|$/gm)]
  .map(([, paper, , call]) => ({ paper, call }))
  .filter(({ paper }) => paper !== 'paper' && paper !== '---');

/** Runs a call with the package's exports in scope. */
function run(call: string): Promise<unknown> {
  const body = `return (async () => { ${before}\n return ${call}; })();`;
  return new Function(...Object.keys(tilewise), body)(...Object.values(tilewise));
}

describe('docs/guide/papers.md', () => {
  it('has a row for every paper once', () => {
    const papers = rows.map(({ paper }) => paper);
    expect(papers.length).toBeGreaterThan(60);
    expect(papers.filter((paper, i) => papers.indexOf(paper) !== i)).toEqual([]);
  });

  it.each(rows)('$paper', async ({ call }) => {
    const code = call.match(/^`(.*)`$/)?.[1];
    if (code) expect(await run(code)).toBeInstanceOf(Object);
    else expect(call).toMatch(/^planned$|^[A-Z].*\.$/);
  });
});
