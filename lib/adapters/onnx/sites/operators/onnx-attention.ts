// Attention of ONNX itself, opset 23 and later.
// Reader: someone whose exporter writes it. Source: Attention of onnx/onnx.

import { elementTypes } from '../../numbers.js';
import { Unswappable } from '../site.js';
import { cacheOf, masked, type Operator, operand, scaleOf, typeOf } from './operator.js';

/** ONNX's own. Its mask is true and false, or numbers; the output has as many axes as the queries. */
export const onnxAttention: Operator = {
  kind: 'Attention',
  inputs: ['Q', 'K', 'V', 'attn_mask', 'past_key', 'past_value', 'nonpad_kv_seqlen'],
  outputs: ['Y', 'present_key', 'present_value', 'qk_matmul_output'],
  attributes: [
    'is_causal',
    'q_num_heads',
    'kv_num_heads',
    'scale',
    'softcap',
    'softmax_precision',
    'qk_matmul_output_mode',
  ],
  reads: [
    ...['Q', 'K', 'V', 'attn_mask', 'past_key', 'past_value', 'nonpad_kv_seqlen'],
    ...['Y', 'present_key', 'present_value'],
  ],
  read: (view, node, inputs) => {
    const { Q, K, V, attn_mask: mask, nonpad_kv_seqlen: keyLengths } = inputs;
    const [q, k, v] = [Q, K, V].map((value) => operand(view, value!, [3, 4]));
    if (node.number('softmax_precision') === elementTypes.float64) {
      throw new Unswappable('its softmax is taken in float64 (softmax_precision)');
    }
    const type = mask && typeOf(view, mask);
    if (mask && type === undefined) throw new Unswappable('the type of its mask is not known before a run');
    const kept = cacheOf(view, node, inputs);
    if (kept.cache && keyLengths) throw new Unswappable('it has nonpad_kv_seqlen next to a cache');
    const out = { value: node.outputs[0], ...(q.order && { order: q.order }) };
    return {
      swap: {
        ...{ q, k, v, out, masks: masked(mask, type === 'bool' ? 'mask' : 'bias'), ...scaleOf(node) },
        ...{ causal: node.number('is_causal') === 1, softcap: node.number('softcap') ?? 0 },
        ...(keyLengths && { keyLengths }),
        ...kept,
      },
      queryHeads: node.number('q_num_heads'),
      kvHeads: node.number('kv_num_heads'),
    };
  },
};
