// Titans (arXiv 2501.00663), the attention branch: persistent tokens that every query sees, and segments (memory as context)
// or a window (memory as gate). Its neural memory is a network that learns while it reads, and no attention.
import { attention, documents } from 'tilewise';
import { attendAll, random, range, runAlone } from './naive.mjs';

const [tokens, heads, kvHeads, dim] = [100, 4, 2, 16];
const [persistent, segment, window] = [3, 32, 20];

/** Memory as context: causal inside each segment. */
export function memoryAsContext(q, k, v, extra) {
  const lengths = range(Math.ceil(tokens / segment)).map((m) => Math.min(segment, tokens - m * segment));
  const pattern = documents({ lengths, causal: true });
  return attention(q, k, v, { pattern, extraKeys: extra.keys, extraValues: extra.values });
}

/** Memory as gate: the last tokens. */
export function memoryAsGate(q, k, v, extra) {
  const options = { causal: true, window: { left: window } };
  return attention(q, k, v, { ...options, extraKeys: extra.keys, extraValues: extra.values });
}

export async function recipe() {
  const [q, k, v] = [random(1, tokens, heads, dim), random(1, tokens, kvHeads, dim), random(1, tokens, kvHeads, dim)];
  const extra = { keys: random(1, persistent, kvHeads, dim), values: random(1, persistent, kvHeads, dim) };
  const inSegment = (i, j) => j <= i && Math.floor(i / segment) === Math.floor(j / segment);
  const inWindow = (i, j) => j <= i && i - j <= window;
  return {
    'memory as context': {
      out: (await memoryAsContext(q, k, v, extra)).out,
      wanted: attendAll(q, k, v, { sees: inSegment, extra }),
    },
    'memory as gate': {
      out: (await memoryAsGate(q, k, v, extra)).out,
      wanted: attendAll(q, k, v, { sees: inWindow, extra }),
    },
  };
}

await runAlone(import.meta, recipe);
