// Gated associative memory (arXiv 2509.00605): a learned bank as keys and values of a softmax without a scale, a causal
// convolution for what is near, and a gate that mixes both. No token reads another one but through the convolution.
import { attention } from 'tilewise';
import { attend, random, range, row, runAlone } from './naive.mjs';

const [tokens, slots, width, kernel] = [40, 64, 96, 3];
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** What each token recalls from the bank, [1, tokens, 1, width]. */
export function recall(x, bank) {
  return attention(x, bank, bank, { scale: 1 });
}

/** One number per token and channel: the layer's convolution and gates. */
function mix(x, weights, gates, recalled) {
  return range(tokens).flatMap((i) =>
    range(width).map((d) => {
      const near = range(kernel).reduce((sum, t) => sum + (i >= t ? weights[t * width + d] * row(x, i - t)[d] : 0), 0);
      const gate = sigmoid(gates[d] * row(x, i)[d]);
      return gate * near + (1 - gate) * recalled(i)[d];
    }),
  );
}

export async function recipe() {
  const [x, bank] = [random(1, tokens, 1, width), random(1, slots, 1, width)];
  const [weights, gates] = [random(kernel, width).data, random(width).data];
  const { out: recalled } = await recall(x, bank);
  const entries = range(slots).map((slot) => row(bank, slot));
  return {
    'gated memory': {
      out: { data: mix(x, weights, gates, (i) => row(recalled, i)) },
      wanted: mix(x, weights, gates, (i) => attend(row(x, i), entries, entries, 1)),
    },
  };
}

await runAlone(import.meta, recipe);
