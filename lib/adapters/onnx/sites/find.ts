// Every attention of a model, as a list.
// Reader: someone who starts here. The forms are in decomposed.ts and fused.ts; words in site.ts.

import { TilewiseRangeError } from '../../../check/errors.js';
import { GraphView } from '../graph-view.js';
import type { Model } from '../model.js';
import type { Node } from '../node.js';
import { matchSoftmax } from './decomposed.js';
import { matchOperator } from './fused.js';
import type { Site, Swap } from './site.js';

/**
 * Finds every attention of a model, in the order of its nodes. Sites that attention() cannot say have a reason.
 * @param folder of the model, where external data is
 */
export function findSites(model: Model, folder?: string): Site[] {
  const view = new GraphView(model, folder);
  return view.graph.nodes.flatMap((node) => siteOf(view, node) ?? []);
}

function siteOf(view: GraphView, node: Node): Site | undefined {
  try {
    const isSoftmax = node.op === 'Softmax' && node.domain === '';
    const site = isSoftmax ? matchSoftmax(view, node) : matchOperator(view, node);
    if (site?.swap) checkReadable(view, site.swap);
    return site;
  } catch (error) {
    // A constant that decides is in a file that is not there, or is not what it says.
    if (!(error instanceof TilewiseRangeError)) throw error;
    const unknown = { queryHeads: undefined, kvHeads: undefined, headDim: undefined, valueDim: undefined };
    const kind = node.op === 'Softmax' ? 'decomposed' : 'other';
    return { node: node.name || node.outputs[0], kind, ...unknown, mask: 'none', reason: error.message };
  }
}

/** Refuses constants in a file that is not there. onnxruntime is given only those that it reads itself. */
function checkReadable(view: GraphView, { q, k, v, masks }: Swap): void {
  for (const { value } of [q, k, v, ...masks]) {
    const constant = view.constant(value);
    if (constant?.external) constant.data(view.folder);
  }
}
