// Memory between segments: what a run is done with, the next segment or the next run writes.
// Reader: someone who asks whether results can change later. Only values between segments come from here, never what a caller
// gets or gave; memory belongs to one run from take() to give(), so that runs in flight do not meet.

import type { Ort, OrtTensor } from '../ort.js';

/** The array that a type's numbers are in, by onnxruntime's own tensors; undefined for types of which this makes none. */
const arrays: Readonly<Record<string, new (size: number) => ArrayLike<unknown>>> = {
  float32: Float32Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  float64: Float64Array,
  int64: BigInt64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

/** A tensor as it will be. */
export class TensorKind {
  /** The same of all tensors of a kind. */
  readonly key: string;

  private constructor(
    readonly type: string,
    readonly dims: readonly number[],
  ) {
    this.key = `${type} ${dims.join()}`;
  }

  /** undefined: a type that no memory is made for. */
  static of(type: string, dims: readonly number[]): TensorKind | undefined {
    return Object.hasOwn(arrays, type) ? new TensorKind(type, dims) : undefined;
  }
}

/** A kind's tensors that nobody reads. */
interface Shelf {
  readonly tensors: OrtTensor[];
  /** The last run that took one. */
  run: number;
}

/** What all runs of a session share. */
export class SharedMemory {
  readonly #shelves = new Map<string, Shelf>();
  #runs = 0;

  constructor(readonly ort: Ort) {}

  /** Memory for one run. */
  begin(): RunMemory {
    return new RunMemory(this, ++this.#runs);
  }

  take(kind: TensorKind, run: number): OrtTensor {
    const shelf = this.#shelves.get(kind.key) ?? { tensors: [], run };
    this.#shelves.set(kind.key, shelf);
    shelf.run = Math.max(shelf.run, run);
    return shelf.tensors.pop() ?? this.#make(kind);
  }

  give(tensor: OrtTensor, kind: TensorKind): void {
    this.#shelves.get(kind.key)?.tensors.push(tensor);
  }

  /** Lets go of what the last runs had no use for. */
  end(run: number): void {
    for (const [key, shelf] of this.#shelves) if (shelf.run < run) this.#shelves.delete(key);
  }

  #make({ type, dims }: TensorKind): OrtTensor {
    const data = new arrays[type](dims.reduce((product, length) => product * length, 1));
    return new this.ort.Tensor(type as never, data as never, dims);
  }
}

/** Memory of a run. */
export class RunMemory {
  readonly #taken = new Map<OrtTensor, TensorKind>();

  constructor(
    readonly shared: SharedMemory,
    readonly run: number,
  ) {}

  /** A tensor with numbers of an earlier run, or zeros. */
  take(kind: TensorKind): OrtTensor {
    const tensor = this.shared.take(kind, this.run);
    this.#taken.set(tensor, kind);
    return tensor;
  }

  /** Takes back what nobody reads any more, if it was taken here. */
  give(tensor: OrtTensor): void {
    const kind = this.#taken.get(tensor);
    if (!kind || !this.#taken.delete(tensor)) return;
    this.shared.give(tensor, kind);
  }

  end(): void {
    this.shared.end(this.run);
  }
}
