// Makes the messages of a model: nodes, tensors, values, graphs.
// Reader: someone who writes a graph by hand, or cuts one. Only what is given is written; onnxruntime has the defaults.
// Source: onnx.proto of onnx/onnx.

import { Message } from './message.js';
import {
  attributeFields,
  attributeTypes,
  dimFields,
  type ElementType,
  elementTypes,
  graphFields,
  modelFields,
  nodeFields,
  opsetFields,
  shapeFields,
  tensorFields,
  tensorTypeFields,
  typeFields,
  valueInfoFields,
} from './numbers.js';
import { bytesField, type Field, floatField, integerField, textField, writeFields } from './wire.js';

/** A whole number is an int; `{ float: 1 }` says that one is a float. A Message is a tensor, `{ graph }` a graph. */
export type AttributeSetting =
  | number
  | { readonly float: number }
  | { readonly graph: Message }
  | string
  | readonly number[]
  | Message;

const part = (number: number, fields: readonly Field[]): Field => bytesField(number, writeFields(fields));
const messages = (number: number, parts: readonly Message[]): Field[] =>
  parts.map(({ bytes }) => bytesField(number, bytes));

function settingFields(setting: AttributeSetting): Field[] {
  const typed = (type: keyof typeof attributeTypes) => integerField(attributeFields.type, attributeTypes[type]);
  if (typeof setting === 'string') return [textField(attributeFields.s, setting), typed('string')];
  if (setting instanceof Message) return [bytesField(attributeFields.t, setting.bytes), typed('tensor')];
  if (typeof setting === 'number' && Number.isInteger(setting)) {
    return [integerField(attributeFields.i, setting), typed('int')];
  }
  if (typeof setting === 'number') return [floatField(attributeFields.f, setting), typed('float')];
  if ('graph' in setting) return [bytesField(attributeFields.g, setting.graph.bytes), typed('graph')];
  if ('float' in setting) return [floatField(attributeFields.f, setting.float), typed('float')];
  return [...setting.map((value) => integerField(attributeFields.ints, value)), typed('ints')];
}

/**
 * A node. An empty name leaves out an optional input.
 * @param attributes their values by name
 */
export function makeNode(
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, AttributeSetting>> = {},
  domain = '',
): Message {
  return new Message('NodeProto', [
    ...inputs.map((name) => textField(nodeFields.input, name)),
    ...outputs.map((name) => textField(nodeFields.output, name)),
    textField(nodeFields.opType, op),
    ...Object.entries(attributes).map(([name, setting]) =>
      part(nodeFields.attribute, [textField(attributeFields.name, name), ...settingFields(setting)]),
    ),
    textField(nodeFields.domain, domain),
  ]);
}

/** A tensor that is part of the model; its memory is copied. */
export function makeTensor(name: string, type: ElementType, dims: readonly number[], data: ArrayBufferView): Message {
  return new Message('TensorProto', [
    ...dims.map((length) => integerField(tensorFields.dims, length)),
    integerField(tensorFields.dataType, elementTypes[type]),
    textField(tensorFields.name, name),
    bytesField(tensorFields.rawData, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  ]);
}

function dimensionFields(dim: number | string | undefined): Field[] {
  if (dim === undefined) return [];
  return [typeof dim === 'number' ? integerField(dimFields.value, dim) : textField(dimFields.param, dim)];
}

/** An input or output. @param type, dims lengths, names of lengths, undefined for others; absent: onnxruntime infers them, of outputs */
export function makeValueInfo(
  name: string,
  type?: ElementType,
  dims?: readonly (number | string | undefined)[],
): Message {
  if (type === undefined) return new Message('ValueInfoProto', [textField(valueInfoFields.name, name)]);
  const shape = dims?.map((dim) => part(shapeFields.dim, dimensionFields(dim)));
  const tensor = [
    integerField(tensorTypeFields.elemType, elementTypes[type]),
    ...(shape ? [part(tensorTypeFields.shape, shape)] : []),
  ];
  return new Message('ValueInfoProto', [
    textField(valueInfoFields.name, name),
    part(valueInfoFields.type, [part(typeFields.tensorType, tensor)]),
  ]);
}

/** What a model is made of. */
export interface ModelParts {
  readonly nodes: readonly Message[];
  readonly initializers?: readonly Message[];
  readonly inputs: readonly Message[];
  readonly outputs: readonly Message[];
  /** Version of ONNX's own operators; those of com.microsoft are imported beside them. */
  readonly opset: number;
}

/** A model of one graph. */
export function makeModel({ nodes, initializers = [], inputs, outputs, opset }: ModelParts): Message {
  const graph = [
    ...messages(graphFields.node, nodes),
    textField(graphFields.name, 'graph'),
    ...messages(graphFields.initializer, initializers),
    ...messages(graphFields.input, inputs),
    ...messages(graphFields.output, outputs),
  ];
  const opsetImport = (domain: string, version: number) =>
    part(modelFields.opsetImport, [textField(opsetFields.domain, domain), integerField(opsetFields.version, version)]);
  return new Message('ModelProto', [
    // The version that an opset came with: 8 with 17, 11 with 23.
    integerField(modelFields.irVersion, opset >= 23 ? 11 : 8),
    textField(modelFields.producerName, 'tilewise'),
    part(modelFields.graph, graph),
    opsetImport('', opset),
    opsetImport('com.microsoft', 1),
  ]);
}
