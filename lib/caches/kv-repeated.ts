// A cache's call that comes again and again: one layer, queries of one shape, the same few options, more tokens each time.
// Reader: someone whose model is so small that preparing a call takes longer than running it. All that is checked of a call but
// its queries and lengths stays as it was; those are read each time. Idea: ../ops/attention/again.ts.

import { allOf, fly } from '../call/flight.js';
import { onDevice, type Placement } from '../call/placement.js';
import { copiesInputs, type Results } from '../call/request.js';
import { is, namesOf } from '../check/validate.js';
import { attentionOp, field, slot } from '../native/fields.js';
import type { NativeViews } from '../native/native.js';
import type { Crossing } from '../native/op.js';
import { takeIntegers } from '../native/slabs.js';
import type { AttentionResult } from '../ops/attention/attention.js';
import type { Layout } from '../ops/attention/options.js';
import type { PreparedParts } from '../ops/attention/parts.js';
import type { HipState } from '../selectors/hip-state.js';
import { cpu } from '../tensor/devices.js';
import { type Form, formOf, isLike } from '../tensor/forms.js';
import { isAnythingLent, lend, type Named } from '../tensor/leases.js';
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
import { putLengths, putTable } from './kv-places.js';
import { areGone } from './kv-refusals.js';
import { type RotarySettings, turnedQueries } from './kv-rotary.js';
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

/** What a cache says about every call. */
export interface CallSettings {
  readonly kvHeads: number;
  readonly layout: Layout;
  readonly isReadOnly: boolean;
  /** Queries of each sequence, where they follow each other without a batch axis. */
  readonly queryLengths?: Int32Array;
  /** What each sequence's selection remembers. */
  readonly states?: readonly HipState[] | undefined;
  readonly rotary: RotarySettings | undefined;
}

/** The options that a call may have next to `out`: numbers and flags, by which two calls can be told apart. */
type Told = Pick<Options, 'queryHeads' | 'causal' | 'scale' | 'softcap'>;
const known: ReadonlySet<string> = new Set([
  ...namesOf<Told>({ queryHeads: 1, causal: 1, scale: 1, softcap: 1 }),
  'out',
]);

/** By name: a loop over names takes a third of a microsecond. */
const saysTheSame = (a: Told, b: Told): boolean =>
  a.queryHeads === b.queryHeads && a.causal === b.causal && a.scale === b.scale && a.softcap === b.softcap;

/**
 * Whether a call can come again: in the process's memory, over tokens that have no codes, and with nothing that is made anew for each
 * call but turned queries.
 */
export function canRepeat({ parts, repeated }: Reading, options: Options, { rotary, states }: CallSettings): boolean {
  if (!repeated || states || rotary?.isByRank || !is.plain(options)) return false;
  for (const { codes, pool } of parts) if (codes || pool.sizes.device !== cpu) return false;
  for (const name in options) if (!known.has(name)) return false;
  // Heads and dim are one axis for queries that are turned.
  return !rotary || options.queryHeads === undefined;
}

/** The native call of one part. */
interface PartCall {
  /** The pages of all sequences, as the call has read them. */
  readonly keys: View;
  readonly values: View;
  readonly numbers: Float64Array;
  /** All but queries, results and table. */
  readonly views: NativeViews;
  /** Of the sequences. Native code copies them and the table, so that calls in flight share them with the next one. */
  readonly lengths: Int32Array;
  table: Int32Array;
  readonly placement: Placement;
  /** Elements from the first of all queries, and of all results, to its own. */
  readonly query: number;
  readonly out: number;
}

/** One call, and where its result goes. */
interface Next {
  readonly crossings: readonly Crossing[];
  readonly out: TensorData;
  /** The caller's own tensor, as it was given and as it was read. */
  readonly given: TensorLike | undefined;
  readonly lent: Named | undefined;
}

