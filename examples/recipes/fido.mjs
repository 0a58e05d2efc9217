// FiDO (arXiv 2212.08153): a decoder that reads many passages at every step. Its cross-attention has one KV head, only every
// few layers have one (layer-sparse cross-attention), and the passages' keys are computed once.
import { KvCache } from 'tilewise';
import { attendAll, random, range, runAlone } from './naive.mjs';

const [passages, length, heads, dim] = [6, 50, 4, 16];
const [layers, everyLayers, steps] = [6, 3, 3];
const hasCrossAttention = (layer) => layer % everyLayers === everyLayers - 1;

/** The encoder's keys and values, one passage after the other, for the layers that read them. */
export function cacheOf(encoded) {
  const cache = new KvCache({ layers: encoded.length, kvHeads: 1, headDim: dim, readOnly: true });
  for (const [i, { k, v }] of encoded.entries()) cache.append(i, k, v);
  return cache;
}

export async function recipe() {
  const readers = range(layers).filter(hasCrossAttention);
  const rows = () => random(1, passages * length, 1, dim);
  const encoded = readers.map(() => ({ k: rows(), v: rows() }));
  const cache = cacheOf(encoded);
  const results = {};
  for (const step of range(steps)) {
    for (const [i, layer] of readers.entries()) {
      const q = random(1, 1, heads, dim); // of the token that is decoded
      const { out } = await cache.attention(i, q);
      results[`step ${step}, layer ${layer}`] = { out, wanted: attendAll(q, encoded[i].k, encoded[i].v) };
    }
  }
  return results;
}

await runAlone(import.meta, recipe);
