// Distribution Transformers: the components of a Gaussian mixture attend to each other, then to the data, without positions.
// Reordering the components reorders the result; reordering the data changes nothing.
import { attention } from 'tilewise';
import { attendAll, random, range, runAlone } from './naive.mjs';
import { gather } from './panoptic.mjs';

const [components, data, heads, dim] = [10, 30, 2, 16];

/** Two layers without their projections: self-attention of the components, cross-attention to the data. */
export async function update(mixture, keys, values) {
  const { out } = await attention(mixture, mixture, mixture);
  return attention(out, keys, values);
}

export async function recipe() {
  const mixture = random(1, components, heads, dim);
  const [keys, values] = [random(1, data, heads, dim), random(1, data, heads, dim)];
  const mixed = { data: Float64Array.from(attendAll(mixture, mixture, mixture)), dims: mixture.dims };
  const wanted = attendAll(mixed, keys, values);

  const [turned, shuffled] = [components, data].map((count) => range(count).map((i) => (7 * i + 3) % count));
  const other = await update(gather(mixture, turned), gather(keys, shuffled), gather(values, shuffled));
  const rowOf = (token, head) => wanted.slice((token * heads + head) * dim, (token * heads + head + 1) * dim);
  return {
    'mixture and data': { out: (await update(mixture, keys, values)).out, wanted },
    reordered: { out: other.out, wanted: turned.flatMap((i) => range(heads).flatMap((head) => rowOf(i, head))) },
  };
}

await runAlone(import.meta, recipe);
