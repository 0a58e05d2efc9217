// A segment as a model of its own: the whole model's bytes, with other nodes, inputs and outputs.
// Reader: someone whose segment does not load. Versions, functions and everything unknown stay; weights are those that are read,
// and those that were left in the model's file are read from it when the pieces are put together.

import path from 'node:path';
import type { GraphView } from '../../onnx/graph-view.js';
import { makeValueInfo } from '../../onnx/make.js';
import type { Message } from '../../onnx/message.js';
import type { Model, ValueInfo } from '../../onnx/model.js';
import { type ElementType, graphFields, modelFields, tensorFields } from '../../onnx/numbers.js';
import { fieldOf, type Piece, piecesOf } from '../../onnx/pieces.js';
import type { StoredTensor } from '../../onnx/tensor.js';
import type { Segment } from './cut.js';

const parts = (number: number, messages: readonly Message[]): Piece[] =>
  messages.flatMap((message) => fieldOf(number, piecesOf(message)));

/**
 * What is known of a value that crosses a cut. onnxruntime makes one operator of several where it knows how many dims there are,
 * and which have a fixed length.
 */
export interface Crossing {
  readonly type: ElementType | undefined;
  readonly dims?: ValueInfo['dims'];
}

/** @param crossingOf values that come from outside */
export function segmentModel(
  model: Model,
  view: GraphView,
  { nodes, needs, gives }: Segment,
  crossingOf: (name: string) => Crossing | undefined,
): Piece[] {
  const { graph } = model;
  const read = new Set(nodes.flatMap((node) => view.reads(node)));
  const made = new Set(nodes.flatMap(({ outputs }) => outputs));
  const given = new Set(gives);
  const needed = new Set(needs);
  const infos = (names: readonly string[]) =>
    names.map((name) => {
      const { type, dims } = crossingOf(name) ?? {};
      return view.infos.get(name)?.message ?? makeValueInfo(name, type, dims);
    });
  const inner = piecesOf(graph.message, {
    [graphFields.node]: parts(
      graphFields.node,
      nodes.map(({ message }) => message),
    ),
    [graphFields.initializer]: graph.initializers
      .filter(({ name }) => read.has(name) && !needed.has(name))
      .flatMap((tensor) => fieldOf(graphFields.initializer, tensorPieces(tensor, model.file))),
    [graphFields.input]: parts(graphFields.input, infos(needs)),
    [graphFields.output]: parts(graphFields.output, infos(gives)),
    [graphFields.valueInfo]: parts(
      graphFields.valueInfo,
      graph.valueInfos.filter(({ name }) => made.has(name) && !given.has(name)).map(({ message }) => message),
    ),
  });
  return piecesOf(model.message, { [modelFields.graph]: fieldOf(modelFields.graph, inner) });
}

/** A weight; one that was left in the model's file with its numbers. */
function tensorPieces({ message, external }: StoredTensor, file: string | undefined): Piece[] {
  const isLeft = file !== undefined && external?.location === path.basename(file) && external.length !== undefined;
  if (!isLeft) return piecesOf(message);
  const numbers = { path: file, offset: external.offset, length: external.length! };
  return piecesOf(message, {
    ...{ [tensorFields.dataLocation]: [], [tensorFields.externalData]: [] },
    [tensorFields.rawData]: fieldOf(tensorFields.rawData, [numbers]),
  });
}
