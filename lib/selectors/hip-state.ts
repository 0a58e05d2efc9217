// HipState: what hierarchical selection keeps from one decode step to the next.
// Reader: someone who generates tokens and asks when lists are selected anew, and what is seen in between.

import { TilewiseTypeError } from '../check/errors.js';
import { checkInteger, checkNames, invalid, maxTokens } from '../check/validate.js';
import type { SelectionStage } from '../patterns/hierarchical.js';
import { DeviceBuffer } from '../tensor/device-buffer.js';
import { Tensor } from '../tensor/tensor.js';

/** The lists that one stage has selected; they are where the queries are. */
export interface HipLists {
  /** Queries that share a list. */
  readonly blockQ: number;
  /** Keys per entry. */
  readonly chunk: number;
  /** `[batch, lists, queryBlocks, entries]`: first key of every chunk, ascending; 2147483647 behind the last. */
  readonly indices: Tensor<'int32'>;
  /** `[batch, lists, queryBlocks]`: entries of each list. */
  readonly counts: Tensor<'int32'>;
}

/** The same as native code writes it. */
export interface StageLists {
  /** Queries per list and keys per entry. */
  readonly blockQ: number;
  readonly chunk: number;
  /** Room of every list. */
  readonly keep: number;
  /** Batch, lists per batch entry (heads of the scope), blocks of queries. */
  readonly dims: readonly number[];
  /** [...dims, keep]: first token of every chunk, ascending; 2^31 - 1 behind the last. */
  readonly starts: Int32Array | DeviceBuffer;
  /** [...dims] */
  readonly counts: Int32Array | DeviceBuffer;
  /** [...dims]: where each list begins in `starts`. */
  readonly begins: Int32Array;
}

export const toHipLists = ({ blockQ, chunk, keep, dims, starts, counts }: StageLists): HipLists => ({
  blockQ,
  chunk,
  indices: listTensor(starts, [...dims, keep]),
  counts: listTensor(counts, dims),
});

const listTensor = (data: Int32Array | DeviceBuffer, dims: readonly number[]): Tensor<'int32'> =>
  new Tensor('int32', (data instanceof DeviceBuffer ? data.share() : data) as Int32Array, dims);

/** What a call may reuse: the lists of the stages before `firstStage`. */
export interface Remembered {
  readonly firstStage: number;
  readonly lists: readonly StageLists[];
  /** Keys added since the first stage ran. */
  readonly grown: number;
  /** Whether the state keeps anything of this call: not of a prefill, whose lists are of other queries. */
  readonly isStep: boolean;
  readonly identity: string;
  readonly stages: string;
  readonly keys: number;
  readonly window: number;
  readonly refresh: Refresh | undefined;
}

/** How often each stage runs: one number for all, or one per stage. */
export type Refresh = number | readonly number[];

/** The published rates. */
const defaultRefresh = [16, 8, 4, 2];
const optionNames: ReadonlySet<string> = new Set(['refresh']);

/**
 * The lists of one layer's decode steps. Each stage is selected anew every `refresh` steps from the list of the stage
 * before, and whenever an earlier stage is. Until the first stage runs again the window reaches back to `windowStart`,
 * so that no key is out of sight that was not yet a candidate when the lists were made: attention stays gap-free.
 *
 * A call with more queries than one block is a prefill: it selects for itself and resets the state. The state starts
 * over by itself when keys have been taken back below `basePos`, when it has been left behind by more than a window of
 * keys, and when the number of keys calls for other stages.
 */
export class HipState {
  #refresh: Refresh | undefined;
  #lists: readonly StageLists[] = [];
  #steps: number[] = [];
  #basePos = 0;
  #window = 0;
  #identity = '';
  #stages = '';
  #isBusy = false;

  /**
   * @param options.refresh steps between selections: one number, or one per stage, each from 1; default 16, 8, 4 and 2
   *   for the stages one by one, 8 for a single one
   * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION
   */
  constructor(options: { refresh?: Refresh } = {}) {
    checkNames('new HipState()', options, optionNames);
    this.refresh = options.refresh;
  }

  /** Steps between selections as given; undefined: the default for the number of stages. */
  get refresh(): Refresh | undefined {
    return this.#refresh;
  }

  set refresh(refresh: Refresh | undefined) {
    this.#refresh = refresh === undefined ? undefined : checkRefresh(refresh);
  }

