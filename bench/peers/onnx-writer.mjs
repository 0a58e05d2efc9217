// ONNX models of a few nodes: the operators that peers run.
// Reader: someone who adds a peer graph. The messages are those of scripts/onnx-messages.mjs.
import { attributeTypes, elementTypes, write } from '../../scripts/onnx-messages.mjs';

const valueInfo = ({ name, type, dims }) => ({
  name,
  type: { tensorType: { elemType: elementTypes[type], shape: { dim: dims.map((dimValue) => ({ dimValue })) } } },
});

function attribute([name, value]) {
  if (Array.isArray(value)) return { name, ints: value, type: attributeTypes.ints };
  if (Number.isInteger(value)) return { name, i: value, type: attributeTypes.int };
  return { name, f: value, type: attributeTypes.float };
}

/** A node of a graph. An empty input name leaves out an optional input. */
export const node = (opType, input, output, attributes = {}, domain = '') => ({
  input,
  output,
  opType,
  attribute: Object.entries(attributes).map(attribute),
  domain,
});

/** A tensor that is part of the model. */
export const constant = (name, type, dims, data) => ({
  name,
  dims,
  dataType: elementTypes[type],
  rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
});

/**
 * @param {object} model
 * @param {object[]} model.nodes from node() @param {object[]} [model.constants] from constant()
 * @param {{name: string, type: string, dims: number[]}[]} model.inputs @param {object[]} model.outputs likewise
 * @param {number} model.opset version of the ai.onnx operators; com.microsoft's are imported beside them
 * @returns {Uint8Array} the bytes of an .onnx file
 */
export const model = ({ nodes, constants = [], inputs, outputs, opset }) =>
  write('ModelProto', {
    irVersion: opset >= 23 ? 11 : 8,
    producerName: 'tilewise bench',
    graph: {
      node: nodes,
      name: 'graph',
      initializer: constants,
      input: inputs.map(valueInfo),
      output: outputs.map(valueInfo),
    },
    opsetImport: [
      { domain: '', version: opset },
      { domain: 'com.microsoft', version: 1 },
    ],
  });
