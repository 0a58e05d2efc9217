// The exporters' graphs, with the inputs and outputs that PyTorch had. Reader: the programs beside this file.

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ort from 'onnxruntime-node';

const folder = new URL('../fixtures/', import.meta.url);
export const graphs = readdirSync(folder).filter((name) => name.endsWith('.onnx'));
export const pathOf = (graph) => fileURLToPath(new URL(graph, folder));

/** onnxruntime says nothing about what it thinks of the graphs. */
export const quiet = { logSeverityLevel: 3 };

const arrays = {
  int64: (data) => BigInt64Array.from(data, BigInt),
  float32: (data) => Float32Array.from(data),
};

/** The feeds of a graph, and the output that it had. */
export function caseOf(graph) {
  const { inputs, y } = JSON.parse(readFileSync(`${pathOf(graph)}.json`, 'utf8'));
  const feeds = inputs.map(({ name, type, dims, data }) => [name, new ort.Tensor(type, arrays[type](data), dims)]);
  return { feeds: Object.fromEntries(feeds), y };
}

/** The largest difference; NaN differs from everything. */
export function differenceOf(got, want) {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < want.length; ++i) {
    const difference = Math.abs(got[i] - want[i]);
    if (!(difference <= worst)) worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return worst;
}
