// An operator that is attention by itself, and what its readers share.
// Reader: someone who adds an operator: a file beside this one, and a line in fused.ts. What is not read is a reason, never ignored.

import type { GraphView } from '../../graph-view.js';
import type { Node } from '../../node.js';
import { elementName } from '../../numbers.js';
import { dimsOf } from '../../shapes.js';
import { type Operand, type SiteCache, type SiteKind, type SiteMask, type Swap, Unswappable } from '../site.js';

/** What an operator says, before its heads are looked up. */
export interface Said {
  readonly swap: Omit<Swap, 'softcap'> & { readonly softcap?: number };
  readonly queryHeads: number | undefined;
  readonly kvHeads: number | undefined;
  /** Dims of operands that are a part of something; absent: those of the operands' values. */
  readonly headDim?: number;
  readonly valueDim?: number;
}

export interface Operator {
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

/** A mask that an input may give. */
export const masked = (
  value: string | undefined,
  as: SiteMask['as'],
  hidden = Number.NEGATIVE_INFINITY,
): readonly SiteMask[] => (value ? [{ value, as, isInverted: false, hidden }] : []);

/** An operand of three axes is [batch, tokens, heads * dim], of four [batch, heads, tokens, dim]. */
export function operand(view: GraphView, value: string, ranks: readonly number[]): Operand {
  const rank = dimsOf(view, value)?.length;
  if (rank === undefined) throw new Unswappable(`the rank of '${value}' is not known before a run`);
  if (!ranks.includes(rank)) throw new Unswappable(`'${value}' has rank ${rank}`);
  return { value, ...(rank === 4 && { order: [0, 1, 2, 3] }) };
}

/** The scale, where it is given: 0 stands for the default. */
export const scaleOf = (node: Node): { scale?: number } => {
  const scale = node.number('scale');
  return scale ? { scale } : {};
};

/** Operators whose output has the type of an input, and which. */
const typedByInput = new Map<string, number>([
  ...['Identity', 'Unsqueeze', 'Squeeze', 'Reshape', 'Expand', 'Transpose', 'Slice', 'Concat'].map(
    (op) => [op, 0] as const,
  ),
  ...['Add', 'Sub', 'Mul', 'Div', 'Neg'].map((op) => [op, 0] as const),
  ['Where', 1],
]);

const boolean = new Set(['And', 'Or', 'Not', 'Equal', 'Less', 'LessOrEqual', 'Greater', 'GreaterOrEqual']);

/** The element type of a value: of a constant, as the model says it, or as the nodes in front of it make it. */
export function typeOf(view: GraphView, name: string): string | undefined {
  let value = name;
  for (;;) {
    const stated = view.constant(value)?.type ?? view.infos.get(value)?.type;
    const node = view.producer(value);
    if (stated !== undefined || node?.domain !== '') return stated;
    if (boolean.has(node.op)) return 'bool';
    if (node.op === 'Cast') return elementName(node.number('to') ?? 0);
    const input = typedByInput.get(node.op);
    if (input === undefined) return undefined;
    value = node.inputs[input];
  }
}

/** Keys or values of [batch, heads, tokens, dim]; '' where nobody reads them. */
const kept = (value: string): Operand => ({ value, order: [0, 1, 2, 3] });

/** The cache of an operator whose second and third outputs are its presents; nothing where it has neither past nor present. */
export function cacheOf(
  view: GraphView,
  { outputs }: Node,
  { past_key: key, past_value: value }: Parameters<Operator['read']>[2],
): { readonly cache?: SiteCache } {
  if (!key !== !value) throw new Unswappable('it has one of past_key and past_value');
  const isRead = (name: string) => view.isOutput(name) || view.consumers(name).length > 0;
  const [k, v] = [outputs[1] ?? '', outputs[2] ?? ''].map((name) => kept(isRead(name) ? name : ''));
  if (!key && !k.value && !v.value) return {};
  return { cache: { ...(key && value && { past: { k: kept(key), v: kept(value) } }), present: { k, v } } };
}
