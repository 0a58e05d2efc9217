// The part of an operand's memory that a call reads or writes, for calls that are made again with other memory.
// Reader: someone who follows a repeated call. Assumes that all else of the operand, its type, dims and strides, stays as it was.

import { isResizable, typedArrayName } from '../tensor/typed-arrays.js';
import type { TensorData } from '../tensor/views.js';

export class MemoryPart {
  readonly #kind: string | undefined;
  readonly #length: number;
  readonly #begin: number;
  readonly #end: number;

  /** @param data the part, a view of `whole` */
  constructor(data: TensorData, whole: TensorData) {
    this.#kind = typedArrayName(whole);
    this.#length = whole.length;
    this.#begin = (data.byteOffset - whole.byteOffset) / whole.BYTES_PER_ELEMENT;
    this.#end = this.#begin + data.length;
  }

  /** The same part of other memory; undefined where that is of another kind or size. */
  of(memory: TensorData): TensorData | undefined {
    if (typedArrayName(memory) !== this.#kind || memory.length !== this.#length || isResizable(memory))
      return undefined;
    return this.#begin === 0 && this.#end === this.#length ? memory : memory.subarray(this.#begin, this.#end);
  }
}
