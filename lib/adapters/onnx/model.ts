// ModelProto: an .onnx file, with the parts of its graph that others look at.
// Reader: someone who starts from a file. What is not read here is still in `message`, and is written back as it was.
// Source: onnx.proto of onnx/onnx. A model is at most 2 GB; larger ones have external data beside it.

import { show, TilewiseTypeError } from '../../check/errors.js';
import { malformed } from '../files.js';
import { Message } from './message.js';
import { Node } from './node.js';
import {
  dimFields,
  type ElementType,
  elementName,
  graphFields,
  modelFields,
  opsetFields,
  shapeFields,
  tensorTypeFields,
  typeFields,
  valueInfoFields,
} from './numbers.js';
import { StoredTensor } from './tensor.js';

/** A value's name, type and dims as far as the model says them. */
export interface ValueInfo {
  readonly name: string;
  /** undefined: not said, not listed in numbers.ts, or no tensor. */
  readonly type: ElementType | undefined;
  /** Lengths, names of lengths, undefined for a length that is not said; undefined: not even how many. */
  readonly dims: readonly (number | string | undefined)[] | undefined;
  readonly message: Message;
}

/** A graph: of a model, or inside a node. */
export interface Graph {
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly initializers: readonly StoredTensor[];
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  /** What the exporter knew of the values between. */
  readonly valueInfos: readonly ValueInfo[];
  readonly message: Message;
}

/** A model. */
export interface Model {
  readonly irVersion: number;
  /** Versions of operators by domain; ONNX's own is ''. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly graph: Graph;
  readonly message: Message;
  /** The model's own file, if weights were left in it: they are external data there. */
  readonly file?: string;
}

/**
 * Reads an .onnx file's bytes, without copying them.
 * @param file that has weights which the bytes have not
 * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_FILE, with the message and the byte at fault
 */
export function readModel(bytes: Uint8Array, file?: string): Model {
  if (!(bytes instanceof Uint8Array)) {
    const message = `An ONNX model must be the bytes of a file in a Uint8Array, not ${show(bytes)}`;
    throw new TilewiseTypeError('ERR_TILEWISE_INVALID_FILE', message);
  }
  const message = Message.read('ModelProto', bytes);
  const graph = message.message(modelFields.graph, 'GraphProto');
  if (!graph) throw malformed('ModelProto', 'it has no graph');
  const opsets = message.messages(modelFields.opsetImport, 'OperatorSetIdProto').map((opset) => {
    const domain = opset.text(opsetFields.domain) ?? '';
    return [domain === 'ai.onnx' ? '' : domain, opset.integer(opsetFields.version) ?? 0] as const;
  });
  const irVersion = message.integer(modelFields.irVersion) ?? 0;
  return { irVersion, opsets: new Map(opsets), graph: readGraph(graph), message, ...(file && { file }) };
}

/** Reads a GraphProto. */
export function readGraph(message: Message): Graph {
  const infos = (number: number) => message.messages(number, 'ValueInfoProto').map(readValueInfo);
  return {
    name: message.text(graphFields.name) ?? '',
    nodes: message.messages(graphFields.node, 'NodeProto').map((node) => new Node(node)),
    initializers: message.messages(graphFields.initializer, 'TensorProto').map((tensor) => new StoredTensor(tensor)),
    inputs: infos(graphFields.input),
    outputs: infos(graphFields.output),
    valueInfos: infos(graphFields.valueInfo),
    message,
  };
}

function readValueInfo(message: Message): ValueInfo {
  const name = message.text(valueInfoFields.name) ?? '';
  const tensor = message.message(valueInfoFields.type, 'TypeProto')?.message(typeFields.tensorType, 'TypeProto.Tensor');
  const shape = tensor?.message(tensorTypeFields.shape, 'TensorShapeProto');
  const dims = shape
    ?.messages(shapeFields.dim, 'TensorShapeProto.Dimension')
    .map((dim) => dim.integer(dimFields.value) ?? dim.text(dimFields.param));
  return { name, type: elementName(tensor?.integer(tensorTypeFields.elemType) ?? 0), dims, message };
}
