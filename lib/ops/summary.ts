// Summaries: what is kept of runs of keys, the largest and smallest number of each channel and their mean. Reader: someone who
// selects blocks or pages of keys. core/op/summary.h has the rule.

import { fly } from '../call/flight.js';
import { onDevice, type Placement, placementOf } from '../call/placement.js';
import { type CopyInputs, copiesInputs, Request } from '../call/request.js';
import { dataTypeCode } from '../native/native.js';
import { Op } from '../native/op.js';
import { axesOf } from '../tensor/axes.js';
import { type DeviceBuffer, passed } from '../tensor/device-buffer.js';
import type { DeviceName } from '../tensor/devices.js';
import type { FloatType } from '../tensor/types.js';
import { allocate, type TensorData, type View } from '../tensor/views.js';

const op = new Op('summary');
const form = { fields: op.fields, slots: op.views };
const field = {
  batch: op.field('batch'),
  heads: op.field('heads'),
  tokens: op.field('tokens'),
  headDim: op.field('headDim'),
  type: op.field('type'),
  rows: op.field('rows'),
};
const place = op.place('key');
const slot = { runs: op.view('runs'), bounds: op.view('bounds'), means: op.view('means') };

/** Rows that are written: [rows, heads, 2 * headDim] of the keys' type, and [rows, heads, headDim] of float32. */
export interface SummaryRows {
  readonly bounds?: TensorData | DeviceBuffer;
  readonly means?: TensorData | DeviceBuffer;
}

/** A call ready to run. */
export interface SummaryCall {
  readonly request: Request;
  readonly placement: Placement;
  readonly rows: SummaryRows;
}

/**
 * A call that summarises runs of keys.
 * @param k [batch, tokens, heads, dim] or the order of `isHeadsFirst`; of a pool pages in place of the batch
 * @param runs for each run [batch entry, first key, keys, row]; no row twice
 * @param rows that there are, and their memory
 */
export function prepareSummary(
  name: string,
  k: View,
  isHeadsFirst: boolean,
  runs: Int32Array,
  [count, rows]: readonly [count: number, rows: SummaryRows],
  told: { device: DeviceName; copyInputs: CopyInputs },
): SummaryCall {
  const named = [{ name, view: k }];
  const axes = axesOf(4, isHeadsFirst);
  const request = new Request(form, copiesInputs(told.copyInputs, named));
  const { numbers, views } = request;
  numbers[field.batch] = k.dims[axes.batch];
  numbers[field.heads] = k.dims[axes.head];
  numbers[field.tokens] = k.dims[axes.token];
  numbers[field.headDim] = k.dims[axes.dim];
  numbers[field.type] = dataTypeCode(k.type);
  numbers[field.rows] = count;
  request.operand(name, place, k, isHeadsFirst);
  views[slot.runs] = runs;
  views[slot.bounds] = rows.bounds && passed(rows.bounds);
  views[slot.means] = rows.means && passed(rows.means);
  return { request, placement: placementOf(told.device, named), rows };
}

/** Memory for the bounds of so many rows, or for their means. */
export const boundsRows = (count: number, heads: number, headDim: number, type: FloatType): SummaryRows => ({
  bounds: allocate(type, count * heads * 2 * headDim),
});
export const meansRows = (count: number, heads: number, headDim: number): SummaryRows => ({
  means: allocate('float32', count * heads * headDim),
});

/** Runs of `size` keys each, of every batch entry, whose row is that of [batch][blocks]; `lengths`: keys in use. */
export function blockRuns(lengths: ArrayLike<number>, size: number, blocks: number): Int32Array {
  const runs: number[] = [];
  for (let b = 0; b < lengths.length; ++b) {
    for (let first = 0, block = 0; first < lengths[b]; first += size, ++block) {
      runs.push(b, first, Math.min(size, lengths[b] - first), b * blocks + block);
    }
  }
  return Int32Array.from(runs);
}

/** Runs a call on this thread. */
export function runSummary({ request, placement, rows }: SummaryCall): SummaryRows {
  onDevice(placement, (device) => op.run(device, request));
  return rows;
}

/** Runs a call on the threads of its device. */
export async function flySummary(
  { request, placement, rows }: SummaryCall,
  signal: AbortSignal | undefined,
): Promise<SummaryRows> {
  await fly(placement, (device) => op.submit(device, request), undefined, signal);
  return rows;
}
