// Shapes of keys and values that are kept: what a graph asks about their lengths, without having them.
// Reader: someone whose past would cross to onnxruntime. Exporters ask a past how long it is, and slice masks to the length of what
// they put together: Shape of these becomes a sum of the past's dims, which a run is told, and of the new tokens' Shape.

import { GraphView } from '../../onnx/graph-view.js';
import { makeNode, makeTensor, makeValueInfo } from '../../onnx/make.js';
import type { Message } from '../../onnx/message.js';
import { Node } from '../../onnx/node.js';
import { repeatedBy } from '../../onnx/sites/kept.js';
import type { Viewed } from '../segments/before.js';
import type { SwappedSite } from '../segments/cut.js';

/** An input that a run adds: the dims of a past. */
export interface KnownShape {
  readonly name: string;
  readonly past: string;
}

/** Keys or values that are a past, or one with new tokens behind it. */
interface Source {
  readonly past: string;
  readonly joined?: { readonly value: string; readonly fresh: string; readonly axis: number };
  readonly queryHeads: number;
}

/** A source, and which of its axes are those of a value that is made of it; 4 is the heads of queries. */
interface Origin {
  readonly source: Source;
  readonly axes: readonly number[];
}

const nameOf = (past: string): string => `${past}#dims`;
const integers = (name: string, numbers: readonly number[]): Message =>
  makeNode('Constant', [], [name], {
    value: makeTensor('', 'int64', [numbers.length], BigInt64Array.from(numbers, BigInt)),
  });

/** The model without Shape nodes that read what sites keep, and the inputs that it has instead. */
export function withKnownShapes({ model, view }: Viewed, sites: readonly SwappedSite[]) {
  const sources = sourcesOf(view, sites);
  const shapes = new Map<string, KnownShape>();
  const summed = new Set<string>();
  const nodes = model.graph.nodes.flatMap((node) => {
    const origin = node.op === 'Shape' && node.domain === '' ? originOf(view, sources, node.inputs[0]) : undefined;
    if (!origin) return [node];
    const { past, joined } = origin.source;
    shapes.set(past, { name: nameOf(past), past });
    const isSummed = joined !== undefined && !summed.has(joined.value);
    if (isSummed) summed.add(joined.value);
    const made = [...(isSummed ? sumOf(origin.source) : []), ...shapeOf(node, origin)];
    return made.map((message) => new Node(message));
  });
  if (shapes.size === 0) return { model, view, shapes: [] };
  const added = [...shapes.values()].map(({ name }) => ({
    ...{ name, type: 'int64' as const, dims: [4] },
    message: makeValueInfo(name, 'int64', [4]),
  }));
  const whole = { ...model, graph: { ...model.graph, nodes, inputs: [...model.graph.inputs, ...added] } };
  return { model: whole, view: new GraphView(whole, view.folder), shapes: [...shapes.values()] };
}

function sourcesOf(view: GraphView, sites: readonly SwappedSite[]): Map<string, Source> {
  const inputs = new Set(view.graph.inputs.map(({ name }) => name));
  const sources = new Map<string, Source>();
  for (const { swap, queryHeads } of sites) {
    const { past, joined = [] } = swap.cache ?? {};
    for (const { value, order } of past ? [past.k, past.v] : []) {
      if (inputs.has(value)) sources.set(value, { past: value, queryHeads: queryHeads! });
      for (const join of joined.filter((one) => one.past === value)) {
        sources.set(join.value, { past: value, joined: { ...join, axis: order![2] }, queryHeads: queryHeads! });
      }
    }
  }
  return sources;
}

/** What a value is made of, as far as its lengths follow. */
function originOf(view: GraphView, sources: ReadonlyMap<string, Source>, name: string): Origin | undefined {
  let value = name;
  let axes = [0, 1, 2, 3];
  for (;;) {
    const source = sources.get(value);
    if (source) return { source, axes };
    const node = view.producer(value);
    const repeated = repeatedBy(view, node);
    if (repeated !== undefined) {
      axes = axes.map((axis) => (axis === 1 ? 4 : axis));
      value = repeated;
    } else if (node?.op === 'Transpose' && node.integers('perm')?.length === 4) {
      const perm = node.integers('perm')!;
      axes = axes.map((axis) => (axis === 4 ? 4 : perm[axis]));
      value = node.inputs[0];
    } else if (node && isSameShape(view, node)) {
      value = node.inputs[0];
    } else {
      return undefined;
    }
  }
}

const isSameShape = (view: GraphView, { op, inputs }: Node): boolean =>
  op === 'Identity' || ((op === 'Mul' || op === 'Div') && view.scalar(inputs[1]) !== undefined);

/** The dims of a past with new tokens behind it. */
function sumOf({ past, joined }: Source): Message[] {
  const { value, fresh, axis } = joined!;
  const [mask, kept, added, sum] = ['along', 'kept', 'added', 'dims'].map((word) => `${value}#${word}`);
  return [
    integers(
      mask,
      [0, 1, 2, 3].map((one) => Number(one === axis)),
    ),
    makeNode('Mul', [nameOf(past), mask], [kept]),
    makeNode('Shape', [fresh], [added]),
    makeNode('Add', [kept, added], [sum]),
  ];
}

/** What a Shape node gave. */
function shapeOf(node: Node, { source, axes }: Origin): Message[] {
  const [output] = node.outputs;
  const dims = source.joined ? `${source.joined.value}#dims` : nameOf(source.past);
  const [heads, all, indices] = ['heads', 'all', 'indices'].map((word) => `${output}#${word}`);
  return [
    integers(heads, [source.queryHeads]),
    makeNode('Concat', [dims, heads], [all], { axis: 0 }),
    integers(indices, axes.slice(node.number('start') ?? 0, node.number('end') ?? 4)),
    makeNode('Gather', [all, indices], [output]),
  ];
}
