// The example that serves, over HTTP as its clients use it: texts on one pool are those that are written alone, and every page
// comes back. Reader: someone who changes examples/serve.

import { once } from 'node:events';
import type { Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
// @ts-expect-error: the examples are plain JavaScript.
import { generate, reader } from '../../examples/generate.mjs';
// @ts-expect-error: likewise.
import { createServer } from '../../examples/serve/server.mjs';

interface Text {
  id: number;
  prompt: string;
  text: string;
  promisedPages: number;
  charactersLeft: number;
}
interface Status {
  pages: number;
  usedPages: number;
  beginningPages: number;
  running: (Text & { usedPages: number })[];
  waiting: Text[];
  done: Text[];
}

let server: Server;
let base: string;

async function serve(options: { pages?: number; pageSize?: number; stepTokens?: number; beginning?: string } = {}) {
  server = await createServer(options);
  server.keepAliveTimeout = 0; // connections stay, however long this process computes between two requests
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const post = (path: string, body: unknown, signal?: AbortSignal) =>
  fetch(base + path, { method: 'POST', body: JSON.stringify(body), ...(signal && { signal }) });
const write = async (prompt: string, length: number) => (await post('/generate', { prompt, length })).text();
const status = async (): Promise<Status> => (await fetch(`${base}/status`)).json() as Promise<Status>;
const alone = (prompt: string, length: number): Promise<string> => generate(reader(), prompt, length);

/** The first status that is so. */
async function statusWhen(isSo: (status: Status) => boolean): Promise<Status> {
  for (;;) {
    const found = await status();
    if (isSo(found)) return found;
    if (isIdle(found) && found.done.length > 0) throw new Error(`over, and never so: ${JSON.stringify(found)}`);
    await sleep(2);
  }
}

const isIdle = ({ running, waiting }: Status) => running.length + waiting.length === 0;

describe('texts on one pool', () => {
  it('are those that are written alone, however they meet', async () => {
    // Steps of 8 tokens cut the prompts into pieces, beside texts that are already written.
    await serve({ pages: 64, pageSize: 8, stepTokens: 8 });
    const wishes: [string, number][] = [
      ['Call me Ishmael. ', 60],
      ['', 40],
      ['The whale, which had been so long in sight, ', 25],
      ['Ahab ', 1],
    ];
    const texts = await Promise.all(wishes.map((wish) => write(...wish)));
    for (const [i, wish] of wishes.entries()) expect(texts[i], wish[0]).toBe(await alone(...wish));
    const { usedPages, done } = await statusWhen(isIdle);
    expect(usedPages).toBe(0);
    expect(done).toHaveLength(4);
  });

  it('wait where the pool is full, and begin in the order in which they came', async () => {
    // Each needs 13 pages of 8: the token of the beginning, 20 of a prompt, and all but the last of 84 characters.
    await serve({ pages: 27, pageSize: 8 });
    const prompts = ['The captain of a ship', 'The harpooner and I ', 'There was no more of '].map((p) =>
      p.slice(0, 20),
    );
    const texts = Promise.all(prompts.map((prompt) => write(prompt, 84)));
    const full = await statusWhen(({ running, waiting }) => running.length === 2 && waiting.length === 1);
    expect(full.running.map(({ promisedPages }) => promisedPages)).toEqual([13, 13]);
    expect(full.waiting).toHaveLength(1);
    expect(await texts).toEqual(await Promise.all(prompts.map((prompt) => alone(prompt, 84))));
    const { usedPages, done } = await statusWhen(isIdle);
    expect(usedPages).toBe(0);
    expect(done.map(({ id }) => id)).toEqual([3, 2, 1]);
  });

  it('share the pages of what all begin with', async () => {
    const beginning = 'It was a clear steel-blue day. The firmaments of air and sea ';
    await serve({ pages: 60, pageSize: 8, beginning });
    expect(await status()).toMatchObject({ usedPages: 8, beginningPages: 8 }); // 61 characters: its last one is read by each
    const texts = Promise.all(['were ', 'had '].map((prompt) => write(prompt, 150)));
    const { usedPages, running } = await statusWhen(({ running }) => running[1]?.charactersLeft < 140);
    expect(usedPages).toBe(8 + running[0].usedPages + running[1].usedPages);
    for (const text of running) expect(text.usedPages).toBeLessThanOrEqual(text.promisedPages);
    expect(await texts).toEqual([await alone(`${beginning}were `, 150), await alone(`${beginning}had `, 150)]);
    expect((await statusWhen(isIdle)).usedPages).toBe(8);
  });
});

describe('a client', () => {
  it('that goes away frees its pages, whether its text runs or waits', async () => {
    await serve({ pages: 128, pageSize: 8 });
    const leaving = new AbortController();
    const first = await post('/generate', { prompt: 'Call me ', length: 900 }, leaving.signal);
    const second = post('/generate', { prompt: 'Some years ago', length: 900 }, leaving.signal).catch(() => 'left');
    await statusWhen(
      ({ running, waiting }) => running.length === 1 && waiting.length === 1 && running[0].text.length > 3,
    );
    const third = write('The sea ', 30);
    await statusWhen(({ waiting }) => waiting.length === 2);
    leaving.abort();
    await expect(first.text()).rejects.toThrow();
    await second;
    expect(await third).toBe(await alone('The sea ', 30));
    const { usedPages, done } = await statusWhen(isIdle);
    expect(usedPages).toBe(0);
    expect(done.filter(({ charactersLeft }) => charactersLeft > 0)).toHaveLength(2);
  });

  it('that leaves in the middle of its wish disturbs nobody', async () => {
    await serve();
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.write('POST /generate HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{ "prompt"');
    await once(server, 'request');
    socket.destroy();
    expect(await write('The sea ', 5)).toBe(await alone('The sea ', 5));
  });

  it('can leave its text to the server, and stop it', async () => {
    await serve({ pages: 300, pageSize: 8 });
    const ids = [];
    for (const length of [5, 2000]) ids.push(((await (await post('/start', { length })).json()) as Text).id);
    const { done } = await statusWhen(({ done }) => done.length === 1);
    expect(done[0]).toMatchObject({ id: ids[0], text: await alone('', 5) });
    await post('/stop', { id: ids[1] });
    const idle = await statusWhen(isIdle);
    expect(idle.done[0].id).toBe(ids[1]);
    expect(idle.usedPages).toBe(0);
  });

  it.each<[string, unknown, string]>([
    ['a text that the pool cannot hold', { length: 400 }, '50 pages'],
    ['no text', { length: 0 }, '`length`'],
    ['half a character', { length: 2.5 }, '`length`'],
    ['a prompt of another kind', { prompt: 7 }, '`prompt`'],
    ['a temperature below 0', { temperature: -1 }, '`temperature`'],
    ['a temperature of another kind', { temperature: '' }, '`temperature`'],
    ['a prompt without end', { prompt: 'x'.repeat(1 << 16) }, 'content-length'],
  ])('hears why there is not to be %s', async (_, wish, words) => {
    await serve({ pages: 49, pageSize: 8 });
    const answer = await post('/generate', wish);
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain(words);
    expect((await status()).done).toEqual([]);
  });

  it('gets a text that fills the pool to its last page', async () => {
    await serve({ pages: 9, pageSize: 8 });
    expect(await write('', 72)).toBe(await alone('', 72));
    expect(await (await post('/generate', { length: 73 })).text()).toContain('needs 10 pages');
  });

  it('finds a page that needs nothing but this server', async () => {
    await serve();
    const page = await (await fetch(base)).text();
    expect(page).toMatch(/^<!doctype html>/);
    expect(page).not.toMatch(/src=|@import|https?:/);
    const paths = [...page.matchAll(/(?:fetch|post)\('([^']+)'/g)].map(([, path]) => path);
    expect(paths.sort()).toEqual(['/start', '/status', '/stop']);
    expect((await fetch(`${base}/no`)).status).toBe(404);
    // What it reads of the status is there.
    const names = Object.keys(await status());
    for (const [, list] of page.matchAll(/const \{ ([a-zA-Z, ]+) \} = status/g)) {
      for (const name of list.split(', ')) expect(names).toContain(name);
    }
  });
});
