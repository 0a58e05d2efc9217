// The exporters' graphs with a window written into their masks, as a model that was trained with one has it.
// Reader: someone who changes the option `pattern` of fuse(). A number is added in front of each softmax, or the mask that an
// Attention has is cut down.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { makeNode, makeTensor } from '../../dist/adapters/onnx/make.js';
import { readModel } from '../../dist/adapters/onnx/model.js';
import { graphFields, modelFields, nodeFields } from '../../dist/adapters/onnx/numbers.js';
import { bytesField, textField } from '../../dist/adapters/onnx/wire.js';

/** Graphs whose masks say causal order or padding, at the lengths that they were exported with. */
const graphs = [
  ...['bert-eager-script17', 'bert-sdpa-dynamo18', 'gpt2-eager-script17', 'gpt2-sdpa-dynamo23'],
  ...['llama-eager-dynamo18', 'llama-sdpa-script17'],
].map((name) => `${name}.onnx`);
const tokens = 12;

/** What is written, and what pattern.mjs asks for: keys from `left` before a query to `right` behind it, and the first `sinkTokens`. */
const windows = {
  narrow: { left: 3, right: 2, sinkTokens: 0 },
  'with sinks': { left: 2, right: 0, sinkTokens: 2 },
};

const bytesOf = ({ left, right, sinkTokens }) =>
  Uint8Array.from({ length: tokens * tokens }, (_, i) => {
    const [query, key] = [Math.floor(i / tokens), i % tokens];
    return Number(key <= query + right && (key >= query - left || key < sinkTokens));
  });

/** A node that reads another value at an input. */
const reading = ({ inputs, message }, at, name) =>
  message.with({ [nodeFields.input]: inputs.map((input, i) => textField(nodeFields.input, i === at ? name : input)) });

function windowed(bytes, window) {
  const { graph, message } = readModel(bytes);
  const shown = bytesOf(window);
  const dims = [1, 1, tokens, tokens];
  const nodes = graph.nodes.flatMap((node, i) => {
    if (node.op === 'Softmax') {
      return [makeNode('Add', [node.inputs[0], 'window'], [`windowed${i}`]), reading(node, 0, `windowed${i}`)];
    }
    if (node.op !== 'Attention') return [node.message];
    return [makeNode('And', [node.inputs[3], 'shown'], [`windowed${i}`]), reading(node, 3, `windowed${i}`)];
  });
  const initializers = [
    ...graph.initializers.map((tensor) => tensor.message),
    makeTensor(
      'window',
      'float32',
      dims,
      Float32Array.from(shown, (is) => (is ? 0 : -1e30)),
    ),
    makeTensor('shown', 'bool', dims, shown),
  ];
  const parts = (number, messages) => messages.map((part) => bytesField(number, part.bytes));
  const inner = graph.message.with({
    [graphFields.node]: parts(graphFields.node, nodes),
    [graphFields.initializer]: parts(graphFields.initializer, initializers),
  });
  return message.with({ [modelFields.graph]: parts(modelFields.graph, [inner]) }).bytes;
}

/** Writes the graphs with each window. @param source the folder of the graphs */
export function writeWindowed(source, target) {
  mkdirSync(target, { recursive: true });
  for (const graph of graphs) {
    for (const [name, window] of Object.entries(windows)) {
      writeFileSync(path.join(target, `${name}, ${graph}`), windowed(readFileSync(path.join(source, graph)), window));
    }
  }
}
