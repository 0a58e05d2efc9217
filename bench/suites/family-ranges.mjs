// Patterns that become ranges of keys: documents, shards of a zigzag ring and power(), each against what computes as much without
// ranges. Reader: someone who asks what ranges cost. family-cases.mjs says what a group is.

import { attentionSync, causal, documents, explain, power } from 'tilewise';
import { randomTensor } from '../timing/inputs.mjs';

const operands = ({ size, heads, headDim, dtype }) =>
  [1, 2, 3, 4].map((seed) => randomTensor(dtype, [1, size, heads, headDim], seed));
const describe = ({ size, heads, headDim, dtype }) => ({
  queryHeads: heads,
  kvHeads: heads,
  headDim,
  dtype,
  tokens: size,
});

function jobOf(kind, name, pattern, shape, options) {
  const [q, k, v, out] = operands(shape);
  const { positions } = options;
  const { tokens, ...rest } = describe(shape);
  const { flops, pairs, idealSpeedup } = explain(pattern, { ...rest, queries: tokens, keys: tokens, positions });
  const { useful, computed } = pairs;
  const call = () => attentionSync(q, k, v, { ...options, out });
  return { kind, name, call, flops, bound: idealSpeedup.average, pairs: { useful, computed } };
}

/** Documents of uneven lengths, 64 tokens to a quarter of all, against the same ones as packed sequences. */
export function documentsGroup({ size, ...setting }) {
  const shape = { ...setting, size, heads: 2 };
  return {
    group: 'documents',
    title: 'documents',
    shape,
    prepare() {
      const lengths = [1 / 4, 1 / 16, 1 / 64, 3 / 16, 1 / 8, 1 / 64, 11 / 32].map((share) => size * share);
      const cuSeqlens = Int32Array.of(0, ...lengths.map((_, i) => lengths.slice(0, i + 1).reduce((a, n) => a + n)));
      const pattern = documents({ lengths, causal: true });
      const packed = { causal: true, cuSeqlensQ: cuSeqlens, cuSeqlensK: cuSeqlens };
      return {
        reference: { ...jobOf('packed', 'packed sequences', pattern, shape, packed), bound: undefined },
        jobs: [jobOf('documents', `${lengths.length} documents`, pattern, shape, { pattern })],
      };
    },
  };
}

/** A shard of a zigzag ring against its own keys: as many queries and keys as dense causal attention, and as many pairs. */
export function shardGroup({ size, ...setting }) {
  const shape = { ...setting, size, heads: 2 };
  return {
    group: 'positions',
    title: 'zigzag shard',
    shape,
    prepare() {
      const half = size / 2;
      const list = Int32Array.from({ length: size }, (_, i) => (i < half ? i : i + 6 * half));
      const positions = { queries: list, keys: list };
      return {
        reference: jobOf('dense', 'dense causal', causal(), shape, { causal: true }),
        jobs: [jobOf('positions', 'shard of 4 in zigzag order', causal(), shape, { causal: true, positions })],
      };
    },
  };
}

/** PowerAttention's defaults against dense causal. */
export function powerGroup({ size, block, ...setting }) {
  const shape = { ...setting, size, heads: 2 };
  return {
    group: 'power',
    title: 'power',
    shape,
    prepare() {
      const pattern = power({ block });
      return {
        reference: { ...jobOf('dense', 'dense causal', causal(), shape, { causal: true }), samples: 3 },
        jobs: [jobOf('power', `power, block ${block}`, pattern, shape, { pattern })],
      };
    },
  };
}
