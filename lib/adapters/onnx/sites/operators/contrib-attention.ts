// Attention of com.microsoft: the projections of queries, keys and values are inside the operator.
// Reader: someone whose model went through onnxruntime's optimizer. Source: docs/ContribOperators.md of microsoft/onnxruntime.

import type { GraphView } from '../../graph-view.js';
import type { Node } from '../../node.js';
import { dimsOf } from '../../shapes.js';
import { Unswappable } from '../site.js';
import { masked, type Operator, scaleOf } from './operator.js';
import { project } from './projection.js';

export const contribAttention: Operator = {
  kind: 'com.microsoft.Attention',
  inputs: ['input', 'weights', 'bias', 'mask_index', 'past', 'attention_bias', 'past_sequence_length'],
  outputs: ['output', 'present'],
  attributes: [
    ...['num_heads', 'scale', 'unidirectional', 'mask_filter_value', 'qkv_hidden_sizes'],
    ...['do_rotary', 'rotary_embedding_dim', 'past_present_share_buffer'],
  ],
  reads: ['input', 'weights', 'bias', 'mask_index', 'attention_bias', 'output'],
  read: (view, node, { input, weights, bias, mask_index: mask, attention_bias: added }) => {
    if (node.number('do_rotary') === 1)
      throw new Unswappable('its rotary embedding is inside the operator (do_rotary)');
    const heads = node.number('num_heads');
    const widths = widthsOf(view, node, weights!, heads);
    const { value, nodes } = project(view, node.outputs[0], input!, weights!, bias);
    const operand = (i: number) => {
      const begin = widths.slice(0, i).reduce((sum, width) => sum + width, 0);
      return { value, part: { axis: 2, begin, end: begin + widths[i] } };
    };
    return {
      swap: {
        ...{ before: nodes, q: operand(0), k: operand(1), v: operand(2), out: { value: node.outputs[0] } },
        ...{ causal: node.number('unidirectional') === 1, ...scaleOf(node) },
        masks: [...masked(mask, 'maskIndex', node.number('mask_filter_value') ?? -10000), ...masked(added, 'bias')],
      },
      ...{ queryHeads: heads, kvHeads: heads, headDim: widths[0] / heads!, valueDim: widths[2] / heads! },
    };
  },
};

/** Columns of the weights that are queries, keys and values. */
function widthsOf(view: GraphView, node: Node, weights: string, heads: number | undefined): readonly number[] {
  const width = dimsOf(view, weights)?.[1];
  const widths = node.integers('qkv_hidden_sizes') ?? (width ? Array<number>(3).fill(width / 3) : []);
  if (!heads || widths.length !== 3) throw new Unswappable('its heads are dynamic: not known before a run');
  if (widths.some((columns) => columns % heads !== 0) || widths[0] !== widths[1]) {
    throw new Unswappable(`its weights do not split into ${heads} heads of queries, keys and values`);
  }
  return widths;
}
