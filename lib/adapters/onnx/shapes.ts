// Shapes: the lengths of a value's axes, as far as they follow from the model alone.
// Reader: someone whose heads are not found. Exporters write few shapes down; the operators around attention are enough here.
// Source: the operators' definitions in onnx/onnx.

import type { GraphView } from './graph-view.js';
import type { Node } from './node.js';

/** Lengths of axes; undefined where a run decides. */
export type Dims = readonly (number | undefined)[];

/** What asks for the dims of a node's inputs. */
type Ask = (name: string) => Dims | undefined;
type Rule = (view: GraphView, node: Node, dimsOf: Ask) => Dims | undefined;

const same: Rule = (_, { inputs }, dimsOf) => dimsOf(inputs[0]);

/** ONNX's broadcasting: axes from the last; a 1 gives way. */
const broadcast: Rule = (_, { op, inputs }, dimsOf) => {
  const all = (op === 'Where' ? inputs : inputs.slice(0, 2)).map(dimsOf);
  if (all.some((dims) => dims === undefined)) return undefined;
  const known = all as Dims[];
  const rank = Math.max(...known.map((dims) => dims.length));
  return Array.from({ length: rank }, (__, axis) => {
    const lengths = known.map((dims) => (axis - rank + dims.length < 0 ? 1 : dims[axis - rank + dims.length]));
    return (
      lengths.find((length) => length !== 1 && length !== undefined) ?? (lengths.every((n) => n === 1) ? 1 : undefined)
    );
  });
};

const unary = [
  ...['Identity', 'Cast', 'Dropout', 'Neg', 'Cos', 'Sin', 'Tanh', 'Softmax'],
  ...['LayerNormalization', 'SimplifiedLayerNormalization', 'RotaryEmbedding'],
];

const rules: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries(unary.map((op) => [op, same])),
  ...Object.fromEntries(['Add', 'Sub', 'Mul', 'Div', 'Where'].map((op) => [op, broadcast])),

  Slice: (view, node, dimsOf) => {
    const dims = dimsOf(node.inputs[0]);
    const axes = listOf(view, node, 'axes', 3);
    return dims?.map((length, axis) =>
      !axes || axes.includes(axis) || axes.includes(axis - dims.length) ? undefined : length,
    );
  },

  Gather: (_, node, dimsOf) => {
    const [from, indices] = node.inputs.map(dimsOf);
    if (!from || !indices) return undefined;
    const axis = (node.number('axis') ?? 0) + ((node.number('axis') ?? 0) < 0 ? from.length : 0);
    return [...from.slice(0, axis), ...indices, ...from.slice(axis + 1)];
  },

  Unsqueeze: (view, node, dimsOf) => {
    const dims = dimsOf(node.inputs[0]);
    const axes = listOf(view, node, 'axes', 1);
    if (!dims || !axes) return undefined;
    const rank = dims.length + axes.length;
    const rest = [...dims];
    const added = axes.map((axis) => (axis + rank) % rank);
    return Array.from({ length: rank }, (_, axis) => (added.includes(axis) ? 1 : rest.shift()));
  },

  Squeeze: (view, node, dimsOf) => {
    const dims = dimsOf(node.inputs[0]);
    const axes = listOf(view, node, 'axes', 1);
    return axes && dims?.filter((_, axis) => !axes.includes(axis) && !axes.includes(axis - dims.length));
  },

  MatMul: (_, { inputs }, dimsOf) => {
    const [a, b] = [dimsOf(inputs[0]), dimsOf(inputs[1])];
    if (!b || b.length < 2) return undefined;
    const width = b[b.length - 1];
    if (a && a.length >= b.length) return [...a.slice(0, -1), width];
    return a ? [...b.slice(0, -2), a[a.length - 2], width] : b.length === 2 ? [undefined, undefined, width] : undefined;
  },

  Gemm: (_, node, dimsOf) => {
    const b = dimsOf(node.inputs[1]);
    return b && [undefined, node.number('transB') === 1 ? b[0] : b[1]];
  },

  Transpose: (_, node, dimsOf) => {
    const dims = dimsOf(node.inputs[0]);
    const order = node.integers('perm');
    return order ? order.map((axis) => dims?.[axis]) : dims?.toReversed();
  },

  Reshape: (view, node, dimsOf) => {
    const shape = shapeList(view, node.inputs[1]);
    if (!shape) return undefined;
    const from = dimsOf(node.inputs[0]);
    const dims = shape.map((length, axis) => (length === 0 ? from?.[axis] : length));
    return dims.includes(-1) ? filled(dims, from) : dims;
  },

  Concat: (_, node, dimsOf) => {
    const parts = node.inputs.map(dimsOf);
    const first = parts.find((dims) => dims !== undefined);
    if (!first) return undefined;
    const axis = (node.number('axis') ?? 0) + (node.number('axis')! < 0 ? first.length : 0);
    const lengths = parts.map((dims) => dims?.[axis]);
    const sum = lengths.includes(undefined) ? undefined : lengths.reduce((a, n) => a! + n!, 0);
    return first.map((length, at) => (at === axis ? sum : length));
  },

  Split: (view, node, dimsOf) => {
    const dims = dimsOf(node.inputs[0]);
    if (!dims) return undefined;
    const axis = (node.number('axis') ?? 0) + ((node.number('axis') ?? 0) < 0 ? dims.length : 0);
    const sizes = listOf(view, node, 'split', 1);
    const whole = dims[axis];
    const length = sizes ? sizes[0] : whole === undefined ? undefined : Math.ceil(whole / node.outputs.length);
    return sizes?.some((size) => size !== sizes[0]) ? undefined : dims.map((n, at) => (at === axis ? length : n));
  },
};

