// Sites with what explain() says of them: at the lengths that the graph has, and at those that were asked for where a run decides.
// Reader: someone who asks where the numbers of `tilewise onnx` come from.

import { GraphView } from '../../dist/adapters/onnx/graph-view.js';
import { dimsOf } from '../../dist/adapters/onnx/shapes.js';
import { findSites } from '../../dist/adapters/onnx/sites/find.js';
import { causal, explain, full } from '../../dist/index.js';

/** The lengths of an operand's [batch, tokens]; undefined where a run decides. */
function lengthsOf(view, { value, order }) {
  const dims = dimsOf(view, value) ?? [];
  const [batch, tokens] = order ? [order[0], order[2]] : [0, 1];
  return [dims[batch], dims[tokens]];
}

/** The sizes of a site's call. @param tokens where a run decides */
function shapeOf(view, { swap, queryHeads, kvHeads, headDim, valueDim }, tokens) {
  const [batch = 1, queries = tokens] = lengthsOf(view, swap.q);
  const [, keys = tokens] = lengthsOf(view, swap.k);
  return { batch, queries, keys, queryHeads, kvHeads, headDim, valueDim: valueDim ?? headDim };
}

/**
 * By what factor the mask alone could make attention faster. The model says it, or a run: then it is from `least` to `most`.
 * Numbers that are added hide nothing.
 */
function gainOf({ mask }, shape, explained) {
  const least = explained.idealSpeedup.average;
  if (mask === 'boolean') return { least, most: explain(causal({ align: 'top-left' }), shape).idealSpeedup.average };
  return { least, most: mask === 'padding' ? undefined : least };
}

function explained(view, site, tokens) {
  const { swap, ...rest } = site;
  const known = [site.queryHeads, site.kvHeads, site.headDim].every((size) => size !== undefined);
  if (!swap || !known) return { ...rest, isSwappable: swap !== undefined };
  const shape = shapeOf(view, site, tokens);
  const pattern = site.mask === 'causal' ? causal({ align: 'top-left' }) : full();
  const explanation = explain(pattern, shape);
  const scoreBytes = 4 * shape.batch * shape.queryHeads * shape.queries * shape.keys;
  return { ...rest, isSwappable: true, shape, explanation, scoreBytes, gain: gainOf(site, shape, explanation) };
}

/** Every attention of a model. Where one is swappable: `shape`, `explanation`, bytes of scores that are not written, `gain`. */
export function explainedSites(model, folder, tokens) {
  const view = new GraphView(model, folder);
  return findSites(model, folder).map((site) => explained(view, site, tokens));
}
