// Writes ONNX models: the few fields of ModelProto that a one-node graph needs, in protobuf's wire format.
// Reader: someone who adds a peer graph. Field numbers are those of onnx.proto3 (onnx/onnx on GitHub).
const utf8 = new TextEncoder();
const elementTypes = { float32: 1, int32: 6, int64: 7, bool: 9, float16: 10 };
const attributeTypes = { float: 1, int: 2 };

function varint(n) {
  const bytes = [];
  for (let rest = BigInt.asUintN(64, BigInt(n)); ; rest >>= 7n) {
    if (rest < 0x80n) return Uint8Array.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 0x7fn) | 0x80);
  }
}

const join = (...parts) => new Uint8Array(Buffer.concat(parts.flat(Infinity)));
const integer = (field, n) => join(varint(field << 3), varint(n));
const float = (field, x) => join(varint((field << 3) | 5), new Uint8Array(new Float32Array([x]).buffer));
const message = (field, bytes) => join(varint((field << 3) | 2), varint(bytes.length), bytes);
const text = (field, string) => message(field, utf8.encode(string));

// ValueInfoProto: name=1 type=2; TypeProto: tensor_type=1; Tensor: elem_type=1 shape=2; Dimension: dim_value=1
function valueInfo({ name, type, dims }) {
  const shape = join(dims.map((d) => message(1, integer(1, d))));
  return join(text(1, name), message(2, message(1, join(integer(1, elementTypes[type]), message(2, shape)))));
}

// AttributeProto: name=1 f=2 i=3 ints=8 type=20
function attribute(name, value) {
  if (Array.isArray(value))
    return join(
      text(1, name),
      value.map((x) => integer(8, x)),
      integer(20, 7),
    );
  if (Number.isInteger(value)) return join(text(1, name), integer(3, value), integer(20, attributeTypes.int));
  return join(text(1, name), float(2, value), integer(20, attributeTypes.float));
}

/** NodeProto: input=1 output=2 op_type=4 attribute=5 domain=7. An empty input name leaves out an optional input. */
export function node(op, inputs, outputs, attributes = {}, domain = '') {
  return join(
    inputs.map((name) => text(1, name)),
    outputs.map((name) => text(2, name)),
    text(4, op),
    Object.entries(attributes).map(([name, value]) => message(5, attribute(name, value))),
    domain ? text(7, domain) : [],
  );
}

/** TensorProto: dims=1 data_type=2 name=8 raw_data=9. */
export function constant(name, type, dims, data) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return join(
    dims.map((d) => integer(1, d)),
    integer(2, elementTypes[type]),
    text(8, name),
    message(9, bytes),
  );
}

/**
 * ModelProto: ir_version=1 producer_name=2 graph=7 opset_import=8; GraphProto: node=1 name=2 initializer=5 input=11 output=12.
 * @param {object} model
 * @param {Uint8Array[]} model.nodes from node() @param {Uint8Array[]} [model.constants] from constant()
 * @param {{name: string, type: string, dims: number[]}[]} model.inputs @param {object[]} model.outputs likewise
 * @param {number} model.opset version of the ai.onnx operators; com.microsoft's are imported beside them
 * @returns {Uint8Array} the bytes of an .onnx file
 */
export function model({ nodes, constants = [], inputs, outputs, opset }) {
  const graph = join(
    nodes.map((n) => message(1, n)),
    text(2, 'graph'),
    constants.map((c) => message(5, c)),
    inputs.map((i) => message(11, valueInfo(i))),
    outputs.map((o) => message(12, valueInfo(o))),
  );
  const irVersion = opset >= 23 ? 11 : 8;
  const imports = [
    ['', opset],
    ['com.microsoft', 1],
  ].map(([domain, version]) => message(8, join(text(1, domain), integer(2, version))));
  return join(integer(1, irVersion), text(2, 'tilewise bench'), message(7, graph), imports);
}
