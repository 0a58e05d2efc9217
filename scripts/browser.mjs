// Chromium without a window, driven over a pipe. Reader: check-page.mjs, and whoever looks at another page.
// Messages are JSON with a zero byte behind each (--remote-debugging-pipe); names are those of the DevTools protocol.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];
const elsewhere = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
];

/** Where Chromium is: what CHROME says, else the first of its names on the PATH. */
export function findBrowser() {
  const { CHROME, PATH = '' } = process.env;
  const onPath = PATH.split(path.delimiter).flatMap((folder) => names.map((name) => path.join(folder, name)));
  const found = (CHROME ? [CHROME] : [...onPath, ...elsewhere]).find((file) => existsSync(file));
  if (found) return found;
  throw new Error(
    CHROME
      ? `CHROME names ${CHROME}, which does not exist`
      : 'There is no Chromium on the PATH: install one (apt-get install chromium, brew install --cask chromium), or say where it is with CHROME=…',
  );
}

export class Browser {
  #process;
  #profile;
  #lastId = 0;
  /** By id of a message: who waits for its answer. By session: the page that events are for. */
  #waiting = new Map();
  #pages = new Map();

  constructor(file = findBrowser()) {
    this.#profile = mkdtempSync(path.join(os.tmpdir(), 'browser-'));
    // Without a sandbox where the user is root, as in containers: the page is our own.
    const root = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    const args = ['--headless=new', '--remote-debugging-pipe', '--no-first-run', '--disable-gpu', ...root];
    this.#process = spawn(file, [...args, `--user-data-dir=${this.#profile}`], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    this.#process.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('The browser ended'));
    });
    let rest = '';
    this.#process.stdio[4].setEncoding('utf8').on('data', (data) => {
      const messages = (rest + data).split('\0');
      rest = messages.pop();
      for (const message of messages) this.#receive(JSON.parse(message));
    });
  }

  #receive({ id, result, error, sessionId, method, params }) {
    if (id === undefined) {
      this.#pages.get(sessionId)?.hear(method, params);
      return;
    }
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) reject(new Error(error.message));
    else resolve(result);
  }

  /** @returns {Promise<any>} what the protocol answers */
  send(method, params = {}, sessionId = undefined) {
    const id = ++this.#lastId;
    this.#process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  /** A page of this size, loaded. */
  async open(url, { width, height }) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(targetId, (method, params) => this.send(method, params, sessionId));
    this.#pages.set(sessionId, page);
    await page.load(url, { width, height });
    return page;
  }

  async close() {
    await this.send('Browser.close').catch(() => {});
    if (this.#process.exitCode === null) await once(this.#process, 'exit');
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

class Page {
  #target;
  #send;
  #load = () => {};
  /** Errors that scripts threw or wrote to the console. */
  complaints = [];

  constructor(target, send) {
    this.#target = target;
    this.#send = send;
  }

  hear(method, params) {
    if (method === 'Page.loadEventFired') this.#load();
    if (method === 'Runtime.exceptionThrown') this.complaints.push(params.exceptionDetails.exception?.description);
    if (method === 'Log.entryAdded' && params.entry.level === 'error') this.complaints.push(params.entry.text);
  }

  async load(url, { width, height }) {
    for (const domain of ['Page', 'Runtime', 'Log']) await this.#send(`${domain}.enable`);
    await this.#send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false });
    const loaded = new Promise((resolve) => {
      this.#load = resolve;
    });
    await this.#send('Page.navigate', { url });
    await loaded;
  }

  /** Pages that nobody looks at have slow timers, so one is closed before another opens. */
  close() {
    return this.#send('Target.closeTarget', { targetId: this.#target });
  }

  /** The value of an expression, or of the promise that it is. */
  async evaluate(expression) {
    const wanted = { expression, returnByValue: true, awaitPromise: true };
    const { result, exceptionDetails } = await this.#send('Runtime.evaluate', wanted);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** The whole page as PNG. */
  async screenshot() {
    const { data } = await this.#send('Page.captureScreenshot', { captureBeyondViewport: true });
    return Buffer.from(data, 'base64');
  }
}
