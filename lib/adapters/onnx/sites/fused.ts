// Attention as one operator: which operators there are, and what their sites have in common.
// Reader: someone who meets a node that stays with onnxruntime. Each operator has a file in operators/, with what it can say.

import type { GraphView } from '../graph-view.js';
import type { Node } from '../node.js';
import { dimsOf } from '../shapes.js';
import { checkRanks, kindOfMask } from './mask-kinds.js';
import { contribAttention } from './operators/contrib-attention.js';
import { groupQueryAttention } from './operators/group-query-attention.js';
import { multiHeadAttention } from './operators/multi-head-attention.js';
import { onnxAttention } from './operators/onnx-attention.js';
import type { Operator } from './operators/operator.js';
import { type Site, type Swap, Unswappable } from './site.js';

const operators: Readonly<Record<string, Operator>> = {
  '.Attention': onnxAttention,
  'com.microsoft.Attention': contribAttention,
  'com.microsoft.MultiHeadAttention': multiHeadAttention,
  'com.microsoft.GroupQueryAttention': groupQueryAttention,
};

/** The site of an operator that is attention by its name; undefined for every other node. */
export function matchOperator(view: GraphView, node: Node): Site | undefined {
  const full = `${node.domain}.${node.op}`;
  if (!/Attention$/.test(node.op)) return undefined;
  const known = Object.hasOwn(operators, full) ? operators[full] : undefined;
  const heads = node.number('num_heads') ?? node.number('q_num_heads');
  const site = {
    ...{ node: node.name || node.outputs[0], kind: known?.kind ?? 'other', queryHeads: heads, headDim: undefined },
    ...{ kvHeads: node.number('kv_num_heads') ?? heads, valueDim: undefined, mask: 'none' as const },
  };
  if (!known) {
    const isTheirs = node.domain === '' || node.domain === 'com.microsoft';
    return { ...site, reason: isTheirs ? `${full} is not swapped` : `the domain '${node.domain}' is unknown here` };
  }
  try {
    return siteOf(view, node, known);
  } catch (error) {
    if (error instanceof Unswappable) return { ...site, reason: error.message };
    throw error;
  }
}

function siteOf(view: GraphView, node: Node, { kind, inputs, outputs, attributes, reads, read }: Operator): Site {
  const given = Object.fromEntries(node.inputs.map((value, i) => [inputs[i] ?? `input ${i}`, value || undefined]));
  const used = node.outputs.flatMap((value, i) =>
    value && (view.isOutput(value) || view.consumers(value).length > 0) ? [outputs[i] ?? `output ${i}`] : [],
  );
  const unread = [...Object.keys(given).filter((name) => given[name] !== undefined), ...used].filter(
    (name) => !reads.includes(name),
  );
  const unknown = node.attributeNames.filter((name) => !attributes.includes(name));
  if (unread.length > 0 || unknown.length > 0) throw new Unswappable(`it has ${[...unread, ...unknown].join(', ')}`);
  const said = read(view, node, given);
  const { queryHeads: byAttribute, kvHeads: kvByAttribute } = said;
  const swap: Swap = { softcap: 0, ...said.swap };
  const [q, k, v] = [swap.q, swap.k, swap.v].map(({ value, order, part }) => ({
    dims: dimsOf(view, value),
    isSplit: order !== undefined && part === undefined,
  }));
  const queryHeads = q.isSplit ? q.dims?.[1] : byAttribute;
  const kvHeads = k.isSplit ? k.dims?.[1] : (kvByAttribute ?? byAttribute);
  const width = ({ dims, isSplit }: typeof q, heads: number | undefined) => {
    const last = dims?.at(-1);
    return isSplit || last === undefined ? last : heads && last / heads;
  };
  const headDim = said.headDim ?? width(q, queryHeads);
  const valueDim = said.valueDim ?? width(v, kvHeads);
  if (!queryHeads || !kvHeads || !headDim) throw new Unswappable('its heads are dynamic: not known before a run');
  checkRanks(view, swap);
  return {
    node: node.name || node.outputs[0],
    kind,
    queryHeads,
    kvHeads,
    headDim,
    valueDim,
    mask: kindOfMask(view, swap),
    swap,
  };
}
