// A request: the numbers and views of one call, and what it reads and writes.
// Reader: someone who follows a tensor from an argument to native code. Fields are those of binding/requests/fields.h.

import { allocating, TilewiseTypeError } from '../check/errors.js';
import { type NativeMemory, type NativeViews, native } from '../native/native.js';
import { takeNumbers } from '../native/slabs.js';
import { axesOf, flatten, flattenOut, rowAxesOf, tokenAxesOf } from '../tensor/axes.js';
import { DeviceBuffer, passed } from '../tensor/device-buffer.js';
import { backendName, cpu } from '../tensor/devices.js';
import { checkOverlaps, isSamePlace, type Named } from '../tensor/leases.js';
import { Tensor } from '../tensor/tensor.js';
import type { FloatType, TensorConstructor } from '../tensor/types.js';
import {
  allocate,
  bytesPer,
  checkAttached,
  contiguousStrides,
  extentOf,
  type HostView,
  isOnHost,
  sizeOf,
  type View,
} from '../tensor/views.js';

/** Whether inputs are copied before a call starts; `'small'`: when they are few bytes. */
export type CopyInputs = boolean | 'small';

/** What native code writes, and how the caller gets it. */
export interface Results {
  readonly out: View;
  /** The dims of `out` as the caller sees them. */
  readonly shownDims: readonly number[];
  readonly lse: View | undefined;
  /** The caller's own buffer, to be leased while the call runs. */
  readonly lent: Named | undefined;
  /** Wraps the results; called once native code is done. */
  wrap(): { out: object; lse?: object };
  /** Frees the results of a call that failed. */
  discard(): void;
}

/** Where results go and what they look like. */
export interface WantedResults {
  /** The caller's own buffer as it was given, and as it was read. */
  readonly given: object | undefined;
  readonly out: View | undefined;
  /** The input that `out` may be, if both are the same elements in the same order. */
  readonly replaces?: string;
  readonly isHeadsFirst: boolean;
  readonly type: FloatType;
  readonly outDims: number[];
  /** The dims of `out` as the caller sees them: heads and dim may be one axis. */
  readonly shownDims: number[];
  /** [batch, heads, ...tokens] or [heads, tokens]; undefined: not wanted. */
  readonly lseDims: number[] | undefined;
  /** Memory for it, when there is some. */
  readonly lse?: View;
  readonly Tensor: TensorConstructor<object> | undefined;
  /** The device of new results. */
  readonly device: number;
}

/** Where an operand crosses: the first of its fields, and its slot. */
export interface Place {
  readonly field: number;
  readonly slot: number;
}

/** The form of a request: how many fields and slots it has, and where its results cross. */
export interface RequestForm {
  readonly fields: number;
  readonly slots: number;
  readonly results?: { readonly out: Place; readonly lse?: Place };
}

export class Request {
  readonly numbers: Float64Array;
  readonly views: NativeViews;
  readonly #inputs: Named[] = [];
  readonly #form: RequestForm;
  readonly #copies: boolean;

  /** @param copies whether inputs are copied, so that they may change while the call runs */
  constructor(form: RequestForm, copies: boolean) {
    this.numbers = takeNumbers(form.fields);
    this.views = [];
    for (let i = 0; i < form.slots; ++i) this.views.push(undefined);
    this.#form = form;
    this.#copies = copies;
  }

  /**
   * Passes the data of an input, or a copy of the part it uses; returns the view as it was passed.
   * @param flat how the input is addressed, when not as it came
   */
  input(name: string, slot: number, view: View, flat = view): View {
    checkAttached(name, view);
    this.#inputs.push({ name, view });
    // Nothing writes to device memory but a call's `out`, which is leased.
    const given = this.#copies && !view.isOwn && flat.data === view.data && isOnHost(flat) ? copyOf(flat) : flat;
    this.views[slot] = passed(given.data);
    return given;
  }

  /** Retains the device buffers until the returned function is called: for a call that starts later. */
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

  /** Writes an operand's offset, then its strides in the order of its fields. */
  place(field: number, offset: number, strides: readonly number[]): void {
    this.numbers[field] = offset;
    for (let i = 0; i < strides.length; ++i) this.numbers[field + 1 + i] = strides[i];
  }

  /** Passes one of q, k, v: offset, then strides by batch, token, head, dim. */
  operand(name: string, { field, slot }: Place, view: View, isHeadsFirst: boolean): void {
    const rank = view.dims.length;
    const flat = flatten(name, view, tokenAxesOf(axesOf(rank, isHeadsFirst), rank));
    this.#placeOperand(field, this.input(name, slot, view, flat), isHeadsFirst);
  }

