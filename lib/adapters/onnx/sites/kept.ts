// Keys and values of decomposed attention as they come: before they are repeated for heads of queries, and before those of
// earlier runs are put in front. Reader: someone whose decoder is slow. Exporters write Concat for a cache, whose result is both
// `present` and an operand, and Unsqueeze, Expand, Reshape for heads that share keys (repeat_kv of transformers).

import type { GraphView } from '../graph-view.js';
import type { Node } from '../node.js';
import { dimsOf } from '../shapes.js';
import { operandOf } from './scores.js';
import type { Operand, SiteCache } from './site.js';

/** What keys or values are made of that are kept from run to run. */
interface Join {
  readonly past: string;
  readonly fresh: Operand;
}

/** The value that Reshape(Expand(Unsqueeze(value, 2))) repeats; undefined for every other node. */
export function repeatedBy(view: GraphView, node: Node | undefined): string | undefined {
  const expand = node?.op === 'Reshape' ? view.producer(node.inputs[0]) : undefined;
  const unsqueeze = expand?.op === 'Expand' ? view.producer(expand.inputs[0]) : undefined;
  if (unsqueeze?.op !== 'Unsqueeze') return undefined;
  const axes = unsqueeze.integers('axes') ?? view.numbers(unsqueeze.inputs[1] ?? '');
  return axes?.length === 1 && axes[0] === 2 ? unsqueeze.inputs[0] : undefined;
}

/** Keys or values as they are before each head is repeated for the heads of queries that read it. */
export function unrepeated(view: GraphView, operand: Operand, queryHeads: number): Operand {
  const { value, order } = operand;
  const source = repeatedBy(view, view.producer(value));
  const from = source === undefined ? undefined : dimsOf(view, source);
  const to = dimsOf(view, value);
  if (source === undefined || from?.length !== 4 || to?.length !== 4 || order?.[1] !== 1) return operand;
  const [, heads, , dim] = from;
  const isWhole = heads !== undefined && queryHeads % heads === 0 && (to[1] ?? queryHeads) === queryHeads;
  if (!isWhole || dim === undefined || (to[3] ?? dim) !== dim) return operand;
  const { operand: inner, factor } = operandOf(view, source, order);
  return factor === 1 ? inner : { value: source, order };
}

/** Keys and values of a run, and the cache in front of them; undefined where the model keeps none that can be said. */
export function cacheOf(view: GraphView, k: Operand, v: Operand) {
  const [ofK, ofV] = [joinOf(view, k), joinOf(view, v)];
  if (!ofK || !ofV) return undefined;
  const present = ({ value, order }: Operand): Operand => ({ value: view.isOutput(value) ? value : '', order });
  const cache: SiteCache = {
    past: { k: { value: ofK.past, order: k.order }, v: { value: ofV.past, order: v.order } },
    present: { k: present(k), v: present(v) },
    joined: [
      { value: k.value, past: ofK.past, fresh: concatOf(view, k).inputs[1] },
      { value: v.value, past: ofV.past, fresh: concatOf(view, v).inputs[1] },
    ],
  };
  return { k: ofK.fresh, v: ofV.fresh, cache };
}

const concatOf = (view: GraphView, { value }: Operand): Node => view.producer(value)!;

function joinOf(view: GraphView, { value, order }: Operand): Join | undefined {
  const node = view.producer(value);
  if (node?.op !== 'Concat' || node.domain !== '' || node.inputs.length !== 2) return undefined;
  const [past, fresh] = node.inputs;
  const axis = node.number('axis') ?? 0;
  const isPast = view.graph.inputs.some(({ name }) => name === past) && dimsOf(view, past)?.length === 4;
  if (!isPast || order?.[2] !== (axis < 0 ? axis + 4 : axis) || !isReadOnce(view, value)) return undefined;
  const { operand, factor } = operandOf(view, fresh, order);
  return { past, fresh: factor === 1 ? operand : { value: fresh, order } };
}

/** Whether one product is all that is made of a value, but for lengths. */
function isReadOnce(view: GraphView, joined: string): boolean {
  for (let value = joined; ; ) {
    const readers = view.consumers(value).filter(({ op }) => op !== 'Shape');
    if (readers.length !== 1 || (value !== joined && view.isOutput(value))) return false;
    if (readers[0].op === 'MatMul') return true;
    value = readers[0].outputs[0];
  }
}
