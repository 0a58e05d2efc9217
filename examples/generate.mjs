// Generating text: `npm run demo -- --chat [beginning]` lets a small Llama, which has read Moby-Dick, go on from a beginning,
// with all of the text in a KvCache and with less; --all reads all of the held-out text. Reader: someone who generates. The
// model is in generate/llama.mjs.
import { readFileSync } from 'node:fs';
import { hierarchical, KvCache } from 'tilewise';
import { likeliest } from './generate/choose.mjs';
import { decode, encode, forward, headDim, kvHeads, layers, logitsPerToken, start } from './generate/llama.mjs';

const hip = { sink: 4, window: 124, stages: [{ chunk: 8, keep: 128, strideQ: 1 }] };

const window = { window: [251, 0], sinkTokens: 4 };

/** Formats of a cache whose newest 64 tokens at most are exact; the last two have codes for every token. */
const formats = [
  ['int8', { keyBits: 8, residual: 64 }],
  ['int4', { keyBits: 4, residual: 64 }],
  ['int2', { keyBits: 2, residual: 64 }],
  [
    'tiers of 8, 4, 2',
    { residual: 32, tiers: [64, 64, Number.POSITIVE_INFINITY].map((tokens, i) => ({ bits: 8 >> i, tokens })) },
  ],
  ['int8-token', 'int8-token'],
  ['duo4', 'duo4'],
];

/** What a cache keeps (`cache`), and what of it a query sees (`call`), if that is less. */
export const forms = [
  { name: 'dense', sees: Number.POSITIVE_INFINITY },
  { name: 'dense, float16', sees: Number.POSITIVE_INFINITY, cache: { type: 'float16' } },
  { name: 'window of 252 and 4 sinks', sees: 256, call: window },
  ...formats.map(([name, format]) => ({
    name: `${name}, window`,
    sees: 256,
    cache: { type: 'float16', format },
    call: window,
  })),
  { name: 'ring of 252 and 4 sinks', sees: 256, cache: { recentTokens: 252, sinkTokens: 4 } },
  { name: 'HiP: 4 + 124 and the best 128', sees: 256, call: { pattern: hierarchical(hip) } },
  { name: 'ring of 64', sees: 64, cache: { recentTokens: 64 } },
];

/** A model with a cache of its own: tokens in, logits of the ones that come next out. */
export function reader({ cache: options, call } = {}) {
  const cache = new KvCache({ layers, kvHeads, headDim, ...options });
  const asBatch = (tensor) => tensor.reshape([1, ...tensor.dims]);
  const attend = (layer, q, k, v) => {
    cache.append(layer, asBatch(k), asBatch(v));
    return cache.attentionSync(layer, asBatch(q), call).out;
  };
  const read = (tokens) => {
    const first = cache.length;
    return forward(
      tokens,
      tokens.map((_, i) => first + i),
      attend,
    );
  };
  return { cache, read };
}

/** The text that a model thinks most likely, character by character. */
export async function generate({ read }, beginning, length) {
  const text = [];
  let logits = await read([start, ...encode(beginning)]);
  while (text.length < length) {
    text.push(likeliest(logits.subarray(-logitsPerToken)));
    logits = await read(text.slice(-1));
  }
  return decode(text);
}

/** Bits that each character of a text costs, given those before it. */
export async function bitsPerCharacter({ read }, text) {
  const tokens = encode(text);
  let bits = 0;
  for (const [i, token] of tokens.entries()) {
    const logits = await read([i === 0 ? start : tokens[i - 1]]);
    const most = Math.max(...logits);
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - most), 0);
    bits += (most + Math.log(sum) - logits[token]) / Math.LN2;
  }
  return bits / tokens.length;
}

/** The last part of Moby-Dick, which the model has not read. */
export const heldOut = () => readFileSync(new URL('generate/heldout.txt', import.meta.url), 'latin1');

const row = (...cells) => console.log(cells.map((cell, i) => (i ? cell.padStart(12) : cell.padEnd(31))).join(''));

/** What each form costs and forgets on a text that the model has never seen. */
async function compare(text) {
  row('', 'bits/char', 'tokens seen', 'cache KiB', 'chars/s');
  for (const form of forms) {
    const model = reader(form);
    const begun = performance.now();
    const bits = await bitsPerCharacter(model, text);
    const seconds = (performance.now() - begun) / 1000;
    const { length, bytes } = model.cache;
    const cells = [
      bits.toFixed(3),
      Math.min(form.sees, length),
      Math.round(bytes / 1024),
      Math.round(length / seconds),
    ];
    row(form.name, ...cells.map(String));
    model.cache.dispose();
  }
}

export async function run(beginning = 'Call me Ishmael. ', { all = false } = {}) {
  const begun = performance.now();
  const length = 300;
  console.log(`${beginning}${await generate(reader(), beginning, length)}\n`);
  const perSecond = (1000 * length) / (performance.now() - begun);
  const text = all ? heldOut() : heldOut().slice(0, 2000);
  console.log(
    `${perSecond.toFixed(0)} characters per second; then ${text.length} characters that it has never seen:\n`,
  );
  await compare(text);
  console.log(`
The model has learnt from texts of 256 characters: beyond them less is more. The window leaves old tokens out, the ring lets
go of their memory, too; HiP looks for the old ones that matter.`);
}
