// The example that generates, against its model in float64: real weights through a KvCache. Reader: someone who changes
// either.

import { describe, expect, it } from 'vitest';
// @ts-expect-error: the examples are plain JavaScript.
import { bitsPerCharacter, forms, generate, heldOut, reader } from '../../examples/generate.mjs';
import { characters, logitsOf, type Sight } from '../references/llama.js';

const tokensOf = (text: string) => [0, ...Array.from(text, (character) => characters.indexOf(character) + 1)];
const argmax = (row: readonly number[]) => row.indexOf(Math.max(...row));

/** Bits per character by the reference. */
function bitsOf(text: string, sight: Sight): number {
  const tokens = tokensOf(text);
  const logits = logitsOf(tokens, sight);
  let bits = 0;
  for (const [i, token] of tokens.slice(1).entries()) {
    const most = Math.max(...logits[i]);
    const sum = logits[i].reduce((total, x) => total + Math.exp(x - most), 0);
    bits += (most + Math.log(sum) - logits[i][token]) / Math.LN2;
  }
  return bits / text.length;
}

/** What a cache may cost besides what it does not see, in bits per character: exact numbers, 16 bits, and codes. */
const boundOf = ({ type, format }: { type?: string; format?: unknown }): number =>
  format ? 0.05 : type === 'float16' ? 0.01 : 1e-4;

describe('a character Llama', () => {
  it('writes the text of the float64 reference', async () => {
    const beginning = 'Call me Ishmael. ';
    const text: string = await generate(reader(), beginning, 60);
    // Each character is the likeliest one after those before it, so the whole is what the reference would have written.
    const logits = logitsOf(tokensOf(beginning + text)).slice(beginning.length, -1);
    expect(text).toBe(logits.map((row) => characters[argmax(row) - 1]).join(''));
  });

  it('gives the reference’s logits, however a prompt is cut', async () => {
    const tokens = tokensOf(heldOut().slice(0, 80));
    const expected = logitsOf(tokens);
    for (const cuts of [[81], [1, 80], [40, 1, 40]]) {
      const { read } = reader();
      let begin = 0;
      for (const count of cuts) {
        const logits: Float32Array = await read(tokens.slice(begin, begin + count));
        const wanted = expected.slice(begin, begin + count).flat();
        let worst = 0;
        for (const [i, x] of wanted.entries()) worst = Math.max(worst, Math.abs(logits[i] - x));
        expect(worst, `${cuts}`).toBeLessThan(1e-4);
        begin += count;
      }
    }
  });

  it('costs in each form what the reference says of it', async () => {
    const text = heldOut().slice(0, 400);
    const expected = new Map<number, number>();
    for (const form of forms) {
      const { name, sees, call, cache = {} } = form;
      if (call?.pattern) continue;
      // What a form sees is what it costs: whether it is a window over everything or a ring, and in whatever numbers.
      const recentTokens = call ? call.window[0] + 1 : (cache.recentTokens ?? Number.POSITIVE_INFINITY);
      const sinkTokens = (call ?? cache).sinkTokens ?? 0;
      expect(recentTokens + sinkTokens, name).toBe(sees);
      if (!expected.has(sees)) expected.set(sees, bitsOf(text, { recentTokens, sinkTokens }));
      const bits: number = await bitsPerCharacter(reader(form), text);
      expect(Math.abs(bits - expected.get(sees)!), name).toBeLessThan(boundOf(cache));
    }
    expect([...expected.keys()]).toEqual([Number.POSITIVE_INFINITY, 256, 64]);
  });

  it('costs with HiP what the reference says of it', async () => {
    const text = heldOut().slice(0, 400);
    const form = forms.find(({ call }: { call?: object }) => call && 'pattern' in call);
    const { sink, window, stages, blockQ, scope } = form.call.pattern;
    expect(sink + window + stages[0].keep).toBe(form.sees);
    const selection = { method: 'staged' as const, sink, window, stages, blockQ, scope };
    const expected = bitsOf(text, { recentTokens: 0, sinkTokens: 0, selection });
    const bits: number = await bitsPerCharacter(reader(form), text);
    expect(Math.abs(bits - expected)).toBeLessThan(1e-4);
  });
});
