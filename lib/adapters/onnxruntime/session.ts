// A session of pieces: segments in onnxruntime, attention between them. Shaped like an InferenceSession.
// Reader: someone who follows a run. A run has its own values, so that several may be in flight; release() waits for them.

import { show, showDims, TilewiseError, TilewiseRangeError, TilewiseTypeError } from '../../check/errors.js';
import { is } from '../../check/validate.js';
import type { Site } from '../onnx/sites/site.js';
import type { KnownShape } from './caches/known-shapes.js';
import { heldPresent, letGo } from './caches/present.js';
import { RunMasks, SessionMasks } from './masks/masks.js';
import type { Ort, OrtMetadata, OrtTensor, OrtValues } from './ort.js';
import { readsOf } from './segments/cut.js';
import { SharedMemory } from './segments/run-memory.js';
import type { SegmentRunner } from './segments/segment-runner.js';
import type { SiteRunner } from './site-runner.js';

/** A segment, and the sites that run after it. */
export interface RunStage {
  readonly segment: SegmentRunner | undefined;
  readonly sites: readonly SiteRunner[];
}

/** What a session is made of. Nothing of the model's bytes: they would stay in memory beside onnxruntime's. */
export interface Parts {
  readonly ort: Ort;
  readonly inputs: readonly OrtMetadata[];
  readonly outputs: readonly OrtMetadata[];
  readonly attention: readonly Site[];
  readonly stages: readonly RunStage[];
  /** Values that are the same in every run. */
  readonly constants: ReadonlyMap<string, OrtTensor>;
  /** Inputs that a run adds: the dims of what it is fed. */
  readonly shapes: readonly KnownShape[];
}

/** A model of which attention runs here. `run()` takes and gives tensors of the `ort` that it was made with. */
export class FusedSession<T extends OrtTensor = OrtTensor> {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly OrtMetadata[];
  readonly outputMetadata: readonly OrtMetadata[];
  /** Every attention of the model: how it is written, its heads, dims and mask; one without `swap` has a `reason`. */
  readonly attention: readonly Site[];
  readonly #parts: Parts;
  readonly #memory: SharedMemory;
  readonly #masks = new SessionMasks();
  /** Per stage, the values that are still read after it when all outputs are wanted. */
  readonly #readAfter: readonly ReadonlySet<string>[];
  /** Values that onnxruntime is fed. */
  readonly #fedOn: ReadonlySet<string>;
  readonly #running = new Set<Promise<unknown>>();
  #released: Promise<void> | undefined;

  /** @internal */
  constructor(parts: Parts) {
    this.#parts = parts;
    this.#memory = new SharedMemory(parts.ort);
    this.inputMetadata = parts.inputs;
    this.outputMetadata = parts.outputs;
    this.inputNames = parts.inputs.map(({ name }) => name);
    this.outputNames = parts.outputs.map(({ name }) => name);
    this.attention = parts.attention;
    this.#readAfter = readAfter(parts.stages, this.outputNames);
    this.#fedOn = new Set(parts.stages.flatMap(({ segment }) => segment?.needs ?? []));
  }