  #placeOperand(
    field: number,
    { dims, offset, strides }: Pick<View, 'dims' | 'offset' | 'strides'>,
    isHeadsFirst: boolean,
  ) {
    const { batch, token, head, dim } = axesOf(dims.length, isHeadsFirst);
    this.place(field, offset, [batch < 0 ? 0 : strides[batch], strides[token], strides[head], strides[dim]]);
  }

  /** Passes a [batch, heads, ...tokens] or [heads, tokens] tensor: offset, then strides by batch, head, token. */
  rows(name: string, { field, slot }: Place, view: View): void {
    this.#placeRows(field, this.input(name, slot, view, flatten(name, view, rowAxesOf(view.dims.length))));
  }

  #placeRows(field: number, { offset, strides }: Pick<View, 'offset' | 'strides'>): void {
    const [head, token] = strides.slice(-2);
    this.place(field, offset, [strides.length === 3 ? strides[0] : 0, head, token]);
  }

  /** Adds the results, after all inputs: the caller's buffer or a new one, checked against everything it may not share. */
  results(wanted: WantedResults): Results {
    const made = makeResults(wanted);
    try {
      this.#putResults(made, wanted);
    } catch (error) {
      made.discard();
      throw error;
    }
    return made;
  }

  #putResults({ out, lse, lent }: Results, { replaces, isHeadsFirst }: WantedResults): void {
    const places = this.#form.results as Required<RequestForm>['results'];
    const isReplaced = ({ name, view }: Named) => name === replaces && isSamePlace(view, out);
    checkOverlaps(lent ? this.#inputs.filter((input) => !isReplaced(input)) : this.#inputs, lent);
    const rank = out.dims.length;
    this.#placeOperand(places.out.field, flattenOut(out, tokenAxesOf(axesOf(rank, isHeadsFirst), rank)), isHeadsFirst);
    this.views[places.out.slot] = passed(out.data);
    if (!lse || !places.lse) return;
    this.#placeRows(places.lse.field, flattenOut(lse, rowAxesOf(lse.dims.length)));
    this.views[places.lse.slot] = passed(lse.data);
  }
}

/** The memory of results, the caller's or new. */
export function makeResults(wanted: WantedResults): Results {
  const { given, type, outDims, shownDims, lseDims, device } = wanted;
  if (wanted.Tensor && !wanted.out) checkHolds(wanted.Tensor, type);
  if (device !== cpu && wanted.Tensor && wanted.Tensor !== Tensor) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`Tensor\` cannot hold results on '${backendName(device)}', where the queries lie; leave it out, or bring them to 'cpu'`,
    );
  }
  if (wanted.out) checkAttached('out', wanted.out);
  const out = wanted.out ?? make(type, outDims, device);
  const lse = lseDims && (wanted.lse ?? make('float32', lseDims, device));
  const lent = wanted.out && { name: 'out', view: wanted.out };
  return {
    out,
    shownDims,
    lse,
    lent,
    wrap() {
      const ResultTensor = (wanted.Tensor ?? Tensor) as new (type: string, data: unknown, dims: number[]) => object;
      const result: { out: object; lse?: object } = { out: given ?? new ResultTensor(type, out.data, shownDims) };
      if (lse) result.lse = new ResultTensor('float32', lse.data, lseDims);
      return result;
    },
    discard() {
      if (!wanted.out && out.data instanceof DeviceBuffer) out.data.release();
      if (!wanted.lse && lse?.data instanceof DeviceBuffer) lse.data.release();
    },
  };
}

/** Refuses a class that has not the type of the results, before anything is computed. All classes have float32. */
function checkHolds(Tensor: TensorConstructor<object>, type: FloatType): void {
  if (type === 'float32') return;
  try {
    new (Tensor as new (type: string, data: unknown, dims: number[]) => object)(type, allocate(type, 0), [0]);
  } catch (error) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_DTYPE',
      `\`Tensor\` cannot hold results of type ${type}, that of \`q\` (${(error as Error)?.message}); leave it out and ` +
        "convert them with astype('float32')",
    );
  }
}

/** Memory for a result. */
const make = (type: FloatType, dims: number[], device: number): View => ({
  type,
  data: device === cpu ? allocate(type, sizeOf(dims)) : DeviceBuffer.allocate(device, sizeOf(dims) * bytesPer(type)),
  dims,
  strides: contiguousStrides(dims),
  offset: 0,
});

/** A copy of the part of the data that a view uses. */
function copyOf(view: HostView): HostView {
  const [first, last] = extentOf(view) ?? [0, -1];
  return { ...view, data: allocating(() => view.data.slice(first, last + 1)), offset: view.offset - first };
}

/** Bytes of inputs in all, up to which 'small' copies them: less than starting a call takes. */
const smallBytes = 64 * 1024;

/** Whether a call copies its inputs, which are all `operands` but `out`, for what `copyInputs` says. */
export function copiesInputs(wanted: CopyInputs, operands: readonly Named[], out?: View): boolean {
  if (wanted !== 'small') return wanted;
  let bytes = 0;
  for (const { view } of operands) {
    if (view === out) continue;
    const [first, last] = (isOnHost(view) && extentOf(view)) || [0, -1];
    bytes += (last - first + 1) * bytesPer(view.type);
  }
  return bytes <= smallBytes;
}
