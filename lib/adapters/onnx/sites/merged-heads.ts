// Operands whose heads and dim are one axis in the graph: the Reshapes that split them, and put them together again, fall away.
// Reader: someone who asks what is left of a layer in onnxruntime. A Reshape may do other things than split: one that moves tokens from
// one batch entry to another stays, and so does one of which that is not known.

import type { GraphView } from '../graph-view.js';
import { askedOf, type Origins, originsOf } from '../lengths.js';
import type { Node } from '../node.js';
import { dimsOf } from '../shapes.js';
import type { Operand } from './site.js';

/** [batch, tokens, heads, dim] as [batch, heads, tokens, dim]. */
const isTokensFirst = (order: readonly number[] | undefined): boolean => order?.join() === '0,2,1,3';

/** An operand as the value in front of the Reshape that splits its heads, [batch, tokens, heads * dim]. */
export function unsplit(
  view: GraphView,
  operand: Operand,
  heads: number | undefined,
  dim: number | undefined,
): Operand {
  const node = isTokensFirst(operand.order) && !operand.part ? view.producer(operand.value) : undefined;
  if (node?.op !== 'Reshape' || node.domain !== '' || heads === undefined || dim === undefined) return operand;
  const [from, to] = [dimsOf(view, node.inputs[0]), dimsOf(view, operand.value)];
  const isSplit = from?.length === 3 && from[2] === heads * dim && to?.[2] === heads && to[3] === dim;
  const tokens = [0, 1].map((axis) => originsOf(view, node.inputs[0], axis));
  return isSplit && keepsTokens(view, node, tokens, 4) ? { value: node.inputs[0] } : operand;
}

/**
 * An output as the value behind the Reshape that puts its heads together.
 * @param q the queries, which have its batch and tokens
 */
export function unmerged(view: GraphView, out: Operand, q: Operand): Operand {
  const node = isTokensFirst(out.order) ? view.soleConsumer(out.value) : undefined;
  if (node?.op !== 'Reshape' || node.domain !== '' || node.inputs[0] !== out.value) return out;
  const axes = q.order ?? [0, -1, 1];
  const tokens = [axes[0], axes[2]].map((axis) => originsOf(view, q.value, axis));
  return keepsTokens(view, node, tokens, 3) ? { value: node.outputs[0] } : out;
}

/** Whether a Reshape to so many axes leaves batch and tokens as they are. Of what is left, one length may be. */
function keepsTokens(view: GraphView, node: Node, tokens: readonly Origins[], rank: number): boolean {
  const asked = askedOf(view, node.inputs[1]);
  if (asked?.length !== rank || (node.number('allowzero') && asked.includes(0))) return false;
  const free = asked.indexOf(-1);
  return tokens.every((origins, axis) => {
    const length = asked[axis];
    if (axis === free) return rank === 4;
    if (length === 0) return true;
    if (length === undefined) return false;
    const own = typeof length === 'number' ? new Set([`${length}`]) : originsOf(view, ...length);
    return [...own].some((origin) => origins.has(origin));
  });
}
