// Attention in pieces: MatMul, Softmax, MatMul, in every form that exporters give it.
// Reader: someone whose model's attention is not found. scores.ts reads what is in front of the softmax; this, what is behind.

import type { GraphView } from '../graph-view.js';
import type { Node } from '../node.js';
import { dimsOf } from '../shapes.js';
import { cacheOf, unrepeated } from './kept.js';
import { checkRanks, kindOfMask } from './mask-kinds.js';
import { unmerged, unsplit } from './merged-heads.js';
import { operandOf, otherTypeOf, readScores, type Scores } from './scores.js';
import { type Operand, type Site, type Swap, Unswappable } from './site.js';

/** Attention by products of quantized numbers: the scale of scores is not in the graph's numbers alone. */
const quantized = /^(MatMulInteger|QLinearMatMul|DynamicQuantizeMatMul|MatMulIntegerToFloat|DequantizeLinear)$/;

/** Nodes between a quantized product and the softmax at most. */
const maxSteps = 8;

/** The site of a Softmax; undefined where it is no attention. */
export function matchSoftmax(view: GraphView, node: Node): Site | undefined {
  const name = node.name || node.outputs[0];
  const site = { node: name, kind: 'decomposed', queryHeads: undefined, kvHeads: undefined, mask: 'none' } as const;
  const left = (reason: string): Site => ({ ...site, headDim: undefined, valueDim: undefined, reason });
  try {
    const scores = readScores(view, node.inputs[0]);
    if (!scores) {
      const op = quantizedBefore(view, node.inputs[0]);
      return op ? left(`its product is quantized (${op})`) : undefined;
    }
    const { product, weights } = followWeights(view, node);
    if (!product) return undefined;
    checkAxis(view, node);
    return siteOf(view, name, scores, product, weights);
  } catch (error) {
    if (error instanceof Unswappable) return left(error.message);
    throw error;
  }
}

function siteOf(view: GraphView, node: string, scores: Scores, product: Node, weights: string): Site {
  const v = operandOf(view, product.inputs[1]);
  if (v.factor !== 1 || product.inputs[0] !== weights) throw new Unswappable('its values are scaled');
  const swap: Swap = {
    ...{ q: scores.q, ...keptOf(view, scores, v.operand), masks: scores.masks, causal: false },
    ...{ scale: scores.scale, softcap: Math.abs(scores.softcap), out: outputOf(view, product.outputs[0]) },
  };
  const [q, k, values] = [swap.q, swap.k, swap.v].map((operand) => headsFirst(view, operand));
  if (!q || !k || !values) throw new Unswappable('its operands have no four axes, or not known before a run');
  const [queryHeads, headDim, kvHeads] = [q[1], q[3] ?? k[3], k[1] ?? values[1] ?? q[1]];
  if (queryHeads === undefined || headDim === undefined) {
    throw new Unswappable('its heads are dynamic: their number or dim is not known before a run');
  }
  const valueDim = values[3] ?? headDim;
  checkRanks(view, swap);
  return {
    ...{ node, kind: 'decomposed', queryHeads, kvHeads, headDim, valueDim },
    mask: kindOfMask(view, swap),
    swap: {
      ...swap,
      q: unsplit(view, swap.q, queryHeads, headDim),
      k: unsplit(view, swap.k, kvHeads, headDim),
      v: unsplit(view, swap.v, kvHeads, valueDim),
      out: unmerged(view, swap.out, swap.q),
    },
  };
}

/** Keys and values before they are repeated, and those of a run before the ones of earlier runs are in front. */
function keptOf(view: GraphView, { q, k }: Scores, v: Operand): Pick<Swap, 'k' | 'v' | 'cache'> {
  const queryHeads = headsFirst(view, q)?.[1];
  if (queryHeads === undefined) return { k, v };
  const [keys, values] = [unrepeated(view, k, queryHeads), unrepeated(view, v, queryHeads)];
  const [kvHeads, valueHeads] = [keys, values].map((operand) => headsFirst(view, operand)?.[1]);
  if (kvHeads !== valueHeads) return { k, v };
  return cacheOf(view, keys, values) ?? { k: keys, v: values };
}

