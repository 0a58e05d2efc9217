// MultiHeadAttention of com.microsoft.
// Reader: someone whose model went through onnxruntime's optimizer. Source: docs/ContribOperators.md of microsoft/onnxruntime.

import { dimsOf } from '../../shapes.js';
import { Unswappable } from '../site.js';
import { masked, type Operator, operand, scaleOf } from './operator.js';

export const multiHeadAttention: Operator = {
  kind: 'MultiHeadAttention',
  inputs: [
    ...['query', 'key', 'value', 'bias', 'key_padding_mask', 'attention_bias', 'past_key', 'past_value'],
    ...['past_sequence_length', 'cache_indirection'],
  ],
  outputs: ['output', 'present_key', 'present_value', 'qk'],
  attributes: ['num_heads', 'scale', 'unidirectional', 'mask_filter_value'],
  reads: ['query', 'key', 'value', 'key_padding_mask', 'attention_bias', 'output'],
  read: (view, node, { query, key, value, key_padding_mask: padding, attention_bias: bias }) => {
    if (!key || !value) throw new Unswappable('its keys and values are packed with the queries');
    const [q, k, v] = [query!, key, value].map((name) => operand(view, name, [3]));
    if (padding && dimsOf(view, padding)?.length !== 2) throw new Unswappable('key_padding_mask is not [batch, keys]');
    const heads = node.number('num_heads');
    return {
      swap: {
        ...{ q, k, v, out: { value: node.outputs[0] }, ...scaleOf(node) },
        ...{
          masks: [...masked(padding, 'keyMask', node.number('mask_filter_value') ?? -10000), ...masked(bias, 'bias')],
          causal: node.number('unidirectional') === 1,
        },
      },
      queryHeads: heads,
      kvHeads: heads,
    };
  },
};
