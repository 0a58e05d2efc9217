// What a call takes beside its tensors: lengths of rows for cosines, turned queries and keys for `rotary`.
// Reader: someone who asks what `workspace` of explain() counts.

import type { Shape } from '../call/shape.js';
import { TilewiseTypeError } from '../check/errors.js';
import { checkTaken } from '../ops/attention/settings.js';
import { checkSimilarity, readSimilarity } from '../ops/attention/similarity.js';
import { readRotaryOptions } from '../ops/rotary/frequencies.js';
import type { Pattern } from '../patterns/index.js';
import { bytesPer } from '../tensor/views.js';
import type { ExplainShape } from './explanation.js';

export interface Workspace {
  readonly isCosine: boolean;
  readonly isTurned: boolean;
}

/** Reads what takes memory; undefined: nothing. Refuses what attention() refuses with such a pattern. */
export function readWorkspace({ similarity, rotary, pageSize }: ExplainShape, pattern: Pattern): Workspace | undefined {
  const { isCosine } = readSimilarity({ similarity });
  checkSimilarity(isCosine, { pattern });
  const isTurned = rotary !== undefined;
  if (isTurned) {
    readRotaryOptions(rotary);
    checkTaken(pattern.kind, { rotary });
    if (pageSize !== undefined) {
      throw new TilewiseTypeError(
        'ERR_TILEWISE_INVALID_OPTION',
        '`rotary` does not go with `pageSize`: keys on pages are turned when they come, and take no workspace; leave it out',
      );
    }
  }
  return isCosine || isTurned ? { isCosine, isTurned } : undefined;
}

/**
 * Bytes at most. Of lengths a number for each key and KV head; on a GPU, which does not divide queries when it reads them, for each
 * of these too. Turned queries and keys are as many bytes as they were.
 */
export function bytesOfWorkspace({ isCosine, isTurned }: Workspace, sizes: Shape, backend: string): number {
  const [queries, keys] = [sizes.queries * sizes.queryHeads, sizes.keys * sizes.kvHeads];
  const lengths = (keys + (backend === 'cpu' ? 0 : queries)) * Float32Array.BYTES_PER_ELEMENT;
  const turned = sizes.headDim * (queries * bytesPer(sizes.type) + keys * bytesPer(sizes.keyType));
  return sizes.batch * ((isCosine ? lengths : 0) + (isTurned ? turned : 0));
}
