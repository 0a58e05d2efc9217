// Continuous batching: texts that come and go on one KvPool, all of them a step further by one ragged call per layer.
// Reader: someone who serves a model. A text is admitted when every page that it can ever need is free, so that no sequence
// runs out of pages; the others wait in the order in which they came. Idea of such steps: Orca (OSDI 2022).
import { KvPool } from 'tilewise';
import { drawn, likeliest } from '../generate/choose.mjs';
import { decode, encode, forward, headDim, kvHeads, layers, logitsPerToken, start } from '../generate/llama.mjs';
import { Rate } from './rate.mjs';

/** Texts that status() still tells of when they have ended. */
const mostDone = 20;

/** Says why a text can never run. */
export class RefusedError extends Error {}

/**
 * @typedef {object} Wish
 * @property {string} prompt what the text begins with
 * @property {number} length characters to write
 * @property {number} temperature 0: the likeliest character each time
 * @property {(character: string) => void} onCharacter called with each, in order
 * @property {() => void} onEnd called after the last, or when the text was stopped
 */

export class Engine {
  #pool;
  #pageSize;
  #stepTokens;
  /** What all texts begin with. Its last token is left to each of them: reading it brings the first logits. */
  #beginning;
  #beginningTokens;
  #waiting = [];
  #running = [];
  #done = [];
  #isStepping = false;
  #lastId = 0;
  #read = new Rate();
  #written = new Rate();

