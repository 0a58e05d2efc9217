// The nodes that sites have inside their operators, as nodes of the graph in front of them.
// Reader: someone who asks where a projection went. Sites that stay with onnxruntime keep their operators as they are.

import { GraphView } from '../../onnx/graph-view.js';
import type { Model } from '../../onnx/model.js';
import { Node } from '../../onnx/node.js';
import type { SwappedSite } from './cut.js';

/** A model, and its graph. */
export interface Viewed {
  readonly model: Model;
  readonly view: GraphView;
}

/** The model with the nodes that its sites read. */
export function withNodesBefore({ model, view }: Viewed, sites: readonly SwappedSite[]): Viewed {
  const before = new Map(sites.map(({ swap }) => [swap.out.value, swap.before ?? []]));
  if ([...before.values()].every((nodes) => nodes.length === 0)) return { model, view };
  const nodes = model.graph.nodes.flatMap((node) => [
    ...node.outputs.flatMap((output) => before.get(output) ?? []).map((message) => new Node(message)),
    node,
  ]);
  const whole = { ...model, graph: { ...model.graph, nodes } };
  return { model: whole, view: new GraphView(whole, view.folder) };
}
