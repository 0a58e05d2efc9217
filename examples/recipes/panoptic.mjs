// PanopticSplatting, local cross-attention: the queries of instances attend to the Gaussians inside the camera's view alone.
// Their rows are gathered once per view; what is outside is neither copied nor read.
import { attention, Tensor } from 'tilewise';
import { attendAll, random, range, runAlone } from './naive.mjs';

const [instances, gaussians, heads, dim] = [12, 300, 2, 16];

/** The rows of the tokens that are named, of a tensor [1, tokens, heads, dim]. */
export function gather({ data, dims: [batch, , heads, dim] }, tokens) {
  const size = heads * dim;
  const rows = new Float32Array(tokens.length * size);
  for (const [i, token] of tokens.entries()) rows.set(data.subarray(token * size, (token + 1) * size), i * size);
  return new Tensor('float32', rows, [batch, tokens.length, heads, dim]);
}

export function localCrossAttention(q, k, v, inView) {
  return attention(q, gather(k, inView), gather(v, inView));
}

export async function recipe() {
  const q = random(1, instances, heads, dim);
  const [k, v] = [random(1, gaussians, heads, dim), random(1, gaussians, heads, dim)];
  const places = random(gaussians, 3).data; // a view of 90 degrees along z
  const isInView = (j) => {
    const [x, y, z] = places.subarray(3 * j, 3 * j + 3);
    return z > 0 && Math.abs(x) < z && Math.abs(y) < z;
  };
  const { out } = await localCrossAttention(q, k, v, range(gaussians).filter(isInView));
  return { 'keys in view': { out, wanted: attendAll(q, k, v, { sees: (_, j) => isInView(j) }) } };
}

await runAlone(import.meta, recipe);
