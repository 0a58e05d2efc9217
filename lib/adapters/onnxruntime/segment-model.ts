// A segment as a model of its own: the whole model's bytes, with other nodes, inputs and outputs.
// Reader: someone whose segment does not load. Versions, functions and everything unknown stay; weights are those that are read.

import type { GraphView } from '../onnx/graph-view.js';
import { makeValueInfo } from '../onnx/make.js';
import type { Message } from '../onnx/message.js';
import type { Model } from '../onnx/model.js';
import { type ElementType, graphFields, modelFields } from '../onnx/numbers.js';
import { bytesField, type Field } from '../onnx/wire.js';
import type { Segment } from './cut.js';

const parts = (number: number, messages: readonly Message[]): Field[] =>
  messages.map(({ bytes }) => bytesField(number, bytes));

/** @param typeOf element types of values that come from outside */
export function segmentModel(
  model: Model,
  view: GraphView,
  { nodes, needs, gives }: Segment,
  typeOf: (name: string) => ElementType | undefined,
): Uint8Array {
  const { graph } = model;
  const read = new Set(nodes.flatMap((node) => view.reads(node)));
  const made = new Set(nodes.flatMap(({ outputs }) => outputs));
  const given = new Set(gives);
  const infos = (names: readonly string[]) =>
    names.map((name) => view.infos.get(name)?.message ?? makeValueInfo(name, typeOf(name)));
  const inner = graph.message.with({
    [graphFields.node]: parts(
      graphFields.node,
      nodes.map(({ message }) => message),
    ),
    [graphFields.initializer]: parts(
      graphFields.initializer,
      graph.initializers.filter(({ name }) => read.has(name)).map(({ message }) => message),
    ),
    [graphFields.input]: parts(graphFields.input, infos(needs)),
    [graphFields.output]: parts(graphFields.output, infos(gives)),
    [graphFields.valueInfo]: parts(
      graphFields.valueInfo,
      graph.valueInfos.filter(({ name }) => made.has(name) && !given.has(name)).map(({ message }) => message),
    ),
  });
  return model.message.with({ [modelFields.graph]: parts(modelFields.graph, [inner]) }).bytes;
}
