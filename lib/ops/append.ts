// append: rows of keys and values written to slots of a cache's pages, converted on the way.
// Reader: someone who writes a cache. What a slot is, is said in core/store/page_slots.h.

import { onDevice } from '../call/placement.js';
import { type Place, Request } from '../call/request.js';
import { dataTypeCode } from '../native/native.js';
import { Op } from '../native/op.js';
import { axesOf } from '../tensor/axes.js';
import { checkOverlaps } from '../tensor/leases.js';
import type { HostView, TensorData, View } from '../tensor/views.js';

const op = new Op('append');
const form = { fields: op.fields, slots: op.views };
const fieldNames = [
  'batch',
  'tokens',
  'heads',
  'pages',
  'pageSize',
  'fromType',
  'toType',
  'keyDim',
  'valueDim',
] as const;
const field = Object.fromEntries(fieldNames.map((name) => [name, op.field(name)])) as Record<
  (typeof fieldNames)[number],
  number
>;
const placeOf = (name: string): Place => ({ field: op.field(`${name}Offset`), slot: op.view(name) });
const places = {
  keys: placeOf('keys'),
  values: placeOf('values'),
  keyPages: placeOf('keyPages'),
  valuePages: placeOf('valuePages'),
};
const memoryPlaces = Object.values(places);
const slots = op.view('slots');

/** Rows of one kind and the pages they go to. */
export interface Appended {
  /** What messages call the rows. */
  readonly name: string;
  /** [batch, tokens, heads, dim] or the order of `isHeadsFirst`; the batch axis may be absent. */
  readonly from: View;
  /** [pages, pageSize, heads, dim], by whatever strides. */
  readonly to: View;
}

/**
 * Writes rows on a device, on the calling thread; types are converted, to the nearest number, ties to even.
 * @param keys and values: of the same tokens and heads, in pages of one size; their types are alike
 * @param at for each row of [batch][tokens] its slot, page * pageSize + row of the page; -1 keeps nothing. No slot twice
 * @throws {TilewiseError} what the device reports
 */
export function append(
  device: number,
  keys: Appended,
  values: Appended | undefined,
  isHeadsFirst: boolean,
  at: Int32Array,
): void {
  const request = requestOf(keys, values, isHeadsFirst, at);
  const rows = values ? [keys, values] : [keys];
  checkOverlaps(
    rows.map(({ name, from: view }) => ({ name, view })),
    undefined,
  );
  runAppend(device, request);
}

/** A request of append() for calls that are made again: run by runAppend(), its memory put by putRows() and putPages(). */
export const prepareAppend = (keys: Appended, values: Appended, isHeadsFirst: boolean, at: Int32Array): Request =>
  requestOf(keys, values, isHeadsFirst, at);

/** Puts the memory of rows, which begin at these elements of it. */
export function putRows({ numbers, views }: Request, keys: Memory, values: Memory): void {
  numbers[places.keys.field] = keys.offset;
  numbers[places.values.field] = values.offset;
  views[places.keys.slot] = keys.data;
  views[places.values.slot] = values.data;
}
export type Memory = Pick<HostView, 'data' | 'offset'>;

/** Puts the memory of pages, which are as many as `pages` says. */
export function putPages({ numbers, views }: Request, keys: TensorData, values: TensorData, pages: number): void {
  numbers[field.pages] = pages;
  views[places.keyPages.slot] = keys;
  views[places.valuePages.slot] = values;
}

/** Keeps no memory of rows and pages. */
export function letGoOfMemory({ views }: Request): void {
  for (const { slot } of memoryPlaces) views[slot] = undefined;
}

/** append() of a request. */
export function runAppend(device: number, request: Request): void {
  onDevice({ candidates: [device] }, (index) => op.run(index, request));
}

/** Every reason why a device, available or not, could not run append(). */
export const appendReasons = (device: number, keys: Appended, values: Appended, at: Int32Array): string[] =>
  op.supports(device, requestOf(keys, values, false, at));

function requestOf(keys: Appended, values: Appended | undefined, isHeadsFirst: boolean, at: Int32Array): Request {
  const { dims } = keys.from;
  const axes = axesOf(dims.length, isHeadsFirst);
  const request = new Request(form, false);
  const { numbers } = request;
  numbers[field.batch] = axes.batch < 0 ? 1 : dims[axes.batch];
  numbers[field.tokens] = dims[axes.token];
  numbers[field.heads] = dims[axes.head];
  numbers[field.pages] = keys.to.dims[0];
  numbers[field.pageSize] = keys.to.dims[1];
  numbers[field.fromType] = dataTypeCode(keys.from.type);
  numbers[field.toType] = dataTypeCode(keys.to.type);
  const put = ({ name, from, to }: Appended, dim: number, source: Place, pages: Place): void => {
    numbers[dim] = to.dims[3];
    request.operand(name, source, from, isHeadsFirst);
    request.operand(name, pages, to, false);
  };
  put(keys, field.keyDim, places.keys, places.keyPages);
  if (values) put(values, field.valueDim, places.values, places.valuePages);
  request.views[slots] = at;
  return request;
}
