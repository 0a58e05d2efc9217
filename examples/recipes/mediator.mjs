// Mediator attention (tried on fast-DiT): a few tokens between queries and keys. They gather from all keys, and queries read
// what they gathered: work grows with tokens * mediators instead of tokens * tokens.
import { attention } from 'tilewise';
import { attendAll, random, runAlone } from './naive.mjs';

const [tokens, mediators, heads, dim] = [120, 8, 2, 16];

export async function mediated(q, mediator, k, v) {
  const { out: gathered } = await attention(mediator, k, v);
  return attention(q, mediator, gathered);
}

export async function recipe() {
  const [q, k, v] = [0, 1, 2].map(() => random(1, tokens, heads, dim));
  const mediator = random(1, mediators, heads, dim);
  const gathered = { data: Float64Array.from(attendAll(mediator, k, v)), dims: mediator.dims };
  return {
    mediator: { out: (await mediated(q, mediator, k, v)).out, wanted: attendAll(q, mediator, gathered) },
  };
}

await runAlone(import.meta, recipe);
