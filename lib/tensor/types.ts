// The types of tensors: element types, and what passes for a tensor.
// Reader: someone who wants to know what goes in and comes out. No code: every file may import these.

/** The global Float16Array where the compiler and the runtime know it, else Uint16Array with the bits. */
export type Float16Data = typeof globalThis extends { Float16Array: { prototype: infer T } }
  ? T | Uint16Array
  : Uint16Array;

/** Element types and the typed arrays that hold them. */
export interface DataTypes {
  float32: Float32Array;
  /** IEEE half precision: Float16Array where it exists, or Uint16Array with the bits. */
  float16: Float16Data;
  /** The upper half of a float32, as bits in a Uint16Array. */
  bfloat16: Uint16Array;
  int32: Int32Array;
  /** Lengths and page tables, as exporters and tokenizers write them. */
  int64: BigInt64Array;
  uint8: Uint8Array;
  /** One byte per element, 0 is false. */
  bool: Uint8Array;
}
/** What a Node Buffer has beyond other byte arrays: its bytes are read as the elements of a tensor. */
export interface BufferLike extends Uint8Array {
  readFloatLE(offset?: number): number;
}
export type DataType = keyof DataTypes;
/** Element types of queries, keys, values and outputs. */
export type FloatType = 'float32' | 'float16' | 'bfloat16';

/**
 * Anything shaped like a tensor: `{ type, data, dims }` as onnxruntime and transformers.js have it, or
 * `{ dtype, data, shape }` as NumPy readers have it. `strides` and `offset` count elements; without them the data is
 * read in row-major order and must hold exactly as many elements as the dims say.
 */
export interface TensorLike {
  readonly type?: string;
  readonly dtype?: string;
  readonly data: unknown;
  readonly dims?: ArrayLike<number>;
  readonly shape?: ArrayLike<number>;
  /** Elements from one index of an axis to the next; negative runs backwards, 0 repeats (inputs only). */
  readonly strides?: ArrayLike<number>;
  /** The element that index 0 of every axis falls on. */
  readonly offset?: number;
  /** `'cpu'` or `'strided'`, unless it is a device tensor of our own. */
  readonly location?: string;
}

/** The element type of a tensor; any of `All` where the compiler does not know. */
export type ElementOf<Q, All extends DataType = FloatType> = Q extends { readonly type: infer E extends All }
  ? E
  : Q extends { readonly dtype: infer E extends All }
    ? E
    : All;

/** A class that results can be given as: `ort.Tensor`, transformers.js's `Tensor`, ours. */
export type TensorConstructor<T> = new (type: never, data: never, dims: never) => T;
