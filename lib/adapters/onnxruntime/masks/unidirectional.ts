// Causal order of com.microsoft's MultiHeadAttention with fewer or more queries than keys: the last query sees every key.
// Reader: someone who compares with ONNX's is_causal, which hides keys from it. Source: onnxruntime-node 1.30 on processors; with a
// single query it hides nothing, so that decoding against given keys works.

import type { CallSizes } from './key-masks.js';
import type { MaskOfRun } from './masks.js';

/** The lowest number of float32, which onnxruntime adds to what is hidden. */
const lowest = -(2 ** 128 - 2 ** 104);

/** That order as a mask. */
export function unidirectional({ queries, keys }: CallSizes): MaskOfRun {
  const data = Uint8Array.from({ length: queries * keys }, (_, i) => {
    const query = Math.floor(i / keys);
    return Number(i % keys <= query || query === queries - 1);
  });
  const mask = { value: 'unidirectional', as: 'mask', isInverted: false, hidden: lowest } as const;
  return [mask, { type: 'bool', data, dims: [1, 1, queries, keys] }];
}