  /** The lists of every stage; empty before the first step. */
  get lists(): readonly HipLists[] {
    return this.#lists.map(toHipLists);
  }

  /** Steps that each stage's list has served. */
  get stepCounters(): readonly number[] {
    return [...this.#steps];
  }

  /** Keys there were when the first stage ran last: with fewer, its list is void. */
  get basePos(): number {
    return this.#basePos;
  }

  /** The first key that is visible because it was in the window then. */
  get windowStart(): number {
    return Math.max(0, this.#basePos - this.#window);
  }

  /** Forgets everything: the next step selects all stages. */
  reset(): void {
    this.#lists = [];
    this.#steps = [];
    this.#basePos = 0;
    this.#window = 0;
    this.#identity = '';
    this.#stages = '';
  }

  /** A state of its own that goes on from here, for another beam or another continuation of a prefix. */
  fork(): HipState {
    const copy = new HipState({ refresh: this.#refresh });
    copy.#lists = this.#lists; // lists are replaced, never changed
    copy.#steps = [...this.#steps];
    copy.#basePos = this.#basePos;
    copy.#window = this.#window;
    copy.#identity = this.#identity;
    copy.#stages = this.#stages;
    return copy;
  }

  /**
   * What a call with these sizes may reuse. Changes nothing.
   * @internal
   */
  recall(
    identity: string,
    call: { stages: readonly Required<SelectionStage>[]; window: number; queries: number; keys: number },
    refresh = this.#refresh,
  ): Remembered {
    if (this.#isBusy) {
      throw wrong(
        '`state` is in use by a call that is still running; wait for it, or give each sequence its own state',
      );
    }
    if (this.#identity !== '' && this.#identity !== identity) {
      throw wrong(
        '`state` comes from calls with other heads, batch, scope, sink or window, or on another device; use a state per layer and reset() it ' +
          `for another sequence (it has ${this.#identity}, not ${identity})`,
      );
    }
    const { keys, queries, window } = call;
    const stages = JSON.stringify(call.stages);
    const isStep = queries > 0 && queries <= call.stages[call.stages.length - 1].blockQ;
    const grown = keys - this.#basePos;
    const isAlive = this.#lists.length > 0 && this.#stages === stages && grown >= 0 && grown <= window;
    const fresh = { firstStage: 0, lists: [], grown: 0, isStep, identity, stages, keys, window, refresh };
    const rates = refreshOf(refresh, call.stages.length);
    if (!isStep || !isAlive) return fresh;
    const due = this.#steps.findIndex((steps, stage) => steps >= rates[stage]);
    if (due === 0) return fresh;
    return { ...fresh, firstStage: due < 0 ? call.stages.length : due, lists: this.#lists, grown };
  }

  /**
   * Claims the state for a call. commit() takes over what it selected.
   * @internal
   */
  use(call: Remembered, lists: readonly StageLists[]): { commit(): void; release(): void } {
    this.#isBusy = true;
    return {
      commit: () => {
        this.#refresh = call.refresh;
        if (!call.isStep) return this.reset();
        this.#steps = lists.map((_, stage) => (stage < call.firstStage ? this.#steps[stage] : 0) + 1);
        this.#lists = lists;
        if (call.firstStage > 0) return;
        this.#basePos = call.keys;
        this.#window = call.window;
        this.#identity = call.identity;
        this.#stages = call.stages;
      },
      release: () => {
        this.#isBusy = false;
      },
    };
  }
}

/** Steps between selections, per stage. */
function refreshOf(refresh: Refresh | undefined, stages: number): readonly number[] {
  if (refresh === undefined) {
    if (stages === 1) return [defaultRefresh[1]];
    return Array.from({ length: stages }, (_, stage) => defaultRefresh[stage] ?? 1);
  }
  if (typeof refresh === 'number') return new Array<number>(stages).fill(refresh);
  if (refresh.length !== stages) {
    throw wrong(
      `\`refresh\` has ${refresh.length} entries, but there are ${stages} stages; give one each, or one number`,
    );
  }
  return refresh;
}

export function checkRefresh(value: unknown): Refresh {
  if (!Array.isArray(value)) return checkInteger('refresh', value, 1, maxTokens);
  if (value.length === 0) throw invalid('refresh', 'a number of steps, or one per stage', value);
  return Object.freeze(value.map((steps, stage) => checkInteger(`refresh[${stage}]`, steps, 1, maxTokens)));
}

const wrong = (message: string): Error => new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);
