// Generating text: `npm run demo -- --chat [beginning]` lets a small Llama, which has read Moby-Dick, go on from a beginning,
// with all of the text in a KvCache and with less. Reader: someone who generates. The model is in generate/llama.mjs.
import { readFileSync } from 'node:fs';
import { KvCache } from 'tilewise';
import { decode, encode, forward, headDim, kvHeads, layers, start } from './generate/llama.mjs';

/** What a cache keeps: everything, less of each number, or the newest tokens. */
export const caches = [
  ['dense', {}],
  ['dense, float16', { type: 'float16' }],
  ['window of 64', { recentTokens: 64 }],
  ['window of 256, 4 sinks', { recentTokens: 256, sinkTokens: 4 }],
];

/** A model with a cache of its own: tokens in, logits of the one that comes next out. */
export function reader(options = {}) {
  const cache = new KvCache({ layers, kvHeads, headDim, ...options });
  const attend = (layer, q, k, v) => {
    cache.append(layer, k, v);
    return cache.attentionSync(layer, q).out;
  };
  return { cache, read: (tokens) => forward(tokens, attend, cache.length) };
}

const argmax = (row) => row.reduce((best, value, i) => (value > row[best] ? i : best), 0);

/** The text that a model thinks most likely, character by character. */
export function generate({ read }, beginning, length) {
  const text = [];
  let logits = read([start, ...encode(beginning)]);
  const size = logits.length / (beginning.length + 1);
  while (text.length < length) {
    text.push(argmax(logits.subarray(-size)));
    logits = read(text.slice(-1));
  }
  return decode(text);
}

/** Bits that each character of a text costs, given those before it. */
export function bitsPerCharacter({ read }, text) {
  const tokens = encode(text);
  let bits = 0;
  for (const [i, token] of tokens.entries()) {
    const logits = read([i === 0 ? start : tokens[i - 1]]);
    const most = Math.max(...logits);
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - most), 0);
    bits += (most + Math.log(sum) - logits[token]) / Math.LN2;
  }
  return bits / tokens.length;
}

/** The last part of Moby-Dick, which the model has not read. */
export const heldOut = () => readFileSync(new URL('generate/heldout.txt', import.meta.url), 'latin1');

const row = (...cells) => console.log(cells.map((cell, i) => (i ? cell.padStart(14) : cell.padEnd(26))).join(''));

export async function run(beginning = 'Call me Ishmael. ', characters = 2000) {
  const begun = performance.now();
  const length = 300;
  console.log(`${beginning}${generate(reader(), beginning, length)}\n`);
  const perSecond = (1000 * length) / (performance.now() - begun);
  console.log(`${perSecond.toFixed(0)} characters per second; then ${characters} characters that it has never seen:\n`);
  row('', 'bits/char', 'cache KiB', 'chars/s');
  for (const [name, options] of caches) {
    const model = reader(options);
    const before = performance.now();
    const bits = bitsPerCharacter(model, heldOut().slice(0, characters));
    const seconds = (performance.now() - before) / 1000;
    row(name, bits.toFixed(3), (model.cache.bytes / 1024).toFixed(0), (characters / seconds).toFixed(0));
    model.cache.dispose();
  }
  console.log('\nThe model has learnt from texts of 256 characters: beyond them less is more.');
}
