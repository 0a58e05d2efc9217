// Selectors in steps: a selector says which statistics and summaries it needs, and makes lists of them. Reader: someone who
// writes a selector as a generator, for both its forms.

import type { CopyInputs } from '../../call/request.js';
import { checkOneOf } from '../../check/validate.js';
import { KeyPages } from '../../stores/key-pages.js';
import { checkDevice, type DeviceName } from '../../tensor/devices.js';
import type { TensorLike } from '../../tensor/types.js';
import type { View } from '../../tensor/views.js';
import { checkCopyInputs, checkSignal, type Layout, layouts } from '../attention/options.js';
import type { AttentionStatsOptions } from '../stats/options.js';
import type { AttentionStats } from '../stats/problem.js';
import { attentionStats, attentionStatsSync } from '../stats/stats.js';
import { flySummary, prepareSummary, runSummary, type SummaryCall, type SummaryRows } from '../summary.js';

/** Options that all selectors have. */
export interface SelectorOptions {
  /** Axes of q and k: `'bnhd'` (default) or `'bhnd'`. */
  layout?: Layout;
  /** Cancels an asynchronous call. */
  signal?: AbortSignal;
  /** As in attention(). Only the CPU selects at present. */
  device?: DeviceName;
  /** Asynchronous calls: copy the inputs first, as in attention(). */
  copyInputs?: CopyInputs;
}

/** For namesOf(). */
export const selectorNames = { layout: 1, signal: 1, device: 1, copyInputs: 1 } as const;

/** The same, read. */
export interface SelectorSettings {
  readonly isHeadsFirst: boolean;
  readonly signal: AbortSignal | undefined;
  readonly device: DeviceName;
  readonly copyInputs: CopyInputs;
}

export const readSelectorOptions = (o: SelectorOptions): SelectorSettings => ({
  isHeadsFirst: o.layout !== undefined && checkOneOf('layout', o.layout, layouts) === 'bhnd',
  signal: o.signal === undefined ? undefined : checkSignal('signal', o.signal),
  device: o.device === undefined ? 'auto' : checkDevice('device', o.device),
  copyInputs: o.copyInputs === undefined ? 'small' : checkCopyInputs(o.copyInputs),
});

interface StatsStep {
  readonly q: TensorLike;
  readonly k: TensorLike | KeyPages;
  readonly options: AttentionStatsOptions;
}
interface SummaryStep {
  readonly summary: SummaryCall;
}

/** Yields steps whose results it is sent; returns what follows from them. */
export type Steps<T> = Generator<StatsStep | SummaryStep, T, AttentionStats | SummaryRows>;

/** The statistics of q and k. */
export function* statsOf(
  q: TensorLike,
  k: TensorLike | KeyPages,
  options: AttentionStatsOptions,
  { isHeadsFirst, device, copyInputs }: SelectorSettings,
): Steps<AttentionStats> {
  const layout = isHeadsFirst ? 'bhnd' : 'bnhd';
  return (yield { q, k, options: { layout, device, copyInputs, ...options } }) as AttentionStats;
}

/** Summaries of runs of keys, as prepareSummary() takes them. */
export function* summaryOf(
  name: string,
  k: View,
  runs: Int32Array,
  rows: readonly [count: number, rows: SummaryRows],
  settings: SelectorSettings,
): Steps<SummaryRows> {
  return (yield { summary: prepareSummary(name, k, settings.isHeadsFirst, runs, rows, settings) }) as SummaryRows;
}

/** Runs steps one after the other; until the last is done, a cache whose keys `k` are does not change them. */
export async function inTurn<T>(
  steps: Steps<T>,
  signal: AbortSignal | undefined,
  k: TensorLike | KeyPages,
): Promise<T> {
  const end = k instanceof KeyPages ? k.hold() : undefined;
  try {
    return await runInTurn(steps, signal);
  } finally {
    end?.();
  }
}

async function runInTurn<T>(steps: Steps<T>, signal: AbortSignal | undefined): Promise<T> {
  let step = steps.next();
  while (!step.done) {
    const { value } = step;
    const found =
      'summary' in value
        ? await flySummary(value.summary, signal)
        : await attentionStats(value.q, value.k, { ...value.options, signal });
    step = steps.next(found);
  }
  return step.value;
}

/** The same on the calling thread. */
export function inTurnSync<T>(steps: Steps<T>): T {
  let step = steps.next();
  while (!step.done) {
    const { value } = step;
    step = steps.next(
      'summary' in value ? runSummary(value.summary) : attentionStatsSync(value.q, value.k, value.options),
    );
  }
  return step.value;
}
