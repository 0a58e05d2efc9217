// The example that generates, against its model in float64: real weights through a KvCache. Reader: someone who changes
// either.

import { describe, expect, it } from 'vitest';
// @ts-expect-error: the examples are plain JavaScript.
import { bitsPerCharacter, generate, heldOut, reader } from '../../examples/generate.mjs';
import { characters, logitsOf } from '../references/llama.js';

const tokensOf = (text: string) => [0, ...Array.from(text, (character) => characters.indexOf(character) + 1)];
const argmax = (row: readonly number[]) => row.indexOf(Math.max(...row));

describe('a character Llama', () => {
  it('writes the text of the float64 reference', () => {
    const beginning = 'Call me Ishmael. ';
    const text: string = generate(reader(), beginning, 60);
    // Each character is the likeliest one after those before it, so the whole is what the reference would have written.
    const logits = logitsOf(tokensOf(beginning + text)).slice(beginning.length, -1);
    expect(text).toBe(logits.map((row) => characters[argmax(row) - 1]).join(''));
  });

  it('gives the reference’s logits, however a prompt is cut', () => {
    const tokens = tokensOf(heldOut().slice(0, 80));
    const expected = logitsOf(tokens);
    for (const cuts of [[81], [1, 80], [40, 1, 40]]) {
      const { read } = reader();
      let begin = 0;
      for (const count of cuts) {
        const logits: Float32Array = read(tokens.slice(begin, begin + count));
        const wanted = expected.slice(begin, begin + count).flat();
        let worst = 0;
        for (const [i, x] of wanted.entries()) worst = Math.max(worst, Math.abs(logits[i] - x));
        expect(worst, `${cuts}`).toBeLessThan(1e-4);
        begin += count;
      }
    }
  });

  it('costs what the reference says, float16 and a window little more', () => {
    const text = heldOut().slice(0, 600);
    const tokens = tokensOf(text);
    const logits = logitsOf(tokens);
    let bits = 0;
    for (const [i, token] of tokens.slice(1).entries()) {
      const most = Math.max(...logits[i]);
      const sum = logits[i].reduce((total, x) => total + Math.exp(x - most), 0);
      bits += (most + Math.log(sum) - logits[i][token]) / Math.LN2;
    }
    const dense = bitsPerCharacter(reader(), text);
    expect(dense).toBeCloseTo(bits / text.length, 4);
    const half = bitsPerCharacter(reader({ type: 'float16' }), text);
    expect(Math.abs(half - dense)).toBeLessThan(0.01);
    expect(bitsPerCharacter(reader({ recentTokens: 64 }), text)).toBeLessThan(dense + 0.05);
  });
});