/** The lengths of an operand's [batch, heads, tokens, dim]; undefined unless it has four axes. */
function headsFirst(view: GraphView, { value, order }: Operand) {
  const dims = dimsOf(view, value);
  return dims?.length === 4 ? order!.map((axis) => dims[axis]) : undefined;
}

function checkAxis(view: GraphView, node: Node): void {
  const axis = node.number('axis') ?? (view.opset >= 13 ? -1 : 1);
  if (axis !== -1 && axis !== 3) throw new Unswappable(`its softmax is over axis ${axis}`);
}

/**
 * From the softmax to the product with the values: casts and a guard against NaN may be between.
 * @throws {Unswappable} where what is between changes the weights, and a product reads them
 */
function followWeights(view: GraphView, softmax: Node): { product: Node | undefined; weights: string } {
  let weights = softmax.outputs[0];
  let change: string | undefined;
  for (;;) {
    const guard = guardOf(view, weights);
    const next = guard ?? view.soleConsumer(weights);
    if (!next) {
      if (!view.consumers(weights).some(({ op }) => op === 'MatMul')) return { product: undefined, weights };
      throw new Unswappable('its weights are read elsewhere');
    }
    if (next.op === 'MatMul') {
      const product = next.inputs[0] === weights ? next : undefined;
      if (product && change !== undefined) throw new Unswappable(change);
      return { product, weights };
    }
    if (!passing.has(next.op) || (next.op === 'Dropout' && next.inputs.length > 2)) {
      return { product: undefined, weights };
    }
    if (!guard) change ??= changeBy(next);
    weights = next.outputs[0];
  }
}

/** What may be between weights and their product. */
const passing = new Set(['Cast', 'Identity', 'Dropout', 'Where']);

/** How a node changes weights; undefined: not beyond rounding. */
function changeBy(node: Node): string | undefined {
  if (node.op === 'Where') return 'its weights are replaced by a Where behind the softmax';
  const type = otherTypeOf(node);
  return type && `its weights are cast to ${type}`;
}

/** Where(IsNaN(weights), 0, weights): a row without keys gives 0, as it does here. */
function guardOf(view: GraphView, weights: string): Node | undefined {
  const consumers = view.consumers(weights);
  const test = consumers.find(({ op }) => op === 'IsNaN');
  const where = consumers.find(({ op }) => op === 'Where');
  if (!test || !where || consumers.length !== 2 || view.isOutput(weights)) return undefined;
  const [condition, instead, otherwise] = where.inputs;
  return condition === test.outputs[0] && otherwise === weights && view.scalar(instead) === 0 ? where : undefined;
}

/** The product's output, and the Transpose behind it as an order in which it is written. */
function outputOf(view: GraphView, value: string): Operand {
  const node = view.soleConsumer(value);
  const perm = node?.op === 'Transpose' ? node.integers('perm') : undefined;
  if (perm?.length !== 4) return { value, order: [0, 1, 2, 3] };
  // Axis i of the result is axis perm[i] of the product: the product's axes are at the inverse.
  return { value: node!.outputs[0], order: perm.map((_, axis) => perm.indexOf(axis)) };
}

/** The quantized product behind a softmax, if there is one. */
function quantizedBefore(view: GraphView, name: string): string | undefined {
  let names = [name];
  for (let step = 0; step < maxSteps && names.length > 0; ++step) {
    const nodes = names.flatMap((one) => view.producer(one) ?? []);
    const found = nodes.find(({ op }) => quantized.test(op));
    if (found) return found.op;
    names = nodes
      .filter(({ op }) => ['Mul', 'Div', 'Add', 'Cast', 'Where'].includes(op))
      .flatMap(({ inputs }) => inputs);
  }
  return undefined;
}
