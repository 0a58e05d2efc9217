// A cache's call that comes again and again: one layer, queries of one shape, the same few options, more tokens each time.
// Reader: someone whose model is so small that preparing a call takes longer than running it. All that is checked of a call but
// its queries and lengths stays as it was; those are read each time. Idea: ../ops/attention/again.ts.

import { fly } from '../call/flight.js';
import { onDevice, type Placement } from '../call/placement.js';
import { copiesInputs } from '../call/request.js';
import { is } from '../check/validate.js';
import { attentionOp, field, slot } from '../native/fields.js';
import type { NativeViews } from '../native/native.js';
import type { Crossing } from '../native/op.js';
import { takeIntegers } from '../native/slabs.js';
import type { AttentionResult } from '../ops/attention/attention.js';
import type { Prepared } from '../ops/attention/problem.js';
import { cpu } from '../tensor/devices.js';
import { isAnythingLent, type Named } from '../tensor/leases.js';
import { Tensor } from '../tensor/tensor.js';
import { areApart } from '../tensor/typed-arrays.js';
import type { FloatType, TensorLike } from '../tensor/types.js';
import {
  allocate,
  floatTypes,
  type HostView,
  isOnHost,
  readTensor,
  sizeOf,
  type TensorData,
  type View,
} from '../tensor/views.js';
import type { KvPart } from './kv-parts.js';
import type { RotarySettings } from './kv-rotary.js';
import type { CacheAttentionOptions } from './kv-told.js';

type Options = CacheAttentionOptions<unknown>;
type Result = AttentionResult<unknown, unknown>;

/** What a call reads. */
export interface Reading {
  readonly parts: readonly KvPart[];
  readonly layer: number;
  /** The last call of each layer that can come again; absent: none are kept. */
  readonly repeated?: (RepeatedAttention | undefined)[];
}

/** The options that a call may have next to `out`: numbers and flags, by which two calls can be told apart. */
const names = ['queryHeads', 'causal', 'scale', 'softcap'] as const;
const known: ReadonlySet<string> = new Set([...names, 'out']);

/** Whether a call can come again: over all tokens of all heads, in the process's memory. */
export function canRepeat({ parts, repeated }: Reading, options: Options, rotary: RotarySettings | undefined): boolean {
  const [{ horizon, pool, codes }] = parts;
  if (!repeated || parts.length > 1 || horizon || codes || rotary || pool.sizes.device !== cpu || !is.plain(options))
    return false;
  for (const name in options) if (!known.has(name)) return false;
  return true;
}

/** A tensor without its memory, which is not kept from call to call. */
type Form = Pick<View, 'type' | 'dims' | 'strides'>;

const formOf = ({ type, dims, strides }: View): Form => ({ type, dims, strides });

/** One call, and where its result goes. */
interface Next extends Crossing {
  readonly out: TensorData;
  /** The caller's own tensor, as it was given and as it was read. */
  readonly given: TensorLike | undefined;
  readonly lent: Named | undefined;
}

export class RepeatedAttention {
  readonly #options: readonly unknown[];
  readonly #query: Form;
  /** Of a call that was given one. */
  readonly #out: Form | undefined;
  /** The pages of all sequences, as the call has read them. */
  readonly #keys: View;
  readonly #values: View;
  readonly #numbers: Float64Array;
  /** All but queries, results, lengths and table. */
  readonly #views: NativeViews;
  readonly #placement: Placement;
  /** Of the result. */
  readonly #dims: readonly number[];
  readonly #size: number;
  readonly #queries: number;
  /** Whether an asynchronous call would read copies. */
  readonly #isCopied: boolean;

