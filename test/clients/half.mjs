// A float32 model as a float16 one: weights, constants and the values between; what the caller sees stays float32.
// Reader: someone whose float16 model gives other numbers. Optionally the softmax keeps float32, as exporters write it.
// Numbers beyond float16's largest become its largest, as other converters do; infinities stay.

import { makeNode, makeTensor } from '../../dist/adapters/onnx/make.js';
import { readModel } from '../../dist/adapters/onnx/model.js';
import {
  attributeFields,
  elementTypes,
  graphFields,
  modelFields,
  nodeFields,
  tensorTypeFields,
  typeFields,
  valueInfoFields,
} from '../../dist/adapters/onnx/numbers.js';
import { StoredTensor } from '../../dist/adapters/onnx/tensor.js';
import { bytesField, integerField, textField } from '../../dist/adapters/onnx/wire.js';

const { float32, float16 } = elementTypes;
const largest = 65504;

/** The bits of the nearest float16, to even where two are as near. */
export function toHalf(number) {
  const sign = number < 0 || Object.is(number, -0) ? 0x8000 : 0;
  const size = Math.abs(number);
  if (Number.isNaN(size)) return 0x7e00;
  if (size === Number.POSITIVE_INFINITY) return sign | 0x7c00;
  if (size >= largest) return sign | 0x7bff;
  const exponent = Math.max(-14, Math.floor(Math.log2(size || 2 ** -24)));
  // Steps of 2^-10 of the power of two below; a number that rounds up to the next one carries into the exponent by itself.
  const scaled = size / 2 ** (exponent - 10);
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const steps = floor + Number(rest > 0.5 || (rest === 0.5 && floor % 2 === 1));
  return sign | (exponent === -14 ? steps : ((exponent + 14) << 10) + steps);
}

const halfTensor = (message) => {
  const tensor = new StoredTensor(message);
  if (tensor.type !== 'float32') return message;
  return makeTensor(tensor.name, 'float16', tensor.dims, Uint16Array.from(tensor.data(), toHalf));
};

/** An attribute: a tensor of floats, or the type that a Cast or a random number has. */
function halfAttribute(op, attribute) {
  const tensor = attribute.message(attributeFields.t, 'TensorProto');
  if (tensor) {
    return attribute.with({ [attributeFields.t]: [bytesField(attributeFields.t, halfTensor(tensor).bytes)] });
  }
  const isType = op === 'Cast' && attribute.integer(attributeFields.i) === float32;
  return isType ? attribute.with({ [attributeFields.i]: [integerField(attributeFields.i, float16)] }) : attribute;
}

const renamed = (names, number, rename) => names.map((name) => textField(number, rename(name)));

function halfNode(node, rename) {
  const attributes = node.message
    .messages(nodeFields.attribute, 'AttributeProto')
    .map((attribute) => bytesField(nodeFields.attribute, halfAttribute(node.op, attribute).bytes));
  return node.message.with({
    [nodeFields.input]: renamed(node.inputs, nodeFields.input, rename),
    [nodeFields.output]: renamed(node.outputs, nodeFields.output, rename),
    [nodeFields.attribute]: attributes,
  });
}

/** A softmax between two Casts. */
const wideSoftmax = (message) => {
  const [input, output] = [message.text(nodeFields.input), message.text(nodeFields.output)];
  return [
    makeNode('Cast', [input], [`${output}/wide_scores`], { to: float32 }),
    message.with({
      [nodeFields.input]: [textField(nodeFields.input, `${output}/wide_scores`)],
      [nodeFields.output]: [textField(nodeFields.output, `${output}/wide`)],
    }),
    makeNode('Cast', [`${output}/wide`], [output], { to: float16 }),
  ];
};

function halfInfo({ message, type }) {
  if (type !== 'float32') return message;
  const [outer, inner] = [valueInfoFields.type, typeFields.tensorType];
  const typeOf = message.message(outer, 'TypeProto');
  const tensor = typeOf.message(inner, 'TypeProto.Tensor');
  const half = tensor.with({ [tensorTypeFields.elemType]: [integerField(tensorTypeFields.elemType, float16)] });
  return message.with({
    [outer]: [bytesField(outer, typeOf.with({ [inner]: [bytesField(inner, half.bytes)] }).bytes)],
  });
}

/** @param isWide whether each softmax keeps float32 */
export function halfModel(bytes, isWide) {
  const { graph, message } = readModel(bytes);
  const floats = (infos) => infos.filter(({ type }) => type === 'float32').map(({ name }) => name);
  const [inputs, outputs] = [floats(graph.inputs), floats(graph.outputs)];
  const outside = new Set([...inputs, ...outputs]);
  const rename = (name) => (outside.has(name) ? `${name}/half` : name);
  const nodes = [
    ...inputs.map((name) => makeNode('Cast', [name], [rename(name)], { to: float16 })),
    ...graph.nodes.flatMap((node) => {
      const half = halfNode(node, rename);
      return isWide && node.op === 'Softmax' ? wideSoftmax(half) : [half];
    }),
    ...outputs.map((name) => makeNode('Cast', [rename(name)], [name], { to: float32 })),
  ];
  const parts = (number, messages) => messages.map((part) => bytesField(number, part.bytes));
  const half = graph.message.with({
    [graphFields.node]: parts(graphFields.node, nodes),
    [graphFields.initializer]: parts(
      graphFields.initializer,
      graph.initializers.map((tensor) => halfTensor(tensor.message)),
    ),
    [graphFields.valueInfo]: parts(graphFields.valueInfo, graph.valueInfos.map(halfInfo)),
  });
  return message.with({ [modelFields.graph]: parts(modelFields.graph, [half]) }).bytes;
}
