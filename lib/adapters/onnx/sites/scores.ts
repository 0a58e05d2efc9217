// Scores: q·kᵀ and what exporters put around it, read from the product outwards. One rule per operator.
// Reader: someone whose exporter writes another operator there. Each rule says what the operator makes of scores that are known.

import type { GraphView } from '../graph-view.js';
import type { Node } from '../node.js';
import { elementName, elementTypes } from '../numbers.js';
import { type Operand, type SiteMask, Unswappable } from './site.js';

/** softcap * tanh(scale * q·kᵀ / softcap), plus masks. */
export interface Scores {
  readonly q: Operand;
  readonly k: Operand;
  readonly scale: number;
  readonly softcap: number;
  readonly masks: readonly SiteMask[];
}

/** From here down a number that is added to a score hides its key: exporters write -10000, -65504, -3.4e38 or -Infinity. */
export const hidesFrom = -1e4;

/** From here down a number swallows every score that is added to it, so that adding it is putting it in the score's place. */
export const replacesFrom = -1e30;

/** Nodes between the product and the softmax at most. */
const maxDepth = 10;

const straight = [0, 1, 2, 3];

/** A value with the transposes and factors in front of it read as a view and a number. */
export function operandOf(
  view: GraphView,
  name: string,
  order: readonly number[] = straight,
): { operand: Operand; factor: number } {
  let value = name;
  let axes = order;
  let factor = 1;
  for (;;) {
    const node = view.producer(value);
    const perm = node?.op === 'Transpose' ? node.integers('perm') : undefined;
    if (perm?.length === 4) {
      axes = axes.map((axis) => perm[axis]);
      value = node!.inputs[0];
      continue;
    }
    const scaled = node && scaledBy(view, node);
    if (!scaled) return { operand: { value, order: axes }, factor };
    factor *= scaled.factor;
    value = scaled.value;
  }
}

/** A node that multiplies a value by one number. */
function scaledBy(view: GraphView, { op, domain, inputs }: Node): { value: string; factor: number } | undefined {
  if (domain !== '' || (op !== 'Mul' && op !== 'Div')) return undefined;
  const right = view.scalar(inputs[1]);
  if (right !== undefined) return { value: inputs[0], factor: op === 'Mul' ? right : 1 / right };
  const left = op === 'Mul' ? view.scalar(inputs[0]) : undefined;
  return left === undefined ? undefined : { value: inputs[1], factor: left };
}

/** Types that scores and weights may be cast to: they are rounded at most. */
const floatTypes: ReadonlySet<number> = new Set(
  (['float32', 'float16', 'bfloat16', 'float64'] as const).map((type) => elementTypes[type]),
);

/** What a Cast makes of numbers, if it is no float; undefined for every other node. */
export function otherTypeOf(node: Node): string | undefined {
  const type = node.op === 'Cast' ? (node.number('to') ?? 0) : elementTypes.float32;
  return floatTypes.has(type) ? undefined : (elementName(type) ?? `the element type ${type}`);
}

type Rule = (view: GraphView, node: Node, read: (name: string) => Scores | undefined) => Scores | undefined;

const through: Rule = (_, { inputs }, read) => read(inputs[0]);

const times: Rule = (view, node, read) => {
  const scaled = scaledBy(view, node);
  const scores = scaled && read(scaled.value);
  if (!scores) return undefined;
  if (scores.masks.length > 0) throw new Unswappable('a mask is in front of a factor of the scores');
  return { ...scores, scale: scores.scale * scaled.factor, softcap: scores.softcap * scaled.factor };
};

const rules: Readonly<Record<string, Rule>> = {
  MatMul: (view, { inputs }) => {
    if (inputs.some((name) => view.constant(name))) return undefined;
    const q = operandOf(view, inputs[0]);
    const k = operandOf(view, inputs[1], [0, 1, 3, 2]);
    return { q: q.operand, k: k.operand, scale: q.factor * k.factor, softcap: 0, masks: [] };
  },
  Mul: times,
  Div: times,
  Cast: (_, node, read) => {
    const scores = read(node.inputs[0]);
    const type = otherTypeOf(node);
    if (scores && type) throw new Unswappable(`its scores are cast to ${type}`);
    return scores;
  },
  Identity: through,
  Tanh: (_, { inputs }, read) => {
    const scores = read(inputs[0]);
    if (!scores) return undefined;
    if (scores.softcap !== 0 || scores.masks.length > 0) throw new Unswappable('tanh is taken of masked scores');
    return { ...scores, softcap: 1 };
  },
  Add: (_, { inputs: [left, right] }, read) => {
    const [a, b] = [read(left), read(right)];
    if (a && b) throw new Unswappable('two products are added');
    const scores = a ?? b;
    return scores && withMask(scores, { value: a ? right : left, as: 'bias', isInverted: false, hidden: 0 });
  },
  Where: (view, { inputs: [condition, shown, hidden] }, read) => {
    const low = [hidden, shown].map((name) => view.scalar(name) ?? 0);
    const [whenTrue, whenFalse] = [low[0] <= hidesFrom && read(shown), low[1] <= hidesFrom && read(hidden)];
    if (whenTrue) return withMask(whenTrue, { value: condition, as: 'mask', isInverted: false, hidden: low[0] });
    return whenFalse
      ? withMask(whenFalse, { value: condition, as: 'mask', isInverted: true, hidden: low[1] })
      : undefined;
  },
};

function withMask(scores: Scores, mask: SiteMask): Scores {
  const masks = [...scores.masks, mask];
  if (scores.masks.some(({ as }) => as === mask.as)) throw new Unswappable('two masks, one after the other');
  const replacing = masks.find(({ as }) => as === 'mask');
  if (masks.length > 1 && replacing && !(replacing.hidden <= replacesFrom)) {
    throw new Unswappable(`two masks, one of which puts ${replacing.hidden} in the place of scores`);
  }
  return { ...scores, masks };
}

/**
 * A mask that is added and is Where(condition, lowest, 0), as its condition: numbers of four bytes each need not be made. Of numbers
 * that swallow scores both are the same.
 */
function asCondition(view: GraphView, mask: SiteMask): SiteMask {
  const node = mask.as === 'bias' ? view.producer(mask.value) : undefined;
  if (node?.op !== 'Where' || node.domain !== '') return mask;
  const [condition, whenTrue, whenFalse] = node.inputs;
  const [taken, otherwise] = [view.scalar(whenTrue), view.scalar(whenFalse)];
  const hidden = taken === 0 ? otherwise : taken;
  if ((taken !== 0 && otherwise !== 0) || hidden === undefined || !(hidden <= replacesFrom)) return mask;
  return { value: condition, as: 'mask', isInverted: otherwise === 0, hidden };
}

/** Reads a value as scores; undefined where there is no product of two values behind it. */
export function readScores(view: GraphView, name: string): Scores | undefined {
  const readAt = (value: string, depth: number): Scores | undefined => {
    const node = view.producer(value);
    if (node?.domain !== '' || !Object.hasOwn(rules, node.op) || depth > maxDepth) return undefined;
    return rules[node.op](view, node, (input) => readAt(input, depth + 1));
  };
  const scores = readAt(name, 0);
  return scores?.masks.length === 1 ? { ...scores, masks: [asCondition(view, scores.masks[0])] } : scores;
}
