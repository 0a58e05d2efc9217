// Models whose attention stays with onnxruntime, which runs them: each has another reason. Reader: someone who adds a reason.

import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { Message } from '../../dist/adapters/onnx/message.js';
import { elementTypes, modelFields, opsetFields } from '../../dist/adapters/onnx/numbers.js';
import { bytesField, integerField, textField } from '../../dist/adapters/onnx/wire.js';
import { floats } from './single.mjs';

const operands = [floats('q', 2, 3, 5, 8), floats('k', 2, 3, 7, 8), floats('v', 2, 3, 7, 6)];

const one = (name, number) => makeTensor(name, 'float32', [], Float32Array.of(number));

/** softmax(q·kᵀ …) v. @param scores nodes that make `s` of q and kT @param behind nodes that make `w` of `p` */
const pieces = (scores, inputs = operands, behind = [makeNode('Identity', ['p'], ['w'])]) =>
  makeModel({
    opset: 17,
    nodes: [
      makeNode('Transpose', ['k'], ['kT'], { perm: [0, 1, 3, 2] }),
      ...scores,
      makeNode('Softmax', ['s'], ['p'], { axis: -1 }),
      ...behind,
      makeNode('MatMul', ['w', 'v'], ['y']),
    ],
    initializers: [one('zero', 0), one('ten', 10)],
    inputs: inputs.map((input) => makeValueInfo(...input)),
    outputs: [makeValueInfo('y', 'float32')],
  });

const product = makeNode('MatMul', ['q', 'kT'], ['s']);

/** An operator of a domain that nobody knows, and the function that the model has for it. */
function ownOperator() {
  const [name, input, output, node, opset, domain] = [1, 4, 5, 7, 9, 10];
  const body = [
    makeNode('Transpose', ['k'], ['kT'], { perm: [0, 1, 3, 2] }),
    product,
    makeNode('Softmax', ['s'], ['p'], { axis: -1 }),
    makeNode('MatMul', ['p', 'v'], ['y']),
  ];
  const opsetOf = (of, version) =>
    new Message('OperatorSetIdProto', [textField(opsetFields.domain, of), integerField(opsetFields.version, version)])
      .bytes;
  const fields = [
    textField(name, 'FlashAttention'),
    ...['q', 'k', 'v'].map((one) => textField(input, one)),
    textField(output, 'y'),
    ...body.map(({ bytes }) => bytesField(node, bytes)),
    bytesField(opset, opsetOf('', 17)),
    textField(domain, 'my.ops'),
  ];
  const model = makeModel({
    opset: 17,
    nodes: [makeNode('FlashAttention', ['q', 'k', 'v'], ['y'], {}, 'my.ops')],
    inputs: operands.map((one) => makeValueInfo(...one)),
    outputs: [makeValueInfo('y', 'float32')],
  });
  const imports = model.all(modelFields.opsetImport);
  return model.with({
    [modelFields.functions]: [bytesField(modelFields.functions, new Message('FunctionProto', fields).bytes)],
    [modelFields.opsetImport]: [...imports, bytesField(modelFields.opsetImport, opsetOf('my.ops', 1))],
  });
}

export const failures = {
  'an unknown domain': ownOperator(),
  'dynamic heads': pieces(
    [product],
    operands.map(([name, type, [batch, , tokens, dim]]) => [name, type, [batch, 'heads', tokens, dim]]),
  ),
  'a mask of rank 5': pieces(
    [makeNode('MatMul', ['q', 'kT'], ['t']), makeNode('Add', ['t', 'bias'], ['s'])],
    [...operands, floats('bias', 1, 2, 1, 5, 7)],
  ),
  'quantized products': pieces([
    makeNode('DynamicQuantizeLinear', ['q'], ['qi', 'qs', 'qz']),
    makeNode('DynamicQuantizeLinear', ['kT'], ['ki', 'ks', 'kz']),
    makeNode('MatMulInteger', ['qi', 'ki', 'qz', 'kz'], ['i']),
    makeNode('Cast', ['i'], ['f'], { to: 1 }),
    makeNode('Mul', ['qs', 'ks'], ['scale']),
    makeNode('Mul', ['f', 'scale'], ['s']),
  ]),
  'rounded scores': pieces([
    makeNode('MatMul', ['q', 'kT'], ['t']),
    makeNode('Cast', ['t'], ['i'], { to: elementTypes.int32 }),
    makeNode('Cast', ['i'], ['s'], { to: elementTypes.float32 }),
  ]),
  'true and false for weights': pieces([product], operands, [
    makeNode('Cast', ['p'], ['b'], { to: elementTypes.bool }),
    makeNode('Where', ['b', 'ten', 'zero'], ['w']),
  ]),
  'weights that are hidden': pieces([product], operands, [
    makeNode('Greater', ['s', 'zero'], ['positive']),
    makeNode('Where', ['positive', 'p', 'zero'], ['w']),
  ]),
  'weights that are read elsewhere': makeModel({
    opset: 17,
    nodes: [
      makeNode('Transpose', ['k'], ['kT'], { perm: [0, 1, 3, 2] }),
      product,
      makeNode('Softmax', ['s'], ['p'], { axis: -1 }),
      makeNode('MatMul', ['p', 'v'], ['a']),
      makeNode('ReduceMax', ['p'], ['most'], { keepdims: 0 }),
      makeNode('Add', ['a', 'most'], ['y']),
    ],
    inputs: operands.map((one) => makeValueInfo(...one)),
    outputs: [makeValueInfo('y', 'float32')],
  }),
};
