// Attention as one operator: a table of the operators, and for each the inputs and attributes that attention() can say.
// Reader: someone who meets a node that stays with onnxruntime. What is not read here is a reason, never ignored.
// Sources: Attention of onnx/onnx (opset 23 and later), docs/ContribOperators.md of microsoft/onnxruntime.

import type { GraphView } from '../graph-view.js';
import type { Node } from '../node.js';
import { dimsOf } from '../shapes.js';
import { checkRanks, kindOfMask } from './mask-kinds.js';
import { type Operand, type Site, type SiteKind, type SiteMask, type Swap, Unswappable } from './site.js';

/** What an operator says, before its heads are looked up. */
interface Said {
  readonly swap: Omit<Swap, 'softcap'> & { readonly softcap?: number };
  readonly queryHeads: number | undefined;
  readonly kvHeads: number | undefined;
}

interface Operator {
  readonly kind: SiteKind;
  /** Names of the inputs and outputs, in order. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Attributes that say nothing about results here, or are read. */
  readonly attributes: readonly string[];
  /** Inputs and outputs that are read; others must be left out. */
  readonly reads: readonly string[];
  readonly read: (view: GraphView, node: Node, inputs: Readonly<Record<string, string | undefined>>) => Said;
}

const none: readonly SiteMask[] = [];
const masked = (
  value: string | undefined,
  as: SiteMask['as'],
  hidden = Number.NEGATIVE_INFINITY,
): readonly SiteMask[] => (value ? [{ value, as, isInverted: false, hidden }] : none);

/** An operand of three axes is [batch, tokens, heads * dim], of four [batch, heads, tokens, dim]. */
function operand(view: GraphView, value: string, ranks: readonly number[]): Operand {
  const rank = dimsOf(view, value)?.length;
  if (rank === undefined) throw new Unswappable(`the rank of '${value}' is not known before a run`);
  if (!ranks.includes(rank)) throw new Unswappable(`'${value}' has rank ${rank}`);
  return { value, ...(rank === 4 && { order: [0, 1, 2, 3] }) };
}

const scaleOf = (node: Node): { scale?: number } => {
  const scale = node.number('scale');
  return scale ? { scale } : {};
};

/** ONNX's own. Its mask is true and false, or numbers; the output has as many axes as the queries. */
const onnxAttention: Operator = {
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
  reads: ['Q', 'K', 'V', 'attn_mask', 'Y'],
  read: (view, node, { Q, K, V, attn_mask: mask }) => {
    const [q, k, v] = [Q, K, V].map((value) => operand(view, value!, [3, 4]));
    const type = mask && typeOf(view, mask);
    if (mask && type === undefined) throw new Unswappable('the type of its mask is not known before a run');
    const out = { value: node.outputs[0], ...(q.order && { order: q.order }) };
    return {
      swap: {
        ...{ q, k, v, out, masks: masked(mask, type === 'bool' ? 'mask' : 'bias'), ...scaleOf(node) },
        ...{ causal: node.number('is_causal') === 1, softcap: node.number('softcap') ?? 0 },
      },
      queryHeads: node.number('q_num_heads'),
      kvHeads: node.number('kv_num_heads'),
    };
  },
};

const multiHeadAttention: Operator = {
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

const operators: Readonly<Record<string, Operator>> = {
  '.Attention': onnxAttention,
  'com.microsoft.MultiHeadAttention': multiHeadAttention,
};

/** Operators that are known, and left for one reason. */
const left: Readonly<Record<string, { readonly kind: SiteKind; readonly reason: string }>> = {
  'com.microsoft.Attention': { kind: 'com.microsoft.Attention', reason: 'its projections are inside the operator' },
  'com.microsoft.GroupQueryAttention': { kind: 'GroupQueryAttention', reason: 'its cache is inside the operator' },
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
  if (Object.hasOwn(left, full)) return { ...site, ...left[full] };
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
  const { swap: said, queryHeads: byAttribute, kvHeads: kvByAttribute } = read(view, node, given);
  const swap: Swap = { softcap: 0, ...said };
  const [q, k, v] = [swap.q, swap.k, swap.v].map(({ value, order }) => ({
    dims: dimsOf(view, value),
    isSplit: !!order,
  }));
  const queryHeads = q.isSplit ? q.dims?.[1] : byAttribute;
  const kvHeads = k.isSplit ? k.dims?.[1] : (kvByAttribute ?? byAttribute);
  const width = ({ dims, isSplit }: typeof q, heads: number | undefined) => {
    const last = dims?.at(-1);
    return isSplit || last === undefined ? last : heads && last / heads;
  };
  const [headDim, valueDim] = [width(q, queryHeads), width(v, kvHeads)];
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

/** The element type of a value: of a constant, as the model says it, or of what makes it. */
function typeOf(view: GraphView, value: string): string | undefined {
  const node = view.producer(value);
  const boolean = ['And', 'Or', 'Not', 'Equal', 'Less', 'LessOrEqual', 'Greater', 'GreaterOrEqual'];
  if (node && boolean.includes(node.op)) return 'bool';
  return view.constant(value)?.type ?? view.infos.get(value)?.type;
}
