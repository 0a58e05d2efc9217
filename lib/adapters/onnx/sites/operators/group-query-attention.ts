// GroupQueryAttention: causal attention of fewer heads of keys than of queries, with a cache and rotary embedding inside.
// Reader: someone whose decoder stays with onnxruntime. Source: docs/ContribOperators.md of microsoft/onnxruntime; that
// local_window_size counts a query's own key, and smooth_softmax is a sink of 0, is as onnxruntime-node 1.30 does it.

import type { GraphView } from '../../graph-view.js';
import { dimsOf } from '../../shapes.js';
import { type Operand, type Swap, Unswappable } from '../site.js';
import { cacheOf, masked, type Operator, operand, scaleOf } from './operator.js';

export const groupQueryAttention: Operator = {
  kind: 'GroupQueryAttention',
  inputs: [
    ...['query', 'key', 'value', 'past_key', 'past_value', 'seqlens_k', 'total_sequence_length', 'cos_cache'],
    ...['sin_cache', 'position_ids', 'attention_bias', 'head_sink', 'k_scale', 'v_scale'],
  ],
  outputs: ['output', 'present_key', 'present_value', 'output_qk'],
  attributes: [
    ...['num_heads', 'kv_num_heads', 'scale', 'softcap', 'do_rotary', 'rotary_interleaved', 'local_window_size'],
    ...['smooth_softmax', 'qk_output'],
  ],
  reads: [
    ...['query', 'key', 'value', 'past_key', 'past_value', 'seqlens_k', 'total_sequence_length', 'cos_cache'],
    ...['sin_cache', 'position_ids', 'attention_bias', 'head_sink', 'output', 'present_key', 'present_value'],
  ],
  read: (view, node, inputs) => {
    const { seqlens_k: lastPlaces, total_sequence_length: total } = inputs;
    const [queryHeads, kvHeads] = [node.number('num_heads') ?? 0, node.number('kv_num_heads') ?? 0];
    if (!lastPlaces || !total) throw new Unswappable('it has no seqlens_k or total_sequence_length');
    const none = { present: { k: { value: '' }, v: { value: '' } } };
    const window = node.number('local_window_size') ?? -1;
    const { headDim, ...operands } = operandsOf(view, inputs, queryHeads, kvHeads);
    const swap: Omit<Swap, 'softcap'> = {
      ...operands,
      ...{ out: { value: node.outputs[0] }, masks: masked(inputs.attention_bias, 'bias'), causal: true },
      ...scaleOf(node),
      ...(window > 0 && { window }),
      ...sinksOf(inputs.head_sink, node.number('smooth_softmax') === 1),
      cache: {
        ...(cacheOf(view, node, inputs).cache ?? none),
        counts: { lastPlaces, total },
        ...(node.number('do_rotary') === 1 && { rotary: rotaryOf(inputs, node.number('rotary_interleaved') === 1) }),
      },
    };
    const dims = headDim && { headDim, valueDim: headDim };
    return { swap: { ...swap, softcap: node.number('softcap') ?? 0 }, queryHeads, kvHeads, ...dims };
  },
};

type Inputs = Parameters<Operator['read']>[2];

/** Queries, keys and values, which may be in one value: heads of queries, then of keys, then of values. */
function operandsOf(
  view: GraphView,
  { query, key, value }: Inputs,
  queryHeads: number,
  kvHeads: number,
): Pick<Swap, 'q' | 'k' | 'v'> & { readonly headDim?: number } {
  const read = (name: string) => operand(view, name, [3]);
  if (key && value) return { q: read(query!), k: read(key), v: read(value) };
  if (key || value) throw new Unswappable('it has one of key and value');
  const width = dimsOf(view, query!)?.[2];
  if (!width) throw new Unswappable('its heads are dynamic: not known before a run');
  const headDim = width / (queryHeads + 2 * kvHeads);
  const part = (first: number, heads: number): Operand => ({
    ...read(query!),
    part: { axis: 2, begin: first * headDim, end: (first + heads) * headDim },
  });
  return { q: part(0, queryHeads), k: part(queryHeads, kvHeads), v: part(queryHeads + kvHeads, kvHeads), headDim };
}

/** Logits without keys. A smooth softmax is one of 0, unless the model brings others. */
function sinksOf(value: string | undefined, isSmooth: boolean): Pick<Swap, 'sinks'> {
  if (value) return { sinks: { value } };
  return isSmooth ? { sinks: 'zero' } : {};
}

function rotaryOf({ cos_cache: cos, sin_cache: sin, position_ids: positions }: Inputs, isInterleaved: boolean) {
  if (!cos || !sin) throw new Unswappable('it has do_rotary and no cos_cache or sin_cache');
  return { cos, sin, isInterleaved, ...(positions && { positions }) };
}
