// Slabs: memory of which many small arrays are parts, for what crosses to native code in every call.
// Reader: someone who asks what a call allocates. A part is never given out twice. Idea: Node's Buffers, one allocation for
// many. A small typed array of its own is made inside the collector's heap, and is moved out, into a buffer that the
// collector then has to watch, when native code asks where it is.

type Numbers = Float64Array | Int32Array;

class Slab<T extends Numbers> {
  readonly #make: (length: number) => T;
  readonly #length: number;
  #rest: T;
  #taken = 0;

  constructor(length: number, make: (length: number) => T) {
    this.#make = make;
    this.#length = length;
    this.#rest = make(0);
  }

  /** Zeros. */
  take(count: number): T {
    if (this.#taken + count > this.#rest.length) {
      this.#rest = this.#make(Math.max(this.#length, count));
      this.#taken = 0;
    }
    this.#taken += count;
    return this.#rest.subarray(this.#taken - count, this.#taken) as T;
  }
}

const floats = new Slab(8192, (length) => new Float64Array(length));
const integers = new Slab(8192, (length) => new Int32Array(length));

/** Numbers of a request. */
export const takeNumbers = (count: number): Float64Array => floats.take(count);

/** Lengths, tables and slots of a call; long ones have memory of their own. */
export const takeIntegers = (count: number): Int32Array =>
  count > 1024 ? new Int32Array(count) : integers.take(count);
