// A present: a tensor of onnxruntime whose numbers are in a cache, and are copied out when somebody reads them.
// Reader: someone who asks what a run returns for `present`. Passing one around costs nothing; one that was read is fed back as
// the numbers that the reader has, because he may have changed them.

import { Tensor } from '../../../tensor/tensor.js';
import type { FloatType } from '../../../tensor/types.js';
import { sizeOf } from '../../../tensor/views.js';
import type { Ort, OrtTensor } from '../ort.js';

/** The first tokens of a cache, as a run left them: its two presents are of these. */
export interface Snapshot {
  /** Tokens of each sequence. */
  readonly lengths: readonly number[];
  /** The keys or the values, [batch, kvHeads, tokens, dim]. */
  read(part: 'keys' | 'values'): Tensor<FloatType>;
  /** Adds a hold, for one more tensor. */
  hold(): void;
  /** Ends the hold that one of its tensors has on the memory. */
  release(): void;
}

/** A present, and what it shows. */
export interface PresentForm {
  readonly part: 'keys' | 'values';
  readonly type: FloatType;
  /** Which axes of the tensor are [batch, kvHeads, tokens, dim]. */
  readonly order: readonly number[];
  /** In the tensor's own order; behind the tokens of a sequence are zeros. */
  readonly dims: readonly number[];
}

/** What a tensor of onnxruntime has that is used here. */
interface Base {
  readonly location: string;
  dispose(): void;
}

/** What a present is of, and how it shows it. */
export interface Shown {
  readonly snapshot: Snapshot;
  readonly form: PresentForm;
}

type PresentClass = new (snapshot: Snapshot, form: PresentForm) => OrtTensor;

const shown = new WeakMap<OrtTensor, Shown>();
const classes = new WeakMap<object, PresentClass>();

/** What a present shows; undefined for every other tensor, and for one that was read or disposed of. */
export const shownBy = (tensor: OrtTensor): Shown | undefined =>
  tensor instanceof HeldPresent ? tensor.shown : shown.get(tensor);

/** Disposes of a present that nobody has read; other tensors stay. */
export function letGo(tensor: OrtTensor): void {
  if (tensor instanceof HeldPresent) tensor.release();
  else if (shown.has(tensor)) (tensor as unknown as Base).dispose();
}

/** A present of a run's own, for sites: onnxruntime gets a tensor of its class. */
class HeldPresent implements OrtTensor {
  #isHeld = true;
  #data: unknown;

  constructor(readonly shown: Shown) {}

  get type(): string {
    return this.shown.form.type;
  }

  get dims(): readonly number[] {
    return this.shown.form.dims;
  }

  get data(): unknown {
    this.#data ??= spread(this.shown.snapshot, this.shown.form);
    return this.#data;
  }

  release(): void {
    if (this.#isHeld) this.shown.snapshot.release();
    this.#isHeld = false;
  }
}

/** Makes a present, a tensor of the caller's class. */
export function presentOf({ Tensor: Theirs }: Ort, snapshot: Snapshot, form: PresentForm): OrtTensor {
  let Class = classes.get(Theirs);
  if (!Class) {
    Class = classFor(Theirs);
    classes.set(Theirs, Class);
  }
  return new Class(snapshot, form);
}

/**
 * A second present of the same numbers, which stays when the first is disposed of or read; undefined as in shownBy().
 * @param ort where it is a tensor of onnxruntime's class
 */
export function heldPresent(tensor: OrtTensor, ort?: Ort): OrtTensor | undefined {
  const one = shown.get(tensor);
  if (!one) return undefined;
  one.snapshot.hold();
  return ort ? presentOf(ort, one.snapshot, one.form) : new HeldPresent(one);
}

/** What onnxruntime's constructor gets of memory that is not there. */
const [noFloats, noHalves] = [new Float32Array(0), new Uint16Array(0)];

/** A class whose `data` is read when it is asked for. onnxruntime asks for `data` as its users do. */
function classFor(Theirs: Ort['Tensor']): PresentClass {
  const Parent = Theirs as unknown as new (type: string, data: unknown, dims: readonly number[]) => Base;
  class Present extends Parent {
    readonly #form: PresentForm;
    #read: OrtTensor | undefined;

    constructor(snapshot: Snapshot, form: PresentForm) {
      super(form.type, form.type === 'float32' ? noFloats : noHalves, [0]);
      // Their own fields, of memory that is not there: who looks at them finds none.
      const own = this as unknown as { dims: readonly number[]; size: number; cpuData: undefined };
      own.dims = form.dims.slice();
      own.size = sizeOf(form.dims);
      own.cpuData = undefined;
      this.#form = form;
      shown.set(this as unknown as OrtTensor, { snapshot, form });
    }

    get data(): unknown {
      const snapshot = shown.get(this as unknown as OrtTensor)?.snapshot;
      // Undefined after dispose() as well, and then their own getter says so.
      if (!snapshot || this.location !== 'cpu') return this.#read?.data ?? Reflect.get(Parent.prototype, 'data', this);
      const { type, dims } = this.#form;
      this.#read = new Theirs(type as never, spread(snapshot, this.#form) as never, [...dims]);
      this.#letGo(snapshot);
      return this.#read.data;
    }

    override dispose(): void {
      const snapshot = shown.get(this as unknown as OrtTensor)?.snapshot;
      if (snapshot) this.#letGo(snapshot);
      this.#read = undefined;
      super.dispose();
    }

    #letGo(snapshot: Snapshot): void {
      shown.delete(this as unknown as OrtTensor);
      snapshot.release();
    }
  }
  return Present as unknown as PresentClass;
}

/** The numbers of a present, in the order of its axes. */
function spread(snapshot: Snapshot, { part, type, order, dims }: PresentForm): unknown {
  const rows = snapshot.read(part);
  const isWhole = order.every((axis, i) => axis === i) && rows.dims[2] === dims[2];
  if (isWhole) return rows.data;
  const whole = Tensor.zeros(type, [...dims]);
  const view = whole.transpose(order).slice(2, 0, rows.dims[2]);
  copyInto(view, rows);
  return whole.data;
}

/** Copies a contiguous tensor of four axes into a view of the same dims. */
function copyInto({ data, dims, strides, offset }: Tensor, from: Tensor): void {
  const [batch, heads, tokens, dim] = dims;
  let at = 0;
  for (let b = 0; b < batch; ++b) {
    for (let h = 0; h < heads; ++h) {
      for (let t = 0; t < tokens; ++t) {
        const begin = offset + b * strides[0] + h * strides[1] + t * strides[2];
        for (let d = 0; d < dim; ++d) data[begin + d * strides[3]] = from.data[at++];
      }
    }
  }
}
