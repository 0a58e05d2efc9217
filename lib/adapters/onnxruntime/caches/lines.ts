// Lines: the keys and values of one site's sequences, which grow from run to run where they are.
// Reader: someone who asks what becomes of a `past` that is fed. A run's own present goes on in place, an older one forks the
// line, and a tensor that is none of ours is copied into a new one.

import type { RepeatedStep } from '../../../caches/kv-again.js';
import { KvCache } from '../../../caches/kv-cache.js';
import { TilewiseRangeError } from '../../../check/errors.js';
import type { CallMemory } from '../../../ops/attention/again.js';
import type { Location } from '../../../tensor/devices.js';
import { Tensor } from '../../../tensor/tensor.js';
import type { FloatType, TensorLike } from '../../../tensor/types.js';
import type { SiteCache } from '../../onnx/sites/site.js';
import type { OrtTensor } from '../ort.js';
import { type Snapshot, shownBy } from './present.js';

/** What a line is made for. */
export interface LineForm {
  readonly batch: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
  readonly type: FloatType;
  readonly device: Location;
}

/** A `past` that is fed: keys, values, and which of their axes are [batch, kvHeads, tokens, dim]. */
export interface FedPast {
  readonly k: OrtTensor;
  readonly v: OrtTensor;
  readonly orders: readonly [k: readonly number[], v: readonly number[]];
}

/** The past that a run feeds to a site; undefined where sites have none. */
export const pastOf = ({ past }: SiteCache, tensorOf: (name: string) => OrtTensor): FedPast | undefined =>
  past && { k: tensorOf(past.k.value), v: tensorOf(past.v.value), orders: [past.k.order!, past.v.order!] };

const isSame = (a: readonly number[], b: readonly number[]): boolean => a === b || a.every((one, i) => one === b[i]);

export class Line {
  readonly cache: KvCache;
  readonly #form: LineForm;
  /** Presents and runs that need the memory. */
  #holders = 1;
  #lengths: readonly number[];

  private constructor(cache: KvCache, form: LineForm, lengths: readonly number[]) {
    this.cache = cache;
    this.#form = form;
    this.#lengths = lengths;
  }

  /**
   * The line on which a run goes on. The run holds it until release().
   * @param lengths tokens of each sequence that it goes on from
   */
  static goOn(form: LineForm, past: FedPast | undefined, lengths: readonly number[]): Line {
    const snapshot = past && snapshotOf(past, form);
    if (snapshot && lengths.every((length, entry) => length <= snapshot.lengths[entry])) {
      return snapshot.line.#continued(lengths);
    }
    const { batch, device, ...sizes } = form;
    const line = new Line(new KvCache({ ...sizes, layout: 'bhnd', batch, device }), form, lengths);
    if (past && lengths.some((length) => length > 0)) {
      const [k, v] = [past.k, past.v].map((tensor, i) => rowsOf(tensor, past.orders[i], lengths));
      line.cache.append(0, k, v, { lengths });
    }
    return line;
  }

  /** The line of a past that is its last tokens, and of such a form; undefined: goOn() forks it, or makes another one. */
  static at(form: LineForm, past: FedPast): Line | undefined {
    const snapshot = snapshotOf(past, form);
    return snapshot && snapshot.lengths === snapshot.line.#lengths ? snapshot.line : undefined;
  }

  /** Tokens of each sequence. */
  get lengths(): readonly number[] {
    return this.#lengths;
  }

  /** Whether a run of this form may go on here. */
  fits(form: LineForm): boolean {
    const own = this.#form;
    if (own === form) return true;
    return (Object.keys(own) as (keyof LineForm)[]).every((name) => own[name] === form[name]);
  }

  #continued(lengths: readonly number[]): Line {
    if (isSame(lengths, this.#lengths)) {
      this.hold();
      return this;
    }
    return new Line(this.#first(lengths), this.#form, lengths);
  }

  /** A cache of the first tokens, with pages in common. */
  #first(lengths: readonly number[]): KvCache {
    const cache = this.cache.fork();
    cache.truncate(lengths);
    return cache;
  }

  /** Adds the tokens of a run. @param k, v [batch, kvHeads, tokens, dim] @param counts tokens of each sequence */
  append(k: TensorLike, v: TensorLike, counts: readonly number[]): void {
    this.cache.append(0, k, v, { lengths: counts });
    this.#lengths = this.#lengths.map((length, entry) => length + counts[entry]);
  }

  /** Adds a token to each sequence, and attends from it; false, and nothing done, where the step is another one. */
  step(step: RepeatedStep, memory: CallMemory): boolean {
    if (!this.cache.step(0, step, memory)) return false;
    this.#lengths = this.#lengths.map((length) => length + 1);
    return true;
  }

  /** What two presents are of. They hold the line, one each. */
  snapshot(presents: number): Snapshot {
    for (let i = 0; i < presents; ++i) this.hold();
    return new LineSnapshot(this, this.#lengths);
  }

  /** Dense keys or values of the first tokens. */
  read(part: 'keys' | 'values', lengths: readonly number[]): Tensor<FloatType> {
    using first = this.#first(lengths);
    const rows = first[part](0);
    return this.#form.device === 'cpu' ? rows : rows.toSync('cpu');
  }

  /** Adds a hold, which release() ends. */
  hold(): void {
    ++this.#holders;
  }

  /** Ends a hold; the memory is freed with the last. Collected without that, it is freed as well. */
  release(): void {
    if (--this.#holders === 0) this.cache.dispose();
  }
}

class LineSnapshot implements Snapshot {
  constructor(
    readonly line: Line,
    readonly lengths: readonly number[],
  ) {}

  read(part: 'keys' | 'values'): Tensor<FloatType> {
    return this.line.read(part, this.lengths);
  }

  hold(): void {
    this.line.hold();
  }

  release(): void {
    this.line.release();
  }
}

/** The snapshot whose keys are fed as keys and whose values as values, with the axes and sizes of before. */
function snapshotOf({ k, v, orders }: FedPast, form: LineForm): LineSnapshot | undefined {
  const [keys, values] = [shownBy(k), shownBy(v)];
  const isPair = keys !== undefined && keys.snapshot === values?.snapshot;
  if (!isPair || keys.form.part !== 'keys' || values.form.part !== 'values') return undefined;
  const isAsMade = isSame(keys.form.order, orders[0]) && isSame(values.form.order, orders[1]);
  if (!isAsMade || !(keys.snapshot instanceof LineSnapshot)) return undefined;
  return keys.snapshot.line.fits(form) ? keys.snapshot : undefined;
}

/** A fed tensor as [batch, kvHeads, tokens, dim]. */
function rowsOf(tensor: OrtTensor, order: readonly number[], lengths: readonly number[]): TensorLike {
  const rows = Tensor.from(tensor as TensorLike).transpose(order);
  const longest = Math.max(...lengths);
  if (rows.dims[2] >= longest) return rows.slice(2, 0, longest);
  const message = `A past has ${rows.dims[2]} tokens, and the run goes on from ${longest}`;
  throw new TilewiseRangeError('ERR_TILEWISE_SHAPE_MISMATCH', message);
}
