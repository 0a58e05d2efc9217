// openSafetensors(): a file of weights, of which a tensor's bytes are read when it is asked for.
// Reader: someone who brings weights. Assumes that the file stays as it is while it is in use; a change of its size is noticed.

import { show, TilewiseRangeError, TilewiseTypeError } from '../../check/errors.js';
import { invalid } from '../../check/validate.js';
import { Tensor } from '../../tensor/tensor.js';
import type { DataType, DataTypes } from '../../tensor/types.js';
import { malformed, pathOf, readRange, sizeOfFile } from '../files.js';
import { type Header, readHeader, readHeaderLength, type SafetensorsEntry, tensorTypes } from './format.js';

/** Where the bytes of a file come from. */
interface Source {
  readonly what: string;
  readonly size: number;
  /** How many bytes it has now. */
  sizeNow(): number;
  /** Copies a range. */
  read(offset: number, length: number): ArrayBuffer;
}

/** The arrays that a Tensor is made of here. */
const arrays = {
  float32: Float32Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const satisfies Record<DataType, unknown>;

/** A safetensors file. Only its header is in memory; nothing needs to be closed. */
export class SafetensorsFile {
  /** What the writer noted: strings by name. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The tensors by name: their `dtype`, `dims`, and where their bytes are. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly #source: Source;

  /** @internal */
  constructor(source: Source, header: Header) {
    this.#source = source;
    this.metadata = header.metadata;
    this.entries = header.entries;
  }

  /**
   * Reads a tensor.
   * @returns its numbers in new memory: F32, F16, BF16, I32, I64, U8 and BOOL
   * @throws {RangeError} ERR_TILEWISE_INVALID_OPTION for a name that is not in `entries`, ERR_TILEWISE_INVALID_FILE
   * @throws {TypeError} ERR_TILEWISE_DTYPE for other types, whose bytes() can be read
   */
  tensor(name: string): Tensor {
    const { dtype, dims } = this.#entry(name);
    const type = tensorTypes[dtype];
    if (!type) {
      const message = `Tensor '${name}' is ${dtype}, which no Tensor has; bytes('${name}') has its bytes`;
      throw new TilewiseTypeError('ERR_TILEWISE_DTYPE', message);
    }
    const data = new arrays[type](this.#read(name));
    return new Tensor(type, data as DataTypes[DataType], dims);
  }

  /**
   * Reads the bytes of a tensor of any type.
   * @throws {RangeError} ERR_TILEWISE_INVALID_OPTION for a name that is not in `entries`, ERR_TILEWISE_INVALID_FILE
   */
  bytes(name: string): Uint8Array {
    return new Uint8Array(this.#read(name));
  }

  #read(name: string): ArrayBuffer {
    const { offset, length } = this.#entry(name);
    const { what, size } = this.#source;
    const now = this.#source.sizeNow();
    if (now !== size) throw malformed(what, `it had ${size} bytes when it was opened, and has ${now}`);
    return this.#source.read(offset, length);
  }

  #entry(name: string): SafetensorsEntry {
    const entry = this.entries.get(name);
    if (entry) return entry;
    const message = `${this.#source.what} has no tensor ${show(name)}; \`entries\` has the names`;
    throw new TilewiseRangeError('ERR_TILEWISE_INVALID_OPTION', message);
  }
}

/**
 * Opens a safetensors file and reads its header. Every size in it is checked against the file before memory is asked for.
 * @param source a path, a file: URL, or the bytes of a file, which are not copied
 * @throws {RangeError} ERR_TILEWISE_INVALID_FILE for a file that is not what the format asks for, or that cannot be read
 * @throws {TypeError} ERR_TILEWISE_INVALID_OPTION for another kind of source
 */
export function openSafetensors(source: string | URL | Uint8Array): SafetensorsFile {
  const from = source instanceof Uint8Array ? memory(source) : file(source);
  const { what, size } = from;
  if (size < 8) throw malformed(what, `a file of ${size} bytes`);
  const length = readHeaderLength(what, new Uint8Array(from.read(0, 8)), size);
  return new SafetensorsFile(from, readHeader(what, new Uint8Array(from.read(8, length)), size));
}

const memory = (bytes: Uint8Array): Source => ({
  what: 'The safetensors file',
  size: bytes.length,
  // Its buffer may be handed to another thread, or made smaller.
  sizeNow: () => bytes.length,
  read: (offset, length) => new Uint8Array(bytes.subarray(offset, offset + length)).buffer,
});

function file(source: string | URL): Source {
  if (typeof source !== 'string' && !(source instanceof URL)) {
    throw invalid('source', 'a path, a file: URL or the bytes of a file in a Uint8Array', source);
  }
  const path = pathOf('source', source);
  const what = `The safetensors file '${path}'`;
  const sizeNow = () => sizeOfFile(path, what);
  return { what, size: sizeNow(), sizeNow, read: (offset, length) => readRange(path, what, offset, length) };
}
