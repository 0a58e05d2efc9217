// TensorProto: the numbers of an initializer, a constant or a test case, inside the message or in a file beside the model.
// Reader: someone whose weights do not load. Numbers are read only when data() is called.
// Source: onnx.proto and "External Data" of onnx/onnx.

import { allocating, TilewiseTypeError } from '../../check/errors.js';
import { malformed } from '../files.js';
import { type ExternalData, readExternalData, readReference } from './external.js';
import { Message } from './message.js';
import { type ElementType, elementName, externalLocation, tensorFields as fields } from './numbers.js';

/** The arrays that elements are read into. Those of 16-bit floats keep their bits. */
const arrays = {
  float32: Float32Array,
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  bool: Uint8Array,
  float16: Uint16Array,
  float64: Float64Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  bfloat16: Uint16Array,
} as const;
export type TensorArray = InstanceType<(typeof arrays)[keyof typeof arrays]>;

const copyOf = (bytes: Uint8Array | undefined): ArrayBuffer | undefined =>
  bytes && allocating(() => new Uint8Array(bytes)).buffer;

/** A tensor of a model. */
export class StoredTensor {
  readonly name: string;
  /** undefined: an element type that numbers.ts does not list. */
  readonly type: ElementType | undefined;
  readonly dims: readonly number[];
  /** Where the numbers are, if they are not in the model. */
  readonly external: ExternalData | undefined;

  constructor(readonly message: Message) {
    this.name = message.text(fields.name) ?? '';
    this.type = elementName(message.integer(fields.dataType) ?? 0);
    this.dims = message.integers(fields.dims);
    if (this.dims.some((length) => length < 0)) {
      throw malformed(message.what, `'${this.name}' has dims [${this.dims.join(', ')}]`);
    }
    const isExternal = message.integer(fields.dataLocation) === externalLocation;
    this.external = isExternal ? readReference(message) : undefined;
  }

  /** Reads the bytes of a file that is one TensorProto. */
  static read(bytes: Uint8Array): StoredTensor {
    return new StoredTensor(Message.read('TensorProto', bytes));
  }

  /** Elements: the product of the dims. */
  get size(): number {
    return this.dims.reduce((product, length) => product * length, 1);
  }

  /**
   * Reads the numbers into new memory.
   * @param folder of the model, where external data is
   * @throws {TypeError} ERR_TILEWISE_DTYPE for strings and for types that are not listed
   * @throws {RangeError} ERR_TILEWISE_INVALID_FILE if there are not as many as the dims say, or the other file lacks them
   */
  data(folder?: string): TensorArray {
    const { type } = this;
    if (type === undefined || type === 'string') {
      const message = `Tensor '${this.name}' has ONNX's data type ${this.message.integer(fields.dataType)}, which is not read here`;
      throw new TilewiseTypeError('ERR_TILEWISE_DTYPE', message);
    }
    const Kind = arrays[type];
    const bytes = this.external
      ? readExternalData(this.external, this.size * Kind.BYTES_PER_ELEMENT, folder)
      : copyOf(this.message.bytesOf(fields.rawData));
    if (bytes && bytes.byteLength % Kind.BYTES_PER_ELEMENT !== 0) {
      throw malformed('TensorProto', `'${this.name}' ends within an element`);
    }
    const data = bytes ? new Kind(bytes) : this.#typed(type);
    if (data.length === this.size) return data;
    throw malformed('TensorProto', `'${this.name}' has dims [${this.dims.join(', ')}] and ${data.length} elements`);
  }

  /** Numbers in the field of their own that each type has. */
  #typed(type: Exclude<ElementType, 'string'>): TensorArray {
    const { message } = this;
    switch (type) {
      case 'float32':
        return Float32Array.from(message.floats(fields.floatData));
      case 'float64':
        return Float64Array.from(message.doubles(fields.doubleData));
      case 'int64':
        return BigInt64Array.from(message.bigints(fields.int64Data));
      case 'uint64':
        return BigUint64Array.from(message.bigints(fields.uint64Data));
      case 'uint32':
        return Uint32Array.from(message.integers(fields.uint64Data));
      default:
        return arrays[type].from(message.integers(fields.int32Data));
    }
  }
}
