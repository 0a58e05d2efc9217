// MultiHeadAttention of com.microsoft.
// Reader: someone whose model went through onnxruntime's optimizer. Source: docs/ContribOperators.md of microsoft/onnxruntime; that
// keys of four axes have no bias is onnxruntime's own doing.

import type { GraphView } from '../../graph-view.js';
import type { Message } from '../../message.js';
import type { Node } from '../../node.js';
import { dimsOf } from '../../shapes.js';
import { type Operand, Unswappable } from '../site.js';
import { cacheOf, masked, type Operator, operand, scaleOf } from './operator.js';
import { addBias } from './projection.js';

export const multiHeadAttention: Operator = {
  kind: 'MultiHeadAttention',
  inputs: [
    ...['query', 'key', 'value', 'bias', 'key_padding_mask', 'attention_bias', 'past_key', 'past_value'],
    ...['past_sequence_length', 'cache_indirection'],
  ],
  outputs: ['output', 'present_key', 'present_value', 'qk'],
  attributes: ['num_heads', 'scale', 'unidirectional', 'mask_filter_value'],
  reads: [
    ...['query', 'key', 'value', 'bias', 'key_padding_mask', 'attention_bias', 'past_key', 'past_value'],
    ...['output', 'present_key', 'present_value'],
  ],
  read: (view, node, inputs) => {
    const { query, key, value, bias, key_padding_mask: padding, attention_bias: added } = inputs;
    const heads = node.number('num_heads');
    const plain = operandsOf(view, query!, key, value);
    const { before, operands } = bias ? withBias(view, node, plain, bias) : { before: [], operands: plain };
    const [q, k, v] = operands;
    const kept = cacheOf(view, node, inputs);
    if (kept.cache && (plain[1].order ?? plain[1].part))
      throw new Unswappable('it has a cache, and its keys are no [batch, tokens, width]');
    const dimOf = ({ value: name, order, part }: Operand) => {
      const last = dimsOf(view, name)?.at(-1);
      return (order ?? part) ? last : heads && last && last / heads;
    };
    const [headDim, valueDim] = [dimOf(plain[0]), dimOf(plain[2])];
    return {
      swap: {
        ...{ before, q, k, v, out: { value: node.outputs[0] }, ...scaleOf(node) },
        ...{
          masks: [...masked(padding, 'keyMask', node.number('mask_filter_value') ?? -10000), ...masked(added, 'bias')],
          causal: node.number('unidirectional') === 1,
        },
        ...kept,
      },
      ...{ queryHeads: heads, kvHeads: heads, ...(headDim && { headDim }), ...(valueDim && { valueDim }) },
    };
  },
};

/** Queries, keys and values: apart, or [batch, tokens, heads, 2 or 3, dim] in one. */
function operandsOf(view: GraphView, query: string, key: string | undefined, value: string | undefined): Operand[] {
  if (!key) return packed(view, query, 3);
  const q = operand(view, query, [3]);
  if (!value) return [q, ...packed(view, key, 2)];
  return [q, ...[key, value].map((name) => operand(view, name, [3, 4]))];
}

/** The parts of a value that is `count` operands in one. */
function packed(view: GraphView, value: string, count: number): Operand[] {
  const dims = dimsOf(view, value);
  if (dims?.length !== 5 || dims[3] !== count) {
    throw new Unswappable(`'${value}' is not [batch, tokens, heads, ${count}, dim]`);
  }
  const part = (i: number) => ({ axis: 3, begin: i, end: i + 1 });
  return Array.from({ length: count }, (_, i) => ({ value, part: part(i), order: [0, 2, 1, 3] }));
}

/** Operands with the bias of each added. */
function withBias(view: GraphView, { outputs: [output] }: Node, operands: readonly Operand[], bias: string) {
  const [q, k] = operands;
  if (operands.some(({ part }) => part)) throw new Unswappable('it has bias, and its operands are packed');
  // Keys of four axes come from elsewhere with their bias in them.
  const biased = k.order ? [q] : operands;
  const before: Message[] = [];
  let begin = 0;
  const sums = biased.map(({ value }, i) => {
    const length = dimsOf(view, value)?.[2];
    if (!length) throw new Unswappable('its heads are dynamic: not known before a run');
    const made = addBias(view, output, 'qkv'[i], value, bias, { begin, length });
    begin += length;
    before.push(...made.nodes);
    return { value: made.value };
  });
  return { before, operands: [...sums, ...operands.slice(sums.length)] };
}