  /**
   * Runs the model.
   * @param feeds tensors by the names of inputs; other names are ignored, as onnxruntime-node does, also those of initializers
   *   that the model lists as inputs. Their memory must stay as it is until the run is over; presents may be disposed of before
   *   that
   * @param fetches names of the outputs that are wanted, or an object with these names and null, or a tensor that an output
   *   is copied into; absent, or an object with neither: all
   * @param options onnxruntime's, for every one of its sessions
   * @returns rejects with TypeError ERR_TILEWISE_INVALID_OPTION for outputs that the model has not got and for what is no
   *   tensor, ERR_TILEWISE_DTYPE for a feed of another type than the model declares, with RangeError
   *   ERR_TILEWISE_SHAPE_MISMATCH for a feed of other dims, a tensor that an output does not fit, or a
   *   past of fewer tokens than the run goes on from, with what onnxruntime and attention() reject with, and with TilewiseError ERR_TILEWISE_DISPOSED after release()
   */
  async run(
    feeds: Readonly<Record<string, T>>,
    fetches?: readonly string[] | object,
    options?: object,
  ): Promise<Record<string, T>> {
    if (this.#released) throw new TilewiseError('ERR_TILEWISE_DISPOSED', 'This session was released');
    const { names, runOptions } = this.#readFetches(fetches, options);
    const running = this.#run(this.#readFeeds(feeds), names, runOptions);
    this.#running.add(running);
    try {
      return copiedInto(fetches, await running) as Record<string, T>;
    } finally {
      this.#running.delete(running);
    }
  }

  /** Frees the sessions of onnxruntime, once runs in flight are over. */
  release(): Promise<void> {
    this.#released ??= this.#free();
    return this.#released;
  }

  async #free(): Promise<void> {
    await Promise.allSettled(this.#running);
    for (const { segment } of this.#parts.stages) await segment?.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  async #run(
    feeds: ReadonlyMap<string, OrtTensor>,
    names: readonly string[],
    options: object | undefined,
  ): Promise<OrtValues> {
    const { ort, stages, constants, shapes } = this.#parts;
    // Presents are held from the call on: what the caller does with his does not matter to the run.
    const values = new Map(feeds);
    const held = this.#holdPresents(values);
    for (const { name, past } of shapes) if (this.#fedOn.has(name)) values.set(name, dimsOf(ort, feeds.get(past)!));
    const masks = new RunMasks(this.#masks);
    const memory = this.#memory.begin();
    const tensorOf = (name: string) => values.get(name) ?? constants.get(name)!;
    const stillRead = names === this.outputNames ? this.#readAfter : readAfter(stages, names);
    try {
      for (let i = 0; i < stages.length; ++i) {
        const { segment, sites } = stages[i];
        if (segment) await segment.run(values, tensorOf, memory, options);
        for (const site of sites) {
          const made = site.run(tensorOf, masks, memory);
          for (const [name, tensor] of Array.isArray(made) ? made : await made) values.set(name, tensor);
        }
        // What nobody reads any more is let go of while the run goes on.
        for (const [name, tensor] of values) {
          if (stillRead[i].has(name)) continue;
          values.delete(name);
          memory.give(tensor);
          letGo(tensor);
        }
      }
      memory.end();
      // An output that a feed or a constant is by itself: what the caller does to it must not reach them.
      const isOthers = (name: string) => feeds.has(name) || !values.has(name);
      return Object.fromEntries(
        names.map((name) => [name, isOthers(name) ? copyOf(ort, tensorOf(name)) : tensorOf(name)]),
      );
    } catch (error) {
      // Presents that nobody will have.
      for (const tensor of values.values()) letGo(tensor);
      throw error;
    } finally {
      for (const present of held) letGo(present);
    }
  }

  /** Puts presents of the run's own in the place of those that are fed. */
  #holdPresents(values: Map<string, OrtTensor>): OrtTensor[] {
    const held: OrtTensor[] = [];
    for (const [name, tensor] of values) {
      const present = heldPresent(tensor, this.#fedOn.has(name) ? this.#parts.ort : undefined);
      if (!present) continue;
      values.set(name, present);
      held.push(present);
    }
    return held;
  }

  /** The inputs' tensors. A model's sessions see only some of them, so that all are held to what it declares here. */
  #readFeeds(feeds: unknown): Map<string, OrtTensor> {
    if (!is.object(feeds)) throw invalid(`\`feeds\` must be an object of tensors by name, not ${show(feeds)}`);
    const checked = new Map<string, OrtTensor>();
    for (const input of this.inputMetadata) checked.set(input.name, checkedFeed(input, feeds[input.name]));
    return checked;
  }

  /** As onnxruntime does: a second argument that names no output is the options. */
  #readFetches(
    fetches: unknown,
    options: object | undefined,
  ): { names: readonly string[]; runOptions: object | undefined } {
    if (options !== undefined && !is.object(options)) {
      throw invalid(`\`options\` must be an object of onnxruntime's options, not ${show(options)}`);
    }
    if (fetches === undefined || fetches === null) return { names: this.outputNames, runOptions: options };
    if (!is.object(fetches) || isTensor(fetches) || (Array.isArray(fetches) && fetches.length === 0)) {
      throw invalid(`\`fetches\` must be names of outputs, not ${show(fetches)}`);
    }
    const isAsked = ([name, value]: [string, unknown]) =>
      this.outputNames.includes(name) ? value === null || isTensor(value) : value !== undefined;
    const names = Array.isArray(fetches)
      ? fetches
      : Object.entries(fetches).flatMap((one) => (isAsked(one) ? one[0] : []));
    if (names.length === 0) return { names: this.outputNames, runOptions: options ?? fetches };
    const unknown = names.filter((name) => !this.outputNames.includes(name));
    if (unknown.length === 0) return { names, runOptions: options };
    const isOptions = !Array.isArray(fetches) && options === undefined && unknown.length === names.length;
    if (isOptions) return { names: this.outputNames, runOptions: fetches };
    throw invalid(`the model has no output ${show(unknown[0])}, only ${this.outputNames.join(', ')}`);
  }
}

const invalid = (message: string): TilewiseTypeError => new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);

/** The dims of a tensor, as ONNX's Shape gives them. */
const dimsOf = ({ Tensor }: Ort, { dims }: OrtTensor): OrtTensor =>
  new Tensor('int64' as never, BigInt64Array.from(dims, BigInt) as never, [dims.length]);

/** A tensor of the same numbers in memory of its own. */
const copyOf = ({ Tensor }: Ort, { type, data, dims }: OrtTensor): OrtTensor =>
  new Tensor(type as never, (data as Float32Array).slice() as never, dims);

/** Whether onnxruntime takes a value for a tensor. */
const isTensor = (value: unknown): value is OrtTensor =>
  is.object(value) && typeof value.type === 'string' && typeof value.location === 'string' && Array.isArray(value.dims);

/** A feed of the type, the rank and the fixed lengths that the model declares; a name of a length says nothing. */
function checkedFeed({ name, type, shape }: OrtMetadata, feed: unknown): OrtTensor {
  if (!isTensor(feed)) throw invalid(`\`feeds.${name}\` must be a tensor of onnxruntime, not ${show(feed)}`);
  if (type !== undefined && feed.type !== type) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_DTYPE',
      `\`feeds.${name}\` is ${feed.type}, and the model's input ${type}`,
    );
  }
  const { dims } = feed;
  if (shape && shape.length > 0 && !fits(dims, shape)) {
    const message = `\`feeds.${name}\` has dims ${showDims(dims)}, and the model's input [${shape.join(', ')}]`;
    throw new TilewiseRangeError('ERR_TILEWISE_SHAPE_MISMATCH', message);
  }
  return feed;
}

