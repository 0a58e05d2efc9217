// BASED (arXiv 2402.18668): two mixers in turn. Some layers are linear attention with a Taylor map of few features, whose state
// remembers everything roughly; others are softmax over a window of 64 tokens, which sees what is near exactly.
import { attention, LinearState, linearAttentionStep, Tensor } from 'tilewise';
import { attendAll, dot, random, range, runAlone, weighAll } from './naive.mjs';

const [tokens, steps, heads, features, dim, window] = [90, 6, 4, 16, 32, 64];
const options = { featureMap: 'taylor2', normalize: 'sum' };

/** The Taylor layer's mixer: a prompt, then a token at a time from a state that does not grow. */
export async function taylorMixer(q, k, v) {
  const state = new LinearState({ kvHeads: heads, headDim: features, valueDim: dim, ...options });
  const prompt = tokens - steps;
  const rows = [await state.attention(q.slice(1, 0, prompt), k.slice(1, 0, prompt), v.slice(1, 0, prompt))];
  for (let t = prompt; t < tokens; ++t) {
    rows.push(await linearAttentionStep(q.slice(1, t, t + 1), k.slice(1, t, t + 1), v.slice(1, t, t + 1), state));
  }
  return new Tensor('float32', Float32Array.from(rows.flatMap(({ out }) => [...out.data])), [1, tokens, heads, dim]);
}

/** The window layer's mixer. */
export const windowMixer = (q, k, v) => attention(q, k, v, { recentTokens: window });

/** BASED's weight, the beginning of the series of e^s. */
const taylor = (query, key) => {
  const s = dot(query, key) / Math.sqrt(features);
  return 1 + s + s ** 2 / 2;
};

export async function recipe() {
  const [q, k] = range(2).map(() => random(1, tokens, heads, features));
  const [wq, wk, v] = range(3).map(() => random(1, tokens, heads, dim));
  return {
    taylor: { out: await taylorMixer(q, k, v), wanted: weighAll(q, k, v, taylor, { normalize: true }) },
    window: {
      out: (await windowMixer(wq, wk, v)).out,
      wanted: attendAll(wq, wk, v, { sees: (i, j) => j <= i && i - j < window }),
    },
  };
}

await runAlone(import.meta, recipe);
