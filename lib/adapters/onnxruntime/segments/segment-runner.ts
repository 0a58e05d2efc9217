// A segment in a run: onnxruntime writes its outputs into memory of earlier runs, as far as their dims are known before it.
// Reader: someone who asks what a session's run costs. Outputs in memory of onnxruntime's own are objects that the garbage
// collector has to end, one by one.

import type { OrtSession, OrtTensor, OrtValues } from '../ort.js';
import { LearntDims } from './learnt-dims.js';
import { type RunMemory, TensorKind } from './run-memory.js';

type Dims = readonly number[];

/** An output, and its kind; undefined for those that onnxruntime makes memory for. */
type Made = readonly [name: string, kind: TensorKind | undefined];

/** What a run of a segment has seen. */
interface Seen {
  /** Dims of what the segment needs, in order. */
  readonly taken: readonly Dims[];
  readonly made: readonly Made[];
}

/** What a run will make, by the last run of the same dims, by what was learnt from runs, or by the segment before. */
interface Expected {
  readonly by: 'last' | 'learnt' | 'before';
  readonly seen: Seen;
}

/** The session of a segment. */
export class SegmentRunner {
  readonly #session: OrtSession;
  readonly #isInner: (name: string) => boolean;
  readonly #before: SegmentRunner | undefined;
  #last: Seen | undefined;
  readonly #learnt = new LearntDims();
  /** What has said no wrong dims so far. */
  readonly #trusted = new Set<Expected['by']>(['last', 'learnt', 'before']);
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
    const taken = this.needs.map((name) => feeds[name].dims);
    const expected = this.#expected(taken);
    const fetches = expected && fetchesOf(expected.seen, memory);
    if (fetches) {
      const given = await this.#runInto(feeds, fetches, values, options);
      if (given) {
        if (expected.by === 'before') this.#learnt.learn(taken, dimsOf(expected.seen, given));
        this.#last = expected.seen;
        return;
      }
      for (const tensor of Object.values(fetches)) if (tensor) memory.give(tensor);
    }
    const given = await (options ? this.#session.run(feeds, options) : this.#session.run(feeds));
    // It was the memory that did not suit. In a run like the last one numbers decide about dims, or onnxruntime wrote elsewhere.
    if (expected?.by === 'last') this.#trusted.clear();
    else if (expected) this.#trusted.delete(expected.by);
    for (const name in given) values.set(name, given[name]);
    const made = Object.entries(given).map(([name, { type, dims }]): Made => {
      return [name, this.#isInner(name) ? TensorKind.of(type, dims) : undefined];
    });
    this.#last = { taken, made };
    this.#learnt.learn(taken, dimsOf(this.#last, given));
  }

  /** Runs with outputs in given memory; undefined if onnxruntime refuses, or does not write there. */
  async #runInto(
    feeds: OrtValues,
    fetches: Readonly<Record<string, OrtTensor | null>>,
    values: Map<string, OrtTensor>,
    options: object | undefined,
  ): Promise<OrtValues | undefined> {
    const untried = this.#isTried ? [] : Object.values(fetches).flatMap((tensor) => (tensor ? [bytesOf(tensor)] : []));
    for (const bytes of untried) bytes.fill(mark);
    try {
      const given = await this.#session.run(feeds, fetches, options ? { ...options, ...silent } : silent);
      if (untried.some((bytes) => bytes.length > 0 && bytes.every((byte) => byte === mark))) return undefined;
      this.#isTried = true;
      // What onnxruntime gives back for a tensor is another one of the same memory.
      for (const name in given) values.set(name, fetches[name] ?? given[name]);
      return given;
    } catch {
      return undefined;
    }
  }

  /** What a run will make; undefined where nobody knows. */
  #expected(taken: readonly Dims[]): Expected | undefined {
    const last = this.#last;
    if (last && this.#trusted.has('last') && areSame(taken, last.taken)) return { by: 'last', seen: last };
    const followed = last && this.#trusted.has('learnt') ? this.#following(last, taken) : undefined;
    if (followed) return { by: 'learnt', seen: followed };
    const guessed = this.#trusted.has('before') ? this.#asBefore(taken) : undefined;
    return guessed && { by: 'before', seen: guessed };
  }

  /** As was learnt, if that says everything that memory is made for. */
  #following({ made }: Seen, taken: readonly Dims[]): Seen | undefined {
    const following: Made[] = [];
    for (const [i, one] of made.entries()) {
      const [name, kind] = one;
      const dims = kind && this.#learnt.of(i, taken);
      if (kind && !dims) return undefined;
      following.push(kind && !isSame(dims!, kind.dims) ? [name, TensorKind.of(kind.type, dims!)] : one);
    }
    return { taken, made: following };
  }

  /** As in the segment before, if it was fed the same dims, and makes as many values of the same types. */
  #asBefore(taken: readonly Dims[]): Seen | undefined {
    const before = this.#before;
    const like = before ? before.#last : undefined;
    const outputs = this.#session.outputMetadata;
    if (!like || !areSame(taken, like.taken) || like.made.length !== outputs.length) return undefined;
    const { made } = like;
    const isAlike = made.every(([, kind], i) => kind === undefined || kind.type === outputs[i].type);
    if (!isAlike) return undefined;
    return { taken, made: outputs.map(({ name }, i) => [name, this.#isInner(name) ? made[i][1] : undefined]) };
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

/** Memory for outputs. */
function fetchesOf({ made }: Seen, memory: RunMemory): Record<string, OrtTensor | null> {
  const fetches: Record<string, OrtTensor | null> = {};
  for (const [name, kind] of made) fetches[name] = kind ? memory.take(kind) : null;
  return fetches;
}

/** onnxruntime does not report outputs that do not fit: the run is repeated. */
const silent = { logSeverityLevel: 4 };

/** A byte that no tensor consists of. */
const mark = 0xa5;

function bytesOf({ data }: OrtTensor): Uint8Array {
  const { buffer, byteOffset, byteLength } = data as Float32Array;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Dims of a run's outputs. */
const dimsOf = ({ made }: Seen, given: OrtValues): Dims[] => made.map(([name, kind]) => kind?.dims ?? given[name].dims);

const isSame = (a: Dims, b: Dims): boolean => a.length === b.length && a.every((length, axis) => length === b[axis]);
const areSame = (a: readonly Dims[], b: readonly Dims[]): boolean =>
  a.length === b.length && a.every((dims, i) => isSame(dims, b[i]));
