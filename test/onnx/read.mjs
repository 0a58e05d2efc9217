// ONNX models and tensors as the conformance cases need them.
// Reader: someone whose file does not load. The messages are those of scripts/onnx-messages.mjs.
import { elementTypes, read } from '../../scripts/onnx-messages.mjs';

/** What raw_data becomes. */
const arrays = {
  float32: Float32Array,
  uint8: Uint8Array,
  int64: BigInt64Array,
  bool: Uint8Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
};
const typeOf = (code) => Object.keys(elementTypes).find((type) => elementTypes[type] === code);

/** A TensorProto as `{ type, data, dims }`; only raw_data is read, which is what ONNX's own test data uses. */
export function readTensor(bytes) {
  const { dims, dataType, rawData = new Uint8Array(0) } = read('TensorProto', bytes);
  const type = typeOf(dataType);
  if (!arrays[type]) throw new Error(`tensor of ONNX data type ${dataType}, which this reader does not know`);
  const data = new arrays[type](Uint8Array.from(rawData).buffer);
  const size = dims.reduce((product, dim) => product * dim, 1);
  if (data.length !== size) throw new Error(`tensor of dims [${dims}] with ${data.length} elements in raw_data`);
  return { type, data, dims };
}

const settingOf = ({ f, i, s }) => f ?? i ?? (s && new TextDecoder().decode(s));

/** A ModelProto as `{ nodes, inputs, outputs }`; inputs and outputs are the names of the graph's. */
export function readModel(bytes) {
  const { graph } = read('ModelProto', bytes);
  const nodes = graph.node.map(({ input, output, opType, attribute }) => ({
    inputs: input,
    outputs: output,
    op: opType ?? '',
    attributes: Object.fromEntries(attribute.map((entry) => [entry.name, settingOf(entry)])),
  }));
  return { nodes, inputs: graph.input.map(({ name }) => name), outputs: graph.output.map(({ name }) => name) };
}