  /**
   * @param {object} [options]
   * @param {number} [options.pages] pages of the pool
   * @param {number} [options.pageSize] tokens per page
   * @param {number} [options.stepTokens] tokens of a step: one for every text, and pieces of prompts with what is left
   * @param {string} [options.beginning] a text that all others begin with; they share its pages
   */
  static async open({ pages = 256, pageSize = 16, stepTokens = 64, beginning = '' } = {}) {
    const engine = new Engine({ pages, pageSize, stepTokens, beginning });
    const text = { sequence: engine.#beginning, tokens: engine.#beginningTokens };
    if (beginning) await engine.#forward([{ text, count: beginning.length }]);
    return engine;
  }

  constructor({ pages, pageSize, stepTokens, beginning }) {
    this.#pool = new KvPool({ pages, pageSize, layers, kvHeads, headDim });
    this.#pageSize = pageSize;
    this.#stepTokens = stepTokens;
    this.#beginning = this.#pool.sequence();
    this.#beginningTokens = [start, ...encode(beginning)];
  }

  /**
   * Takes a text; it runs as soon as there is room.
   * @param {Wish} wish
   * @returns {number} its number, for stop()
   * @throws {RefusedError} when the pool could never hold it
   */
  write({ prompt, length, temperature, onCharacter, onEnd }) {
    const tokens = [...this.#beginningTokens, ...encode(prompt)];
    const [promptEnd, end] = [tokens.length, tokens.length + length];
    const pages = this.#ownPages(end - 1); // the last character is not read
    const most = this.#pool.pages - this.#beginning.pages;
    if (pages > most) {
      throw new RefusedError(`the text needs ${pages} pages of ${this.#pageSize} tokens, the pool has ${most}`);
    }
    const choose = (logits) => (temperature > 0 ? drawn(logits, temperature) : likeliest(logits));
    const id = ++this.#lastId;
    const text = { id, prompt, tokens, promptEnd, end, pages, choose, onCharacter, onEnd, isStopped: false };
    this.#waiting.push(text);
    if (!this.#isStepping) this.#stepUntilDone();
    return id;
  }

  /** Ends a text before its time, when nobody wants the rest; its pages are free after the step that may be under way. */
  stop(id) {
    const text = [...this.#running, ...this.#waiting].find((one) => one.id === id);
    if (text) text.isStopped = true;
  }

  get #sharedPages() {
    return Math.floor(this.#beginning.length / this.#pageSize);
  }

  /** Pages that a text of so many tokens has for itself: the full ones of the beginning stay shared. */
  #ownPages(tokens) {
    return Math.ceil(tokens / this.#pageSize) - this.#sharedPages;
  }

  async #stepUntilDone() {
    this.#isStepping = true;
    while (this.#admit()) await this.#step();
    this.#isStepping = false;
  }

  /** Lets go of texts that have ended, then admits what fits. Returns whether anything runs. */
  #admit() {
    const isOver = (text) => text.isStopped || text.tokens.length === text.end;
    for (const text of [...this.#running, ...this.#waiting].filter(isOver)) {
      text.sequence?.free();
      this.#done = [text, ...this.#done.slice(0, mostDone - 1)];
      text.onEnd();
    }
    this.#running = this.#running.filter((text) => !isOver(text));
    this.#waiting = this.#waiting.filter((text) => !isOver(text));
    let promised = this.#running.reduce((sum, { pages }) => sum + pages, this.#beginning.pages);
    while (this.#waiting.length > 0 && this.#running.length < this.#stepTokens) {
      promised += this.#waiting[0].pages;
      if (promised > this.#pool.pages) break;
      const text = this.#waiting.shift();
      text.sequence = this.#beginning.fork();
      this.#running.push(text);
    }
    return this.#running.length > 0;
  }

  /** How many tokens of each text the next step reads: one at least, of prompts as many as there is room for. */
  #shares() {
    let room = this.#stepTokens - this.#running.length;
    return this.#running.map((text) => {
      const more = Math.min(room, text.tokens.length - text.sequence.length - 1);
      room -= more;
      return { text, count: 1 + more };
    });
  }

  async #step() {
    const parts = this.#shares();
    const logits = await this.#forward(parts);
    let end = 0;
    for (const { text, count } of parts) {
      end += count;
      if (text.sequence.length <= text.promptEnd) this.#read.add(count);
      if (text.sequence.length < text.tokens.length) continue; // more of the prompt comes
      const token = text.choose(logits.subarray((end - 1) * logitsPerToken, end * logitsPerToken));
      text.tokens.push(token);
      text.onCharacter(decode([token]));
      this.#written.add(1);
    }
  }

  /** Sends the next tokens of some texts through the model: one call of attention per layer. */
  async #forward(parts) {
    const sequences = parts.map(({ text }) => text.sequence);
    const queryLengths = parts.map(({ count }) => count);
    const positions = parts.flatMap(({ text: { sequence }, count }) =>
      Array.from({ length: count }, (_, i) => sequence.length + i),
    );
    const tokens = parts.flatMap(({ text: { sequence, tokens }, count }) =>
      tokens.slice(sequence.length, sequence.length + count),
    );
    return forward(tokens, positions, async (layer, q, k, v) => {
      let row = 0;
      for (const [i, sequence] of sequences.entries()) {
        const end = row + queryLengths[i];
        sequence.append(layer, k.slice(0, row, end), v.slice(0, row, end));
        row = end;
      }
      const { out } = await this.#pool.attention(layer, q, sequences, { queryLengths });
      return out;
    });
  }

  /** What there is to watch, as plain JSON. */
  status() {
    const shown = ({ id, prompt, pages, tokens, promptEnd, end }) => ({
      id,
      prompt,
      promisedPages: pages,
      text: decode(tokens.slice(promptEnd)),
      charactersLeft: end - tokens.length,
    });
    return {
      pageSize: this.#pageSize,
      pages: this.#pool.pages,
      usedPages: this.#pool.pages - this.#pool.freePages,
      beginningPages: this.#beginning.pages,
      running: this.#running.map((text) => ({
        ...shown(text),
        usedPages: Math.max(0, text.sequence.pages - this.#sharedPages),
      })),
      waiting: this.#waiting.map(shown),
      done: this.#done.map(shown),
      tokensPerSecond: { read: this.#read.perSecond(), written: this.#written.perSecond() },
    };
  }
}
