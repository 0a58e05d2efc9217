// A request: the numbers and views of one call, and what it reads and writes.
// Reader: someone who follows a tensor from an argument to native code. Fields are those of binding/requests/fields.h.

import { TilewiseTypeError } from '../check/errors.js';
import { type NativeMemory, type NativeViews, native } from '../native/native.js';
import { type Axes, axesOf, flatten, flattenOut, rowAxesOf, tokenAxesOf } from '../tensor/axes.js';
import { DeviceBuffer, passed } from '../tensor/device-buffer.js';
import { backendName, cpu } from '../tensor/devices.js';
import { checkOverlaps, type Named } from '../tensor/leases.js';
import { Tensor } from '../tensor/tensor.js';
import type { FloatType, TensorConstructor } from '../tensor/types.js';
import {
  allocate,
  bytesPer,
  contiguousStrides,
  extentOf,
  type HostView,
  isOnHost,
  sizeOf,
  type View,
} from '../tensor/views.js';

/** What native code writes, and how the caller gets it. */
export interface Results {
  /** The caller's own buffer, to be leased while the call runs. */
  readonly lent: Named | undefined;
  /** Wraps the results; called once native code is done. */
  wrap(): { out: object; lse?: object };
  /** Frees the results of a call that failed. */
  discard(): void;
}

/** Where results go and what they look like. */
export interface ResultPlan {
  /** The caller's own buffer as it was given, and as it was read. */
  readonly given: object | undefined;
  readonly out: View | undefined;
  readonly isHeadsFirst: boolean;
  readonly type: FloatType;
  readonly outDims: number[];
  /** [batch, heads, ...tokens] or [heads, tokens]; undefined: not wanted. */
  readonly lseDims: number[] | undefined;
  readonly Tensor: TensorConstructor<object> | undefined;
  /** The device where new results lie. */
  readonly device: number;
}

export class Request {
  readonly numbers: Float64Array;
  readonly views: NativeViews;
  readonly #inputs: Named[] = [];
  readonly #copies: boolean;

  constructor(fields: number, views: number, copies: boolean) {
    this.numbers = new Float64Array(fields);
    this.views = new Array<undefined>(views).fill(undefined);
    this.#copies = copies;
  }

  /**
   * Passes the data of an input, or a copy of the part it uses; returns the view as it was passed.
   * @param flat how the input is addressed, when not as it came
   */
  input(name: string, slot: number, view: View, flat = view): View {
    this.#inputs.push({ name, view });
    // Nothing writes to device memory but a call's `out`, which is leased.
    const given = this.#copies && flat.data === view.data && isOnHost(flat) ? copyOf(flat) : flat;
    this.views[slot] = passed(given.data);
    return given;
  }

  /** Keeps device memory for a call that starts later. Returns what ends that. */
  hold(): () => void {
    const held: NativeMemory[] = [];
    for (const [slot, view] of this.views.entries()) {
      if (view === undefined || ArrayBuffer.isView(view)) continue;
      const memory = native.share(view as NativeMemory);
      this.views[slot] = memory;
      held.push(memory);
    }
    return () => {
      for (const memory of held) native.release(memory);
    };
  }

  /** Passes one of q, k, v: offset, then strides by batch, token, head, dim from `field` on. */
  operand(name: string, field: number, slot: number, view: View, isHeadsFirst: boolean): void {
    const rank = view.dims.length;
    const flat = flatten(name, view, tokenAxesOf(axesOf(rank, isHeadsFirst), rank));
    this.#place(field, this.input(name, slot, view, flat), axesOf(flat.dims.length, isHeadsFirst));
  }

  #place(field: number, { offset, strides }: Pick<View, 'offset' | 'strides'>, axes: Axes): void {
    const { numbers } = this;
    numbers[field] = offset;
    numbers[field + 1] = axes.batch < 0 ? 0 : strides[axes.batch];
    numbers[field + 2] = strides[axes.token];
    numbers[field + 3] = strides[axes.head];
    numbers[field + 4] = strides[axes.dim];
  }

  /** Passes a [batch, heads, ...tokens] or [heads, tokens] tensor: offset, then strides by batch, head, token. */
  rows(name: string, field: number, slot: number, view: View): void {
    this.#placeRows(field, this.input(name, slot, view, flatten(name, view, rowAxesOf(view.dims.length))));
  }

  #placeRows(field: number, { offset, strides }: Pick<View, 'offset' | 'strides'>): void {
    const rank = strides.length;
    this.numbers[field] = offset;
    this.numbers[field + 1] = rank === 3 ? strides[0] : 0;
    this.numbers[field + 2] = strides[rank - 2];
    this.numbers[field + 3] = strides[rank - 1];
  }

  /** Adds the results, after all inputs: the caller's buffer or a new one, checked against everything it may not share. */
  results(plan: ResultPlan, field: { out: number; lse: number }, slot: { out: number; lse: number }): Results {
    const { out, outDims, lseDims, type, isHeadsFirst, device } = plan;
    const rank = outDims.length;
    const tokens = tokenAxesOf(axesOf(rank, isHeadsFirst), rank);
    const place = flattenOut(out ?? contiguous(outDims), tokens);
    const lent = out && { name: 'out', view: out };
    if (device !== cpu && plan.Tensor && plan.Tensor !== Tensor) {
      throw new TilewiseTypeError(
        'ERR_TILEWISE_INVALID_OPTION',
        `\`Tensor\` cannot hold results on '${backendName(device)}', where the queries lie; leave it out, or bring them to 'cpu'`,
      );
    }
    checkOverlaps(this.#inputs, lent);
    const data = out ? out.data : make(type, outDims, device);
    this.#place(field.out, place, axesOf(place.dims.length, isHeadsFirst));
    this.views[slot.out] = passed(data);
    const lseData = lseDims && make('float32', lseDims, device);
    if (lseDims) {
      this.#placeRows(field.lse, flattenOut(contiguous(lseDims), rowAxesOf(lseDims.length)));
      this.views[slot.lse] = passed(lseData as View['data']);
    }
    return {
      lent,
      wrap() {
        const ResultTensor = (plan.Tensor ?? Tensor) as new (type: string, data: unknown, dims: number[]) => object;
        const result: { out: object; lse?: object } = { out: plan.given ?? new ResultTensor(type, data, outDims) };
        if (lseDims) result.lse = new ResultTensor('float32', lseData, lseDims);
        return result;
      },
      discard() {
        for (const made of [out ? undefined : data, lseData]) if (made instanceof DeviceBuffer) made.release();
      },
    };
  }
}

/** Memory for a result. */
const make = (type: FloatType, dims: number[], device: number): View['data'] =>
  device === cpu ? allocate(type, sizeOf(dims)) : DeviceBuffer.allocate(device, sizeOf(dims) * bytesPer(type));

const contiguous = (dims: number[]) => ({ offset: 0, dims, strides: contiguousStrides(dims) });

/** A copy of the part of the data that a view uses. */
function copyOf(view: HostView): HostView {
  const [first, last] = extentOf(view) ?? [0, -1];
  return { ...view, data: view.data.slice(first, last + 1), offset: view.offset - first };
}
