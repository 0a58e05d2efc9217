// Tables whose rows several segments look up: each segment would hold one of its own, so that it is fed to all of them instead.
// Reader: someone whose model takes more memory than in onnxruntime alone. Weights of products are no matter: onnxruntime packs them
// for each product that reads them, whole models too. Nor are weights in files beside the model, which it maps into memory.

import type { GraphView } from '../../onnx/graph-view.js';
import type { ElementType } from '../../onnx/numbers.js';
import type { StoredTensor } from '../../onnx/tensor.js';
import type { Segment, Stage } from './cut.js';

/** A table of fewer bytes is not worth a feed in every run. */
const leastBytes = 2 ** 16;

/** Types that tensors of onnxruntime have, and the bytes of a number. */
const sizes: Partial<Record<ElementType, number>> = {
  ...{ float32: 4, float16: 2, float64: 8, int64: 8, int32: 4, int8: 1, uint8: 1, bool: 1 },
};

/** Operators that read rows where they are. */
const isLookup = new Set(['Gather', 'GatherElements', 'GatherND']);

/** The stages of a cut, with tables that several segments look up among what these need. @param file the model's own */
export function withSharedTables(view: GraphView, stages: readonly Stage[], file: string | undefined): Stage[] {
  const lookedUp = new Map(stages.map((stage) => [stage, tablesOf(view, stage.segment, file)]));
  const times = new Map<string, number>();
  for (const name of [...lookedUp.values()].flat()) times.set(name, (times.get(name) ?? 0) + 1);
  return stages.map(({ segment, sites }, i) => {
    const shared = lookedUp.get(stages[i])!.filter((name) => times.get(name)! > 1);
    return { segment: segment && { ...segment, needs: [...segment.needs, ...shared] }, sites };
  });
}

/** Initializers of which a segment reads rows, and nothing else. */
function tablesOf(view: GraphView, segment: Segment | undefined, file: string | undefined): string[] {
  if (!segment) return [];
  const [tables, others] = [new Set<string>(), new Set<string>()];
  for (const node of segment.nodes) {
    const isRead = isLookup.has(node.op) && node.domain === '' && node.inputs[0] !== node.inputs[1];
    for (const name of view.reads(node)) (isRead && name === node.inputs[0] ? tables : others).add(name);
  }
  return [...tables].filter((name) => {
    const table = view.initializers.get(name);
    return table && !others.has(name) && !segment.gives.includes(name) && isWorthIt(table, file);
  });
}

function isWorthIt({ external, type, size }: StoredTensor, file: string | undefined): boolean {
  const isBeside = external !== undefined && (file === undefined || external.location !== file);
  return !isBeside && size * ((type && sizes[type]) ?? 0) >= leastBytes;
}
