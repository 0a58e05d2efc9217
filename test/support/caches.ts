// Small caches for tests that look at arguments and not at numbers.

import { KvCache, type KvCacheOptions } from '../../dist/index.js';
import { tensor } from './tensors.js';

export const shape = { kvHeads: 2, headDim: 8 };

/** A cache with so many tokens of one layer. */
export function filled(tokens: number, options: Partial<KvCacheOptions> = {}): KvCache {
  const cache = new KvCache({ ...shape, ...options });
  cache.append(0, tensor(1, tokens, 2, 8), tensor(1, tokens, 2, 8));
  return cache;
}
