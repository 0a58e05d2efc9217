// Models of one operator. Reader: the files beside this one that make models.

import { makeModel, makeNode, makeValueInfo } from '../../dist/adapters/onnx/make.js';

export const floats = (name, ...dims) => [name, 'float32', dims];

/** A model of one node whose inputs are the model's; Neg is around it, so that there is something to cut. */
export function single(op, inputs, attributes, { domain = '', opset = 23 } = {}) {
  const given = inputs.filter(Boolean);
  const nodes = [
    makeNode('Neg', [given[0][0]], ['negative']),
    makeNode(op, ['negative', ...inputs.slice(1).map((input) => input?.[0] ?? '')], ['a'], attributes, domain),
    makeNode('Neg', ['a'], ['y']),
  ];
  const infos = given.map((input) => makeValueInfo(...input));
  return makeModel({ opset, nodes, inputs: infos, outputs: [makeValueInfo('y', 'float32')] });
}
