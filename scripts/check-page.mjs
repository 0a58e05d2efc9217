// The page of `npm run serve` in a real browser, wide and narrow: starts two texts and sees that its numbers move. Screenshots
// go to build/. Reader: someone who changed examples/serve/page.html. Needs Chromium, which it speaks to over its DevTools
// protocol (https://chromedevtools.github.io/devtools-protocol) on a pipe, so that nothing has to be installed for it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer } from '../examples/serve/server.mjs';
import { Browser } from './browser.mjs';

const screens = [
  { name: 'wide', width: 1280, height: 900 },
  { name: 'narrow', width: 390, height: 844 },
];
const [texts, characters, longestMs] = [2, 1500, 60_000];
const folder = new URL('../build/', import.meta.url);

/** What a person reads off the page. */
const look = `(() => {
  const text = (id) => document.getElementById(id).textContent;
  const colors = [...document.querySelectorAll('#pages i')].map(({ style }) => style.background);
  if (!text('pageSize')) return undefined; // no answer of the server yet
  return {
    written: Number(text('written')),
    usedPages: parseInt(text('used')),
    running: document.querySelectorAll('#running article').length,
    done: document.querySelectorAll('#done article').length,
    colored: colors.filter((color) => color !== '').length,
    refusal: text('refusal'),
    overhang: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  };
})()`;

const start = `(() => {
  const form = document.getElementById('form');
  form.elements.namedItem('count').value = ${texts};
  form.elements.namedItem('length').value = ${characters};
  form.requestSubmit();
})()`;

/** Looks at the page until `isEnough` says so of what it has; returns all that was seen. */
async function watch(page, isEnough) {
  const seen = [];
  for (const begun = performance.now(); performance.now() - begun < longestMs; await sleep(100)) {
    const now = await page.evaluate(look);
    if (now) seen.push(now);
    if (now && isEnough(now)) return seen;
  }
  throw new Error(`The page took longer than ${longestMs / 1000} s; last it had ${JSON.stringify(seen.at(-1))}`);
}

async function check(browser, url, { name, width, height }) {
  const page = await browser.open(url, { width, height });
  const [before] = await watch(page, () => true);
  await page.evaluate(start);
  const pagesSeen = new Set();
  const running = await watch(page, (now) => {
    assert.equal(now.refusal, '', 'the server refused a text');
    assert.notEqual(now.done, before.done + texts, 'pages in use did not change while the texts ran');
    pagesSeen.add(now.usedPages);
    return now.running === texts && now.written > 0 && pagesSeen.size > 3;
  });
  const screenshot = await page.screenshot();
  const seen = [...running, ...(await watch(page, ({ done }) => done === before.done + texts))];
  const valuesOf = (what) => seen.map((now) => now[what]);
  assert.ok(Math.max(...valuesOf('colored')) > 0, 'no square of the pool had a colour');
  assert.equal(Math.max(...valuesOf('overhang')), 0, 'the page is wider than its window');
  assert.equal(seen.at(-1).usedPages, before.usedPages, 'pages that were not given back');
  assert.deepEqual(page.complaints, [], 'errors in the console');
  await page.close();
  const file = new URL(`page-${name}.png`, folder);
  writeFileSync(file, screenshot);
  const [most, pages] = [Math.max(...valuesOf('written')), Math.max(...valuesOf('usedPages'))];
  console.log(
    `${name}: up to ${most} characters per second, ${pages} pages in use; ${path.relative('.', file.pathname)}`,
  );
}

const server = await createServer({ pages: 256, pageSize: 16, stepTokens: 64, beginning: '' });
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const browser = new Browser();
try {
  mkdirSync(folder, { recursive: true });
  for (const screen of screens) await check(browser, `http://127.0.0.1:${server.address().port}/`, screen);
} finally {
  await browser.close();
  server.closeAllConnections();
  server.close();
}
