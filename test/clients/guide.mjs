// The examples of the guide, run where their packages are. Reader: someone who edits a page of docs/guide.

import { readFileSync } from 'node:fs';
import process from 'node:process';

/** The examples of a page that have some words in them, and what their comments say that they print. */
export function examplesOf(page, words) {
  const text = readFileSync(new URL(`../../docs/guide/${page}.md`, import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code);
  return blocks
    .filter((code) => code.includes(words))
    .map((code) => ({ code, said: [...code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map(([, said]) => said) }));
}

/** Runs examples; each must print what its comments say. */
export function runExamples(project, page, words) {
  const examples = examplesOf(page, words);
  if (examples.length === 0) throw new Error(`docs/guide/${page}.md has no example with ${words}`);
  for (const { code, said } of examples) {
    project.write('example.mjs', code);
    project.expect([said.join('\n')], process.execPath, ['example.mjs']);
  }
}
