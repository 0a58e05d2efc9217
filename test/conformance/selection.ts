// What the library selects, as the references hold it: lists of first keys by batch entry, list and block of queries.
// Reader: someone who compares selections, or judges attention over one.

import { type HipLists, hipSelectSync, type TensorLike } from '../../dist/index.js';
import type { Selected, SelectionOptions } from '../references/hierarchical.js';
import { range } from '../references/operand.js';
import type { Backend } from './backends.js';
import { type Built, callOf } from './case.js';

/** [batch, lists, queryBlocks, entries] and how many entries count, as nested lists. */
export function nested({ indices, counts }: HipLists): Selected {
  const [batch, lists, blocks, most] = indices.dims;
  return range(0, batch).map((b) =>
    range(0, lists).map((list) =>
      range(0, blocks).map((m) => {
        const row = (b * lists + list) * blocks + m;
        return Array.from(indices.data.subarray(row * most, row * most + counts.data[row]));
      }),
    ),
  );
}

/** What a backend selects for queries and keys in a layout. */
export function selectSync(
  q: TensorLike,
  k: TensorLike,
  options: SelectionOptions,
  backend: Backend,
  more: object = {},
) {
  const { blocks, stages } = hipSelectSync(q, k, { ...options, ...more, device: backend.device });
  return { selected: nested(blocks), stages: stages.map(nested) };
}

/** The lists of a built case's hierarchical pattern. */
export function selectedBy(built: Built, backend: Backend): Selected {
  const { pattern, keyLengths } = built.problem;
  if (pattern?.kind !== 'hierarchical') throw new Error('only hierarchical() selects');
  const { query, key, options } = callOf(built);
  const more = {
    layout: built.layout,
    ...(keyLengths && { keyLengths: Int32Array.from(keyLengths) }),
    ...(options.pages && { pages: options.pages }),
    ...(options.pairing && { pairing: options.pairing }),
  };
  return selectSync(query, key, pattern.options, backend, more).selected;
}
