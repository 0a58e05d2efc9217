// A worker of the pool: computes one batch entry where it is, and says which thread did so. Reader: see pool.mjs.

import { threadId } from 'node:worker_threads';
import { attention, Tensor } from 'tilewise';

export default async function attend({ q, k, v, out, entry, options }) {
  const [queries, keys, values, target] = [q, k, v, out].map(({ type, data, dims }) =>
    new Tensor(type, data, dims).slice(0, entry, entry + 1),
  );
  await attention(queries, keys, values, { ...options, out: target });
  return threadId;
}
