// Nodes that an operator has inside itself, written out: the product with its weights, and its bias.
// Reader: someone who asks where a projection runs. It goes into the segment before the site, so that onnxruntime runs it.
// One product stays one: queries, keys and values are parts of its output, and nothing is copied.

import type { GraphView } from '../../graph-view.js';
import { makeNode, makeTensor } from '../../make.js';
import type { Message } from '../../message.js';

/** A value, and the nodes that make it. */
export interface Made {
  readonly value: string;
  readonly nodes: readonly Message[];
}

/** A name that no value of the graph has. */
function nameFor(view: GraphView, output: string, what: string): string {
  const isTaken = (name: string) =>
    view.producer(name) !== undefined || view.infos.has(name) || view.initializers.has(name);
  let name = `${output}/${what}`;
  while (isTaken(name)) name += '_';
  return name;
}

/** input * weights + bias. @param output the operator's, which the new values are named after */
export function project(
  view: GraphView,
  output: string,
  input: string,
  weights: string,
  bias: string | undefined,
): Made {
  const product = nameFor(view, output, 'product');
  const matMul = makeNode('MatMul', [input, weights], [product]);
  if (bias === undefined) return { value: product, nodes: [matMul] };
  const value = nameFor(view, output, 'projected');
  return { value, nodes: [matMul, makeNode('Add', [product, bias], [value])] };
}

/**
 * value + the elements [begin, begin + length) of a bias.
 * @param what a name for the sum
 */
export function addBias(
  view: GraphView,
  output: string,
  what: string,
  value: string,
  bias: string,
  { begin, length }: { readonly begin: number; readonly length: number },
): Made {
  const [indices, part, sum] = ['indices', 'bias', 'sum'].map((kind) => nameFor(view, output, `${what}_${kind}`));
  const numbers = BigInt64Array.from({ length }, (_, i) => BigInt(begin + i));
  // Gather means the same in every opset, and Slice does not.
  const nodes = [
    makeNode('Constant', [], [indices], { value: makeTensor('', 'int64', [length], numbers) }),
    makeNode('Gather', [bias, indices], [part]),
    makeNode('Add', [value, part], [sum]),
  ];
  return { value: sum, nodes };
}