/** A name of a length, or a negative one, is any length. */
function fits(dims: readonly number[], shape: readonly (number | string)[]): boolean {
  if (dims.length !== shape.length) return false;
  for (let axis = 0; axis < shape.length; ++axis) {
    const length = shape[axis];
    if (typeof length === 'number' && length >= 0 && length !== dims[axis]) return false;
  }
  return true;
}

/** Outputs that the caller has memory for are copied into it. */
function copiedInto(fetches: unknown, outputs: OrtValues): OrtValues {
  if (!is.object(fetches) || Array.isArray(fetches)) return outputs;
  const given: Record<string, unknown> = fetches;
  const entries = Object.entries(outputs).map(([name, output]) => {
    const target = given[name];
    if (!isTensor(target)) return [name, output] as const;
    if (target.type !== output.type || showDims(target.dims) !== showDims(output.dims)) {
      const [has, needs] = [target, output].map(({ type, dims }) => `${type} ${showDims(dims)}`);
      throw new TilewiseRangeError(
        'ERR_TILEWISE_SHAPE_MISMATCH',
        `\`fetches.${name}\` is ${has}, and the output ${needs}`,
      );
    }
    if ((target.data as Float32Array).length !== (output.data as Float32Array).length) {
      throw invalid(`\`fetches.${name}\` has no memory: its buffer was transferred`);
    }
    (target.data as Float32Array).set(output.data as Float32Array);
    return [name, target] as const;
  });
  return Object.fromEntries(entries);
}

/** Per stage, the values that are still read after it. */
function readAfter(stages: readonly RunStage[], outputs: readonly string[]): Set<string>[] {
  const after: Set<string>[] = [];
  let read = new Set(outputs);
  for (const { segment, sites } of stages.toReversed()) {
    after.unshift(read);
    read = new Set([...read, ...(segment?.needs ?? []), ...sites.flatMap(({ site }) => readsOf(site))]);
  }
  return after;
}
