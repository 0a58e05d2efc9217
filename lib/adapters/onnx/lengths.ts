// Where the length of an axis comes from: a number, or an axis of another value that is as long.
// Reader: someone whose Reshape stays in the graph. Exporters ask inputs how long they are and write the answers into Reshapes; that an
// axis keeps its length there is known only by following both to where they come from.

import type { GraphView } from './graph-view.js';
import type { Node } from './node.js';
import { dimsOf } from './shapes.js';

/** Names of origins, of which a length is one. Where there are several, they are as long as each other, or 1. */
export type Origins = ReadonlySet<string>;

/** Nodes whose output has the dims of their first input. */
const alike = new Set([
  ...['Identity', 'Cast', 'Dropout', 'LayerNormalization', 'SimplifiedLayerNormalization', 'Softmax'],
  ...['Tanh', 'Relu', 'Erf', 'Sqrt', 'Neg', 'Gelu', 'FastGelu'],
]);
const broadcasting = new Set(['Add', 'Sub', 'Mul', 'Div', 'Pow']);

/** Nodes that are followed at most. */
const maxSteps = 2000;

const known = new WeakMap<GraphView, Map<string, Origins>>();

/** Where the length of an axis, counted from the first, comes from. */
export function originsOf(view: GraphView, name: string, axis: number): Origins {
  const all = known.get(view) ?? new Map<string, Origins>();
  known.set(view, all);
  return follow(view, all, name, axis, maxSteps);
}

function follow(view: GraphView, all: Map<string, Origins>, name: string, axis: number, steps: number): Origins {
  const key = `${name} ${axis}`;
  const found = all.get(key);
  if (found) return found;
  const length = dimsOf(view, name)?.[axis];
  const from = length === undefined && steps > 0 ? sourcesOf(view, name, axis) : [];
  const origins =
    length !== undefined
      ? new Set([`${length}`])
      : new Set(from.flatMap(([source, at]) => [...follow(view, all, source, at, steps - 1)]));
  const result = origins.size > 0 ? origins : new Set([key]);
  all.set(key, result);
  return result;
}

/** Axes that are as long as one of a value, or 1. */
function sourcesOf(view: GraphView, name: string, axis: number): readonly (readonly [name: string, axis: number])[] {
  const node = view.producer(name);
  if (!node || (node.domain !== '' && node.domain !== 'com.microsoft')) return [];
  const { op, inputs } = node;
  if (alike.has(op)) return name === node.outputs[0] ? [[inputs[0], axis]] : [];
  const ranks = inputs.map((input) => dimsOf(view, input)?.length);
  if (broadcasting.has(op)) {
    const most = Math.max(...ranks.map((one) => one ?? Number.NaN));
    return inputs.flatMap((input, i) => {
      const at = axis - most + ranks[i]!;
      return at >= 0 && dimsOf(view, input)?.[at] !== 1 ? [[input, at] as const] : [];
    });
  }
  const rank = dimsOf(view, name)?.length ?? 0;
  if (op === 'MatMul') return ranks[1] === 2 && axis < rank - 1 ? [[inputs[0], axis]] : [];
  if (op === 'Gather')
    return ranks[0] === 2 && axis < (ranks[1] ?? 0) && !node.number('axis') ? [[inputs[1], axis]] : [];
  if (op === 'Transpose') return node.integers('perm') ? [[inputs[0], node.integers('perm')![axis]]] : [];
  return op === 'Reshape' ? reshapedFrom(view, node, axis) : [];
}

function reshapedFrom(view: GraphView, node: Node, axis: number): readonly (readonly [string, number])[] {
  const { inputs } = node;
  const allowzero = node.number('allowzero');
  const part = askedOf(view, inputs[1])?.[axis];
  // allowzero is for shapes with a length of 0, where nothing is as long as it was.
  if (part === 0 && !allowzero) return [[inputs[0], axis]];
  return part === undefined || typeof part === 'number' ? [] : [part];
}

/** A length that a Reshape asks for: a number (0: as it is, -1: what is left), or an axis of a value. */
export type Asked = number | readonly [name: string, axis: number];

/** The lengths that a value asks for; undefined where they are not known one by one. */
export function askedOf(view: GraphView, name: string): readonly (Asked | undefined)[] | undefined {
  const value = uncast(view, name);
  const numbers = view.numbers(value);
  if (numbers) return numbers;
  const node = view.producer(value);
  if (node?.op !== 'Concat') return undefined;
  return node.inputs.flatMap((input): readonly (Asked | undefined)[] => {
    const part = uncast(view, input);
    return view.numbers(part) ?? [lengthOf(view, part)];
  });
}

/** The axis that Unsqueeze(Gather(Shape(value), axis)) asks about. */
function lengthOf(view: GraphView, name: string): Asked | undefined {
  const unsqueeze = view.producer(name);
  const source = unsqueeze?.op === 'Unsqueeze' ? uncast(view, unsqueeze.inputs[0]) : name;
  const gather = view.producer(source);
  const shape = gather?.op === 'Gather' ? view.producer(gather.inputs[0]) : undefined;
  const at = gather && view.scalar(gather.inputs[1]);
  if (shape?.op !== 'Shape' || at === undefined || shape.number('start') || shape.number('end') !== undefined) {
    return undefined;
  }
  const rank = dimsOf(view, shape.inputs[0])?.length;
  const axis = at < 0 ? (rank === undefined ? undefined : at + rank) : at;
  return axis === undefined ? undefined : [shape.inputs[0], axis];
}

function uncast(view: GraphView, name: string): string {
  const node = view.producer(name);
  return node?.op === 'Cast' || node?.op === 'Identity' ? uncast(view, node.inputs[0]) : name;
}
