// Just enough protobuf to read ONNX models and tensors: the wire format, and the messages of onnx.proto by field number.
// Reader: someone whose file does not load. Unknown fields are skipped, as protobuf wants it.

/** Yields [field number, value]: a BigInt for varints, bytes for everything else. */
function* fieldsOf(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  const take = (length) => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const wireType = key & 7;
    if (wireType === 0) yield [key >>> 3, varint()];
    else if (wireType === 1) yield [key >>> 3, take(8)];
    else if (wireType === 2) yield [key >>> 3, take(Number(varint()))];
    else if (wireType === 5) yield [key >>> 3, take(4)];
    else throw new Error(`protobuf wire type ${wireType} at byte ${at}`);
  }
}

const text = (bytes) => new TextDecoder().decode(bytes);
const integer = (value) => Number(BigInt.asIntN(64, value));
const float = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);

/** A repeated int64: packed into bytes, or one element of it. */
function integers(value) {
  if (typeof value === 'bigint') return [integer(value)];
  const list = [];
  let current = 0n;
  let shift = 0n;
  for (const byte of value) {
    current |= BigInt(byte & 127) << shift;
    shift += 7n;
    if (byte < 128) {
      list.push(integer(current));
      current = 0n;
      shift = 0n;
    }
  }
  return list;
}

/** TensorProto.data_type to our names, and the typed array that raw_data becomes. */
const elementTypes = {
  1: ['float32', Float32Array],
  2: ['uint8', Uint8Array],
  7: ['int64', BigInt64Array],
  9: ['bool', Uint8Array],
  10: ['float16', Uint16Array],
  16: ['bfloat16', Uint16Array],
};

/** A TensorProto as `{ type, data, dims }`; only raw_data is read, which is what ONNX's own test data uses. */
export function readTensor(bytes) {
  const dims = [];
  let dataType = 0;
  let raw = new Uint8Array(0);
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === 1) dims.push(...integers(value));
    else if (field === 2) dataType = Number(value);
    else if (field === 9) raw = value;
  }
  const known = elementTypes[dataType];
  if (!known) throw new Error(`tensor of ONNX data type ${dataType}, which this reader does not know`);
  const [type, TypedArray] = known;
  const data = new TypedArray(new Uint8Array(raw).buffer);
  const size = dims.reduce((product, dim) => product * dim, 1);
  if (data.length !== size) throw new Error(`tensor of dims [${dims}] with ${data.length} elements in raw_data`);
  return { type, data, dims };
}

function readAttribute(bytes) {
  const attribute = {};
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === 1) attribute.name = text(value);
    else if (field === 2) attribute.value = float(value);
    else if (field === 3) attribute.value = integer(value);
    else if (field === 4) attribute.value = text(value);
  }
  return attribute;
}

function readNode(bytes) {
  const node = { inputs: [], outputs: [], op: '', attributes: {} };
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === 1) node.inputs.push(text(value));
    else if (field === 2) node.outputs.push(text(value));
    else if (field === 4) node.op = text(value);
    else if (field === 5) {
      const { name, value: setting } = readAttribute(value);
      node.attributes[name] = setting;
    }
  }
  return node;
}

function readName(bytes) {
  for (const [field, value] of fieldsOf(bytes)) if (field === 1) return text(value);
  return '';
}

/** A ModelProto as `{ nodes, inputs, outputs }`; inputs and outputs are the names of the graph's. */
export function readModel(bytes) {
  const model = { nodes: [], inputs: [], outputs: [] };
  for (const [field, graph] of fieldsOf(bytes)) {
    if (field !== 7) continue;
    for (const [part, value] of fieldsOf(graph)) {
      if (part === 1) model.nodes.push(readNode(value));
      else if (part === 11) model.inputs.push(readName(value));
      else if (part === 12) model.outputs.push(readName(value));
    }
  }
  return model;
}
