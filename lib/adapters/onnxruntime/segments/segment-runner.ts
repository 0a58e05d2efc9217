// A segment in a run: onnxruntime writes its outputs into memory of earlier runs, as long as their dims are known.
// Reader: someone who asks what a session's run costs. Outputs in memory of onnxruntime's own are objects that the garbage
// collector has to end, one by one.

import type { OrtSession, OrtTensor, OrtValues } from '../ort.js';
import { type RunMemory, TensorKind } from './run-memory.js';

type Dims = readonly number[];

/** What a run of a segment has seen. */
interface Seen {
  /** Dims of what the segment needs, in order. */
  readonly taken: readonly Dims[];
  /** Kinds of its outputs; undefined for those that onnxruntime makes memory for. */
  readonly made: readonly (readonly [name: string, kind: TensorKind | undefined])[];
}

/** The session of a segment. */
export class SegmentRunner {
  readonly #session: OrtSession;
  readonly #isInner: (name: string) => boolean;
  readonly #before: SegmentRunner | undefined;
  #last: Seen | undefined;
  /** Whether dims of outputs followed from dims of inputs so far. */
  #isSteady = true;
  /** Whether this onnxruntime has written into memory that it was given: not every one does. */
  #isTried = false;

  /**
   * @param needs values that the session takes
   * @param isInner whether only segments and sites see a value, by its numbers alone
   * @param before the segment before, which often is the same layer of a model once more
   */
  constructor(
    session: OrtSession,
    readonly needs: readonly string[],
    isInner: (name: string) => boolean,
    before?: SegmentRunner,
  ) {
    this.#session = session;
    this.#isInner = isInner;
    this.#before = before;
  }

  /** Runs the segment; its outputs are added to the run's values. */
  async run(
    values: Map<string, OrtTensor>,
    tensorOf: (name: string) => OrtTensor,
    memory: RunMemory,
    options: object | undefined,
  ): Promise<void> {
    const feeds: Record<string, OrtTensor> = {};
    for (const name of this.needs) feeds[name] = tensorOf(name);
    const fetches = this.#fetchesFor(feeds, memory);
    if (fetches) {
      if (await this.#runInto(feeds, fetches, values, options)) return;
      for (const tensor of Object.values(fetches)) if (tensor) memory.give(tensor);
    }
    const given = await (options ? this.#session.run(feeds, options) : this.#session.run(feeds));
    // It was the memory that did not suit: numbers decide about dims here, or onnxruntime wrote elsewhere.
    if (fetches && this.#last) this.#isSteady = false;
    const made = Object.entries(given);
    for (const [name, tensor] of made) values.set(name, tensor);
    this.#last = {
      taken: this.needs.map((name) => feeds[name].dims),
      made: made.map(([name, { type, dims }]) => [name, this.#isInner(name) ? TensorKind.of(type, dims) : undefined]),
    };
  }

  /** Runs with outputs in given memory; false if onnxruntime refuses, or does not write there. */
  async #runInto(
    feeds: OrtValues,
    fetches: Readonly<Record<string, OrtTensor | null>>,
    values: Map<string, OrtTensor>,
    options: object | undefined,
  ): Promise<boolean> {
    const untried = this.#isTried ? [] : Object.values(fetches).flatMap((tensor) => (tensor ? [bytesOf(tensor)] : []));
    for (const bytes of untried) bytes.fill(mark);
    try {
      const given = await this.#session.run(feeds, fetches, options ? { ...options, ...silent } : silent);
      if (untried.some((bytes) => bytes.length > 0 && bytes.every((byte) => byte === mark))) return false;
      this.#isTried = true;
      // What onnxruntime gives back for a tensor is another one of the same memory.
      for (const name in given) values.set(name, fetches[name] ?? given[name]);
      return true;
    } catch {
      return false;
    }
  }

  /** Memory for outputs whose dims are those of the last run, as what the segment needs has its dims. */
  #fetchesFor(feeds: OrtValues, memory: RunMemory): Record<string, OrtTensor | null> | undefined {
    const last = this.#last ?? this.#guess();
    if (!last || !this.#isSteady) return undefined;
    if (!this.needs.every((name, i) => sameDims(feeds[name].dims, last.taken[i]))) return undefined;
    const fetches: Record<string, OrtTensor | null> = {};
    for (const [name, kind] of last.made) fetches[name] = kind ? memory.take(kind) : null;
    return fetches;
  }

  /** What the first run may see: the same as the segment before, if it has as many values of the same types. */
  #guess(): Seen | undefined {
    const before = this.#before;
    const like = before ? before.#last : undefined;
    const outputs = this.#session.outputMetadata;
    if (like?.taken.length !== this.needs.length || like.made.length !== outputs.length) return undefined;
    const { taken, made } = like;
    const isAlike = made.every(([, kind], i) => kind === undefined || kind.type === outputs[i].type);
    if (!isAlike) return undefined;
    return { taken, made: outputs.map(({ name }, i) => [name, this.#isInner(name) ? made[i][1] : undefined]) };
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

/** onnxruntime does not report outputs that do not fit: the run is repeated. */
const silent = { logSeverityLevel: 4 };

/** A byte that no tensor consists of. */
const mark = 0xa5;

function bytesOf({ data }: OrtTensor): Uint8Array {
  const { buffer, byteOffset, byteLength } = data as Float32Array;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

const sameDims = (a: Dims, b: Dims): boolean => a.length === b.length && a.every((length, axis) => length === b[axis]);
