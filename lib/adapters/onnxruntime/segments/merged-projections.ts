// Projections of one value as one product: queries, keys and values become parts of its output, which crosses the cut once.
// Reader: someone who asks what a cut costs. Each value that crosses takes onnxruntime's binding 5 us, each node a little. The
// weights are put side by side by a Concat of constants, which onnxruntime computes when it loads the segment.

import { GraphView } from '../../onnx/graph-view.js';
import { makeNode } from '../../onnx/make.js';
import type { Message } from '../../onnx/message.js';
import { Node } from '../../onnx/node.js';
import type { Operand } from '../../onnx/sites/site.js';
import type { Viewed } from './before.js';
import { liveNodes, type SwappedSite } from './cut.js';

/** An operand that is x * weights + bias. */
interface Projection {
  readonly x: string;
  readonly weights: string;
  readonly bias: string | undefined;
  /** Rows and columns of the weights. */
  readonly dims: readonly number[];
  readonly type: string | undefined;
  /** What it is made by. */
  readonly nodes: readonly Node[];
}

const operandNames = ['q', 'k', 'v'] as const;
type OperandName = (typeof operandNames)[number];

/** Operands of a site that are projections of one value. */
interface Group {
  readonly operands: readonly OperandName[];
  readonly projections: readonly Projection[];
  /** Everything that they are made by. */
  readonly nodes: readonly Node[];
  /** The value that they become parts of. */
  readonly merged: string;
}

/** A model whose sites read parts of one product. */
export interface Merged extends Viewed {
  readonly sites: readonly SwappedSite[];
}

/** Merges the projections of each site, unless something else reads one of them. */
export function withMergedProjections({ model, view }: Viewed, sites: readonly SwappedSite[]): Merged {
  const found = new Map(sites.map((site) => [site, groupsOf(view, site)]));
  const tried = merge({ model, view }, found);
  const live = new Set(liveNodes(tried.view, tried.sites));
  const isUnread = ({ nodes }: Group) => nodes.every((node) => !live.has(node));
  return merge({ model, view }, new Map([...found].map(([site, groups]) => [site, groups.filter(isUnread)])));
}

function merge({ model, view }: Viewed, found: ReadonlyMap<SwappedSite, readonly Group[]>): Merged {
  const sites = [...found].map(([site, groups]) => groups.reduce(withParts, site));
  // A product comes where the last of those is that it takes the place of: all of their weights are there.
  const places = new Map<Node, Message[]>();
  const order = new Map(view.graph.nodes.map((node, i) => [node, i]));
  for (const group of [...found.values()].flat()) {
    const last = group.nodes.reduce((a, b) => (order.get(a)! > order.get(b)! ? a : b));
    places.set(last, [...(places.get(last) ?? []), ...nodesOf(group)]);
  }
  if (places.size === 0) return { model, view, sites };
  const nodes = view.graph.nodes.flatMap((node) => [
    node,
    ...(places.get(node) ?? []).map((message) => new Node(message)),
  ]);
  const whole = { ...model, graph: { ...model.graph, nodes } };
  return { model: whole, view: new GraphView(whole, view.folder), sites };
}

function nodesOf({ projections, merged }: Group): Message[] {
  const [{ x, bias }] = projections;
  const [weights, product, biases] = ['weights', 'product', 'bias'].map((word) => `${merged}#${word}`);
  const sideBySide = makeNode(
    'Concat',
    projections.map((one) => one.weights),
    [weights],
    { axis: 1 },
  );
  if (bias === undefined) return [sideBySide, makeNode('MatMul', [x, weights], [merged])];
  return [
    sideBySide,
    makeNode('MatMul', [x, weights], [product]),
    makeNode(
      'Concat',
      projections.map((one) => one.bias!),
      [biases],
      { axis: 0 },
    ),
    makeNode('Add', [product, biases], [merged]),
  ];
}

/** A site that reads parts of a product. */
function withParts(site: SwappedSite, { operands, projections, merged }: Group): SwappedSite {
  const parts: Partial<Record<OperandName, Operand>> = {};
  let begin = 0;
  for (const [i, operand] of operands.entries()) {
    const end = begin + projections[i].dims[1];
    parts[operand] = { value: merged, part: { axis: 2, begin, end } };
    begin = end;
  }
  return { ...site, swap: { ...site.swap, ...parts } };
}

/** Operands of a site that can be one product: at least two of them. */
function groupsOf(view: GraphView, { swap }: SwappedSite): Group[] {
  const values = operandNames.map((name) => swap[name].value);
  if (new Set(values).size < values.length) return [];
  const byInput = new Map<string, [OperandName, Projection][]>();
  for (const name of operandNames) {
    const projection = projectionOf(view, swap[name]);
    if (!projection) continue;
    const { x, bias, dims, type } = projection;
    const key = JSON.stringify([x, bias === undefined, dims[0], type]);
    byInput.set(key, [...(byInput.get(key) ?? []), [name, projection]]);
  }
  return [...byInput.values()].flatMap((members) => {
    if (members.length < 2) return [];
    const [operands, projections] = [members.map(([name]) => name), members.map(([, projection]) => projection)];
    const nodes = projections.flatMap((projection) => projection.nodes);
    return [{ operands, projections, nodes, merged: operands.map((name) => swap[name].value).join('+') }];
  });
}

/** What an operand [batch, tokens, heads * dim] is a projection of. */
function projectionOf(view: GraphView, { value, part, order }: Operand): Projection | undefined {
  const last = part || order ? undefined : view.producer(value);
  const isSum = last?.op === 'Add' && last.domain === '';
  for (const [at, other] of isSum ? [[0, 1] as const, [1, 0] as const] : []) {
    const product = productOf(view, last!.inputs[at]);
    const bias = view.constant(last!.inputs[other]);
    if (product && bias && bias.type === product.type && bias.dims.join() === `${product.dims[1]}`) {
      return { ...product, bias: last!.inputs[other], nodes: [...product.nodes, last!] };
    }
  }
  return last && productOf(view, value);
}

function productOf(view: GraphView, value: string): Projection | undefined {
  const node = view.producer(value);
  if (node?.op !== 'MatMul' || node.domain !== '') return undefined;
  const [x, weights] = node.inputs;
  const stored = view.constant(weights);
  if (stored?.dims.length !== 2 || view.constant(x)) return undefined;
  return { x, weights, bias: undefined, dims: stored.dims, type: stored.type, nodes: [node] };
}