/** Numbers that were an attribute once, and are an input in later opsets. */
const listOf = (view: GraphView, node: Node, attribute: string, input: number): readonly number[] | undefined =>
  node.integers(attribute) ?? (node.inputs[input] ? view.numbers(node.inputs[input]) : undefined);

/** A reshape's -1, where the lengths in front of it are carried over: the last axis of before is the last ones of after. */
function filled(dims: Dims, from: Dims | undefined): Dims {
  const at = dims.indexOf(-1);
  const rest = dims.slice(at + 1);
  const width = from?.[from.length - 1];
  const isLastSplit = width !== undefined && rest.length > 0 && at === (from as Dims).length - 1;
  if (isLastSplit && rest.every((length) => length !== undefined)) {
    const inner = rest.reduce((product, length) => product! * length!, 1)!;
    if (width % inner === 0) return dims.map((length) => (length === -1 ? width / inner : length));
  }
  const total = from && !from.includes(undefined) ? from.reduce((a, n) => a! * n!, 1)! : undefined;
  const others = dims.filter((_, axis) => axis !== at);
  const known = others.includes(undefined) ? undefined : others.reduce((a, n) => a! * n!, 1)!;
  const length = total !== undefined && known ? total / known : undefined;
  return dims.map((one) => (one === -1 ? length : one));
}

/** The lengths that a Reshape asks for: numbers, or parts put together of which some are. */
function shapeList(view: GraphView, name: string): Dims | undefined {
  const value = uncast(view, name);
  const numbers = view.numbers(value);
  if (numbers) return numbers;
  const node = view.producer(value);
  if (node?.op !== 'Concat') return undefined;
  return node.inputs.flatMap((part): Dims => view.numbers(uncast(view, part)) ?? [unsqueezed(view, part)]);
}

/** The value that a Cast was made of. */
function uncast(view: GraphView, name: string): string {
  const node = view.producer(name);
  return node?.op === 'Cast' || node?.op === 'Identity' ? uncast(view, node.inputs[0]) : name;
}

/** A part of a shape: one length, often a scalar with an axis put on. */
function unsqueezed(view: GraphView, name: string): number | undefined {
  const node = view.producer(name);
  return node?.op === 'Unsqueeze' ? view.scalar(node.inputs[0]) : undefined;
}

/** Dims of every value of a graph that has been asked about. */
const inferred = new WeakMap<GraphView, ReadonlyMap<string, Dims | undefined>>();

/** The dims of a value; undefined where not even their count is known. */
export function dimsOf(view: GraphView, name: string): Dims | undefined {
  const known = inferred.get(view) ?? infer(view);
  inferred.set(view, known);
  return known.has(name) ? known.get(name) : stated(view, name);
}

/** The dims that the model writes down for a value that no node makes. */
const stated = (view: GraphView, name: string): Dims | undefined =>
  merged(view.constant(name)?.dims, view.infos.get(name)?.dims);

/** Nodes in their order: what a node reads is known before it. */
function infer(view: GraphView): Map<string, Dims | undefined> {
  const known = new Map<string, Dims | undefined>();
  const ask: Ask = (name) => (known.has(name) ? known.get(name) : stated(view, name));
  for (const node of view.graph.nodes) {
    const isKnown = Object.hasOwn(rules, node.op) && (node.domain === '' || node.domain === 'com.microsoft');
    const rule = isKnown ? rules[node.op] : undefined;
    const constant = node.op === 'Constant' ? view.constant(node.outputs[0])?.dims : undefined;
    const dims = constant ?? rule?.(view, node, ask);
    for (const output of node.outputs) known.set(output, merged(dims, view.infos.get(output)?.dims));
  }
  return known;
}

/** What follows from the nodes, with the lengths that the model writes down. */
function merged(
  derived: Dims | undefined,
  info: readonly (number | string | undefined)[] | undefined,
): Dims | undefined {
  const written = info?.map((length) => (typeof length === 'number' ? length : undefined));
  if (!written || derived?.length !== written.length) return derived ?? written;
  return written.map((length, axis) => length ?? derived[axis]);
}
