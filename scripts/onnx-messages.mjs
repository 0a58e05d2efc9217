// The messages of ONNX's files, as far as this repository reads and writes them; protobufjs does the wire format.
// Reader: the ONNX conformance cases and the benchmarks' peer graphs. Field numbers are those of onnx.proto (onnx/onnx).
import protobuf from 'protobufjs/light.js';

const one = (type, id) => ({ type, id });
const many = (type, id) => ({ rule: 'repeated', type, id });

const { nested } = protobuf.Root.fromJSON({
  nested: {
    ModelProto: {
      fields: {
        irVersion: one('int64', 1),
        producerName: one('string', 2),
        graph: one('GraphProto', 7),
        opsetImport: many('OperatorSetIdProto', 8),
      },
    },
    OperatorSetIdProto: { fields: { domain: one('string', 1), version: one('int64', 2) } },
    GraphProto: {
      fields: {
        node: many('NodeProto', 1),
        name: one('string', 2),
        initializer: many('TensorProto', 5),
        input: many('ValueInfoProto', 11),
        output: many('ValueInfoProto', 12),
      },
    },
    NodeProto: {
      fields: {
        input: many('string', 1),
        output: many('string', 2),
        opType: one('string', 4),
        attribute: many('AttributeProto', 5),
        domain: one('string', 7),
      },
    },
    AttributeProto: {
      fields: {
        name: one('string', 1),
        f: one('float', 2),
        i: one('int64', 3),
        s: one('bytes', 4),
        ints: many('int64', 8),
        type: one('int32', 20),
      },
    },
    TensorProto: {
      fields: {
        dims: many('int64', 1),
        dataType: one('int32', 2),
        name: one('string', 8),
        rawData: one('bytes', 9),
      },
    },
    ValueInfoProto: { fields: { name: one('string', 1), type: one('TypeProto', 2) } },
    TypeProto: { fields: { tensorType: one('TensorTypeProto', 1) } },
    TensorTypeProto: { fields: { elemType: one('int32', 1), shape: one('TensorShapeProto', 2) } },
    TensorShapeProto: { fields: { dim: many('DimensionProto', 1) } },
    DimensionProto: { fields: { dimValue: one('int64', 1) } },
  },
});

/** Types of attributes and of elements, by ONNX's numbers. */
export const attributeTypes = { float: 1, int: 2, ints: 7 };
export const elementTypes = { float32: 1, uint8: 2, int32: 6, int64: 7, bool: 9, float16: 10, bfloat16: 16 };

/** The bytes of a message. @param {string} type its name in onnx.proto @param {object} fields plain values */
export function write(type, fields) {
  const message = nested[type];
  const error = message.verify(fields);
  if (error) throw new Error(`${type}: ${error}`);
  return message.encode(message.fromObject(fields)).finish();
}

/** A message as a plain object: repeated fields are arrays, numbers are numbers, absent fields are undefined. */
export function read(type, bytes) {
  return nested[type].toObject(nested[type].decode(bytes), { longs: Number, arrays: true });
}