  private constructor({ parts, layer }: Reading, query: View, options: Options, prepared: Prepared) {
    const [{ pool }] = parts;
    const { request, results, placement } = prepared;
    this.#options = names.map((name) => options[name]);
    this.#query = formOf(query);
    this.#out = options.out && formOf(readTensor('out', options.out, floatTypes));
    this.#keys = pool.keysOf(layer);
    this.#values = pool.valuesOf(layer);
    this.#numbers = request.numbers;
    this.#views = request.views.slice();
    for (const at of [slot.q, slot.out, slot.keyLengths, slot.pageTable]) this.#views[at] = undefined;
    this.#placement = placement;
    this.#dims = results.shownDims;
    this.#size = sizeOf(results.shownDims);
    this.#queries = request.numbers[field.queries];
    const operands = [query, this.#keys, this.#values].map((view) => ({ name: '', view }));
    this.#isCopied = copiesInputs('small', operands);
  }

  /**
   * Keeps a call that can come again.
   * @param query as the caller gave it
   * @param prepared before it has run
   * @returns undefined for a call that reads copies of the pages
   */
  static of(reading: Reading, query: TensorLike, options: Options, prepared: Prepared): RepeatedAttention | undefined {
    const repeated = new RepeatedAttention(reading, readTensor('q', query, floatTypes), options, prepared);
    return prepared.request.views[slot.k] === repeated.#keys.data ? repeated : undefined;
  }

  /** The call for other queries and the tokens of now; undefined where it is another one, or wrong. */
  runSync(reading: Reading, query: TensorLike, options: Options): Result | undefined {
    const next = this.#next(reading, query, options);
    if (!next) return undefined;
    onDevice(this.#placement, (device) => attentionOp.run(device, next));
    return this.#resultOf(next);
  }

  /** The same outside the event loop. */
  run(reading: Reading, query: TensorLike, options: Options): Promise<Result> | undefined {
    const next = this.#isCopied ? undefined : this.#next(reading, query, options);
    if (!next) return undefined;
    const start = (device: number) => attentionOp.submit(device, next);
    return fly(this.#placement, start, next.lent, undefined).then(() => this.#resultOf(next));
  }

  #resultOf({ out, given }: Next): Result {
    return { out: given ?? new Tensor(this.#query.type as FloatType, out as never, this.#dims) } as Result;
  }

  #next({ parts, layer }: Reading, query: TensorLike, options: Options): Next | undefined {
    const [{ pool, runs }] = parts;
    if (isAnythingLent() || pool.keysOf(layer) !== this.#keys || pool.valuesOf(layer) !== this.#values)
      return undefined;
    for (let i = 0; i < names.length; ++i) if (options[names[i]] !== this.#options[i]) return undefined;
    const q = readTensor('q', query, floatTypes);
    if (!isOnHost(q) || !isLike(q, this.#query)) return undefined;
    const given = options.out as TensorLike | undefined;
    const view = given && readTensor('out', given, floatTypes);
    if (!fits(view, this.#out, q)) return undefined;
    const lengths = takeIntegers(runs.length);
    let keys = 0;
    for (let i = 0; i < runs.length; ++i) {
      lengths[i] = runs[i].lengthOf(layer);
      keys = Math.max(keys, lengths[i]);
    }
    if (this.#queries > keys) return undefined;
    const perSequence = Math.ceil(keys / pool.sizes.pageSize);
    const table = takeIntegers(runs.length * perSequence);
    for (let i = 0; i < runs.length; ++i) runs[i].writeTable(layer, table, i * perSequence, true);
    const out = view?.data ?? allocate(q.type as FloatType, this.#size);
    const numbers = this.#numbers; // native code has read them when it returns
    numbers[field.keys] = keys;
    numbers[field.q] = q.offset;
    numbers[field.out] = view?.offset ?? 0;
    const views = this.#views.slice();
    views[slot.q] = q.data;
    views[slot.out] = out;
    views[slot.keyLengths] = lengths;
    views[slot.pageTable] = table;
    return { numbers, views, out, given, lent: view && { name: 'out', view } };
  }
}

/** Whether an `out` is as before, none included, and surely none of the queries' memory. */
function fits(out: View | undefined, before: Form | undefined, q: HostView): out is HostView | undefined {
  if (!out || !before) return out === before;
  return isOnHost(out) && isLike(out, before) && areApart(out.data, q.data);
}

function isLike(a: Form, b: Form): boolean {
  if (a.type !== b.type || a.dims.length !== b.dims.length) return false;
  for (let axis = 0; axis < a.dims.length; ++axis) {
    if (a.dims[axis] !== b.dims[axis] || a.strides[axis] !== b.strides[axis]) return false;
  }
  return true;
}
