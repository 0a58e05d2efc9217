// Small graphs whose attention is looked for. Reader: the tests of sites beside this file.

import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import type { Message } from '../../dist/adapters/onnx/message.js';
import { readModel } from '../../dist/adapters/onnx/model.js';
import type { ElementType } from '../../dist/adapters/onnx/numbers.js';
import { findSites } from '../../dist/adapters/onnx/sites/find.js';
import type { Site } from '../../dist/adapters/onnx/sites/site.js';

export type Input = [name: string, type: ElementType, dims: (number | string)[]];
const heads = (name: string): Input => [name, 'float32', ['batch', 4, 'tokens', 16]];
/** q, k and v of four heads of 16. */
export const operands: Input[] = ['q', 'k', 'v'].map(heads);
/** One number, as an initializer. */
export const one = (name: string, value: number): Message => makeTensor(name, 'float32', [], Float32Array.of(value));

/** The sites of a model. */
export function sitesOf(
  nodes: Message[],
  initializers: Message[] = [],
  more: Input[] = [],
  outputs = ['y'],
  opset = 17,
): Site[] {
  const inputs = [...operands, ...more].map(([name, type, dims]) => makeValueInfo(name, type, dims));
  const out = outputs.map((name) => makeValueInfo(name, 'float32'));
  return findSites(readModel(makeModel({ opset, nodes, initializers, inputs, outputs: out }).bytes));
}

/** softmax(f(q·kᵀ)) v, where `between` makes `s` of `qk`. */
export function decomposed(between: Message[], initializers: Message[] = [], more: Input[] = []): Site[] {
  const nodes = [
    makeNode('Transpose', ['k'], ['kT'], { perm: [0, 1, 3, 2] }),
    makeNode('MatMul', ['q', 'kT'], ['qk']),
    ...between,
    makeNode('Softmax', ['s'], ['p'], { axis: -1 }),
    makeNode('MatMul', ['p', 'v'], ['y']),
  ];
  return sitesOf(nodes, initializers, more);
}
