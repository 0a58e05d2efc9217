// TransNormerLLM's attention block (arXiv 2307.14995): queries and keys through silu and LRPE, a rotation whose angles are learned
// per head; linear attention with the decay of the head and layer; the output normed and gated. Projections are the model's.
import { lightningDecay, linearAttention, rotate, Tensor } from 'tilewise';
import { dot, random, range, row, runAlone, weighAll } from './naive.mjs';

const [tokens, heads, dim] = [80, 4, 16];
const decay = lightningDecay({ heads, layer: 3, layers: 24, variant: 'opennlplab' });
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const mapped = (x, f) => new Tensor('float32', x.data.map(f), [...x.dims]);
const silu = (x) => mapped(x, (value) => value * sigmoid(value));

/** Rows of `width` numbers, divided by the root of the mean of their squares: SRMSNorm has no weights. */
const normed = (numbers, width) =>
  Array.from(numbers, (x, i) => {
    const rest = numbers.slice(i - (i % width), i - (i % width) + width);
    return x / Math.sqrt(dot(rest, rest) / width);
  });
const gated = (numbers, gate) => normed(numbers, heads * dim).map((x, i) => x * sigmoid(gate.data[i]));

/** @param frequencies [heads, dim / 2], LRPE's learned angles per position */
export async function block(q, k, v, gate, frequencies) {
  const turned = await Promise.all([q, k].map((x) => rotate(silu(x), { frequencies })));
  const { out } = await linearAttention(...turned, v, { decay });
  return { data: gated(Array.from(out.data), gate) };
}

/** Silu and rotation of a tensor in float64. */
function turnedOf(x, frequencies) {
  const data = range(tokens).flatMap((t) =>
    range(heads).flatMap((h) => {
      const at = Array.from(row(x, t, h), (value) => value * sigmoid(value));
      return range(dim).map((d) => {
        const [pair, half] = [d % (dim / 2), dim / 2];
        const angle = t * frequencies.data[h * half + pair];
        const [a, b] = [at[pair], at[pair + half]];
        return d < half ? a * Math.cos(angle) - b * Math.sin(angle) : a * Math.sin(angle) + b * Math.cos(angle);
      });
    }),
  );
  return { data: Float64Array.from(data), dims: x.dims };
}

export async function recipe() {
  const [q, k, v, gate] = range(4).map(() => random(1, tokens, heads, dim));
  const frequencies = random(heads, dim / 2);
  const weight = (query, key, head, distance) => Math.exp(decay[head] * distance) * dot(query, key);
  const attended = weighAll(turnedOf(q, frequencies), turnedOf(k, frequencies), v, weight);
  return { block: { out: await block(q, k, v, gate, frequencies), wanted: gated(attended, gate) } };
}

await runAlone(import.meta, recipe);