export class RepeatedAttention {
  readonly #options: Told;
  readonly #settings: CallSettings;
  readonly #query: Form;
  /** Of a call that was given one. */
  readonly #out: Form | undefined;
  readonly #parts: readonly PartCall[];
  /** Sequences. */
  readonly #entries: number;
  /** Of the result. */
  readonly #dims: readonly number[];
  readonly #size: number;
  /** Queries of all sequences, or of each one in a batch. */
  readonly #queries: number;
  /** Whether an asynchronous call would read copies. */
  readonly #isCopied: boolean;

  private constructor(
    { parts, layer }: Reading,
    query: View,
    asked: View,
    options: Options,
    { calls, results }: Pick<PreparedParts, 'calls'> & { readonly results: Pick<Results, 'shownDims'> },
    settings: CallSettings,
  ) {
    const out = options.out && readTensor('out', options.out, floatTypes);
    const { queryHeads, causal, scale, softcap } = options;
    this.#options = { queryHeads, causal, scale, softcap };
    this.#settings = settings;
    this.#query = formOf(query);
    this.#out = out && formOf(out);
    this.#parts = calls.map(({ request: { numbers, views }, placement }, i) => {
      const { pool } = parts[i];
      const own = views.slice();
      const lengths = takeIntegers(parts[i].runs.length);
      for (const at of [slot.q, slot.out, slot.pageTable]) own[at] = undefined;
      own[slot.keyLengths] = lengths;
      const from = { query: numbers[field.q] - asked.offset, out: numbers[field.out] - (out?.offset ?? 0) };
      const pages = { keys: pool.keysOf(layer), values: pool.valuesOf(layer) };
      return { ...pages, numbers, views: own, lengths, table: takeIntegers(0), placement, ...from };
    });
    this.#entries = parts[0].runs.length;
    this.#dims = results.shownDims;
    this.#size = sizeOf(results.shownDims);
    this.#queries = calls[0].request.numbers[field.queries];
    const operands = [query, ...this.#parts.flatMap(({ keys, values }) => [keys, values])];
    const named = operands.map((view) => ({ name: '', view }));
    this.#isCopied = copiesInputs('small', named);
  }

  /**
   * Keeps a call that can come again.
   * @param query as the caller gave it
   * @param asked what the call asks: the queries, or as `rotary` has turned them
   * @param prepared before it has run
   * @returns undefined for a call that reads copies of the pages
   */
  static of(
    reading: Reading,
    query: TensorLike,
    asked: View,
    options: Options,
    prepared: PreparedParts,
    settings: CallSettings,
  ): RepeatedAttention | undefined {
    const read = readTensor('q', query, floatTypes);
    const repeated = new RepeatedAttention(reading, read, asked, options, prepared, settings);
    const isInPlace = prepared.calls.every(({ request }, i) => request.views[slot.k] === repeated.#parts[i].keys.data);
    return isInPlace ? repeated : undefined;
  }

  /** The call for other queries and the tokens of now; undefined where it is another one, or wrong. */
  runSync(reading: Reading, query: TensorLike, options: Options, settings: CallSettings): Result | undefined {
    const next = this.#next(reading, query, options, settings);
    if (!next) return undefined;
    for (let i = 0; i < this.#parts.length; ++i) {
      onDevice(this.#parts[i].placement, (device) => attentionOp.run(device, next.crossings[i]));
    }
    return this.#resultOf(next);
  }

  /** The same outside the event loop. */
  run(reading: Reading, query: TensorLike, options: Options, settings: CallSettings): Promise<Result> | undefined {
    const next = this.#isCopied ? undefined : this.#next(reading, query, options, settings);
    return next && this.#fly(next).then(() => this.#resultOf(next));
  }

  #fly({ crossings, lent }: Next): Promise<void> {
    const start = (i: number, out: Named | undefined) =>
      fly(this.#parts[i].placement, (device) => attentionOp.submit(device, crossings[i]), out, undefined);
    if (crossings.length === 1) return start(0, lent);
    return lend(lent, () => allOf(crossings.map((_, i) => start(i, undefined))));
  }

  #resultOf({ out, given }: Next): Result {
    return { out: given ?? new Tensor(this.#query.type as FloatType, out as never, this.#dims) } as Result;
  }

  #next(reading: Reading, query: TensorLike, options: Options, settings: CallSettings): Next | undefined {
    const { parts, layer } = reading;
    if (isAnythingLent() || !this.#isOfPages(parts, layer) || !hasSameQueries(settings, this.#settings))
      return undefined;
    if (!saysTheSame(options, this.#options)) return undefined;
    const q = readTensor('q', query, floatTypes);
    if (!isOnHost(q) || !isLike(q, this.#query) || !this.#mayAsk(reading, settings)) return undefined;
    const given = options.out as TensorLike | undefined;
    const view = given && readTensor('out', given, floatTypes);
    if (!fits(view, this.#out, q)) return undefined;
    const asked = this.#turned(q, reading, settings);
    const out = view?.data ?? allocate(q.type as FloatType, this.#size);
    const crossings: Crossing[] = [];
    for (let i = 0; i < parts.length; ++i) {
      crossings.push(crossingOf(this.#parts[i], parts[i], layer, asked, { data: out, offset: view?.offset ?? 0 }));
    }
    return { crossings, out, given, lent: view && { name: 'out', view } };
  }

  #isOfPages(parts: readonly KvPart[], layer: number): boolean {
    if (parts.length !== this.#parts.length || parts[0].runs.length !== this.#entries) return false;
    for (let i = 0; i < parts.length; ++i) {
      const { keys, values } = this.#parts[i];
      const { pool } = parts[i];
      if (pool.keysOf(layer) !== keys || pool.valuesOf(layer) !== values) return false;
    }
    return true;
  }

  /** Whether queries are of tokens that are there, and see all that they should. */
  #mayAsk({ parts, layer }: Reading, { queryLengths }: CallSettings): boolean {
    const [{ runs }] = parts;
    let most = 0;
    for (let i = 0; i < runs.length; ++i) {
      const length = runs[i].lengthOf(layer);
      if (queryLengths && queryLengths[i] > length) return false;
      most = Math.max(most, length);
    }
    if (!queryLengths && this.#queries > most) return false;
    for (const part of parts) if (areGone(part, layer, this.#queries)) return false;
    return true;
  }

  #turned(q: HostView, { parts, layer }: Reading, { rotary, layout, queryLengths }: CallSettings): Memory {
    if (!rotary) return q;
    const texts = Int32Array.from(parts[0].runs, (run) => run.textOf(layer));
    const { data } = turnedQueries(q, rotary, layout, texts, this.#queries, queryLengths);
    return { data: data as TensorData, offset: 0 };
  }
}

type Memory = Pick<HostView, 'data' | 'offset'>;

/** What crosses for one part. */
function crossingOf(call: PartCall, { pool, runs }: KvPart, layer: number, q: Memory, out: Memory): Crossing {
  const keys = putLengths(runs, layer, call.lengths, false);
  const places = runs.length * Math.ceil(keys / pool.sizes.pageSize);
  if (call.table.length !== places) call.table = takeIntegers(places);
  putTable(runs, layer, call.table, false);
  const { numbers } = call; // native code has read them when it returns
  numbers[field.keys] = keys;
  numbers[field.q] = q.offset + call.query;
  numbers[field.out] = out.offset + call.out;
  const views = call.views.slice();
  views[slot.q] = q.data;
  views[slot.out] = out.data;
  views[slot.pageTable] = call.table;
  return { numbers, views };
}

/** Whether two calls have as many queries of each sequence. */
function hasSameQueries({ queryLengths: a }: CallSettings, { queryLengths: b }: CallSettings): boolean {
  if (!a || !b) return a === b;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; ++i) if (a[i] !== b[i]) return false;
  return true;
}

/** Whether an `out` is as before, none included, and surely none of the queries' memory. */
function fits(out: View | undefined, before: Form | undefined, q: HostView): out is HostView | undefined {
  if (!out || !before) return out === before;
  return isOnHost(out) && isLike(out, before) && areApart(out.data, q.data);
}
