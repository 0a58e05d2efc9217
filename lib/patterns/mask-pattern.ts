// maskPattern(): the options that say the same as a mask, where causal order and padding or documents are all that it says.
// Reader: someone whose model brings explicit masks. Options cost less to read than a mask, and name what it means. Every
// row of such a mask is one range of keys: the ranges suggest options, and options are returned only if each row agrees.

import { showDims, TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { readMask } from '../tensor/masks.js';
import type { TensorLike } from '../tensor/types.js';
import { checkAttached, type HostView, isOnHost } from '../tensor/views.js';
import type { Align } from './align.js';
import { type DocumentsPattern, documents } from './documents.js';

/** Options of attention() that hide what a mask hides, for calls of the mask's dims. */
export interface MaskPattern {
  causal: boolean;
  /** Absent: `'bottom-right'`. */
  align?: Align;
  /** Absent: every key is in use from the first on. */
  keyStarts?: Int32Array;
  /** Absent: every key is in use up to the last. */
  keyLengths?: Int32Array;
}

/** A pattern that hides what a mask hides: documents side by side. */
export interface MaskDocuments {
  pattern: DocumentsPattern;
}

/** The keys [begin, end) that a query sees. */
interface Keys {
  readonly begin: number;
  readonly end: number;
}
const none: Keys = { begin: 0, end: 0 };

/** What a batch entry's queries see, in order, and all of them together. */
interface Entry {
  readonly rows: readonly Keys[];
  readonly all: Keys;
}

/**
 * Reads what a mask means. Exporters write causal order and padding as tensors of ones and zeros; the options that say so
 * are read faster, and packages of other kernels take nothing else.
 * @param mask as the option `mask`: [keys], [queries, keys], or with heads and batch before them; in the process's memory
 * @returns options that hide exactly what the mask hides: causal order and padding, or `pattern: documents()`, full or causal; null
 *   when neither can say it
 * @throws {TypeError | RangeError | TilewiseError} for anything but a mask of at most four axes
 */
export function maskPattern(mask: TensorLike): MaskPattern | MaskDocuments | null {
  const view = readShown(mask);
  const rows = rowsOf(view);
  return rows && (orderAndPaddingOf(rows, view) ?? documentsOf(rows, view.dims[view.dims.length - 1]));
}

/** The same of causal order and padding alone. */
export function orderAndPadding(mask: TensorLike): MaskPattern | null {
  const view = readShown(mask);
  const rows = rowsOf(view);
  return rows ? orderAndPaddingOf(rows, view) : null;
}

function readShown(mask: TensorLike): HostView {
  const view = readMask('mask', mask);
  if (!isOnHost(view)) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_TENSOR',
      "`mask` is on a device, and its numbers are read here: `await mask.to('cpu')` has them",
    );
  }
  checkAttached('mask', view);
  if (view.dims.length < 1 || view.dims.length > 4) {
    throw new TilewiseRangeError(
      'ERR_TILEWISE_SHAPE_MISMATCH',
      `\`mask\` must have dims [batch, heads, queries, keys] or the last of them, not ${showDims(view.dims)}`,
    );
  }
  return view;
}

function orderAndPaddingOf(rows: readonly (readonly Keys[])[], view: HostView): MaskPattern | null {
  const keys = view.dims[view.dims.length - 1];
  const entries: Entry[] = [];
  for (const entry of rows) {
    const whole = entry.length > 0 ? together(entry) : { rows: [], all: { begin: 0, end: keys } };
    if (!whole) return null;
    entries.push(whole);
  }
  if (entries.every(({ rows, all }) => rows.every((row) => isSame(row, all)))) return optionsOf(false, entries, keys);
  const aligns = alignsOf(entries);
  const whole = aligns.find((align) => entries.every((entry) => isCausal(entry, keys, align)));
  const align = whole ?? aligns.find((some) => entries.every((entry) => isCausal(entry, entry.all.end, some)));
  if (align === undefined) return null;
  return { ...optionsOf(true, entries, whole ? undefined : keys), ...(align !== 'bottom-right' && { align }) };
}

const isSame = (a: Keys, b: Keys): boolean => a.begin === b.begin && a.end === b.end;

/** The range of every row of every batch entry; null when a row has more than one or heads differ. */
function rowsOf(view: HostView): Keys[][] | null {
  const missing = 4 - view.dims.length;
  const dims = [...new Array<number>(missing).fill(1), ...view.dims];
  const strides = [...new Array<number>(missing).fill(0), ...view.strides];
  const entries: Keys[][] = [];
  for (let b = 0; b < dims[0]; ++b) {
    let entry: Keys[] | undefined;
    for (let h = 0; h < dims[1]; ++h) {
      if (h > 0 && strides[1] === 0) break;
      const rows: Keys[] = [];
      for (let q = 0; q < dims[2]; ++q) {
        const row = rangeOf(
          view.data,
          view.offset + b * strides[0] + h * strides[1] + q * strides[2],
          strides[3],
          dims[3],
        );
        if (!row) return null;
        rows.push(row);
      }
      if (entry && !entry.every((row, q) => isSame(row, rows[q]))) return null;
      entry ??= rows;
    }
    entries.push(entry ?? []);
  }
  return entries;
}

/** The one range of a row's keys that are not hidden; undefined when there are more. */
function rangeOf(data: HostView['data'], first: number, stride: number, keys: number): Keys | undefined {
  let begin = 0;
  while (begin < keys && !data[first + begin * stride]) ++begin;
  let end = begin;
  while (end < keys && data[first + end * stride]) ++end;
  for (let key = end; key < keys; ++key) if (data[first + key * stride]) return undefined;
  return begin === end ? none : { begin, end };
}

/** Rows that see something begin at one key: padding hides keys from all alike. */
function together(rows: readonly Keys[]): Entry | undefined {
  const seeing = rows.filter((row) => row !== none);
  if (seeing.length === 0) return { rows, all: none };
  const begin = seeing[0].begin;
  if (seeing.some((row) => row.begin !== begin)) return undefined;
  return { rows, all: { begin, end: seeing.reduce((end, row) => Math.max(end, row.end), 0) } };
}

/** Where queries may be among the keys, the simplest first. */
function alignsOf(entries: readonly Entry[]): Align[] {
  for (const { rows, all } of entries) {
    // One row that ends early says where all queries are; or the first that sees its entry's only key.
    const early = rows.findIndex((row) => row !== none && row.end < all.end);
    const q = early >= 0 ? early : rows.findIndex((row) => row !== none);
    if (q < 0 || (early < 0 && q === 0)) continue;
    return ['bottom-right', 'top-left', { offset: rows[q].end - 1 - q }];
  }
  return ['bottom-right', 'top-left'];
}

/** Whether causal order shows each row just the keys that it sees, of an entry that ends at `end`. */
function isCausal({ rows, all: { begin } }: Entry, end: number, align: Align): boolean {
  const offset = align === 'bottom-right' ? end - rows.length : align === 'top-left' ? 0 : align.offset;
  return rows.every((row, q) => {
    const last = Math.min(end, q + offset + 1);
    return isSame(row, last > begin ? { begin, end: last } : none);
  });
}

/** `keys`: how many there are; undefined: lengths say nothing. */
function optionsOf(causal: boolean, entries: readonly Entry[], keys: number | undefined): MaskPattern {
  const starts = Int32Array.from(entries, ({ all }) => all.begin);
  const lengths = Int32Array.from(entries, ({ all }) => all.end);
  return {
    causal,
    ...(starts.some((start) => start > 0) && { keyStarts: starts }),
    ...(keys !== undefined && lengths.some((length) => length < keys) && { keyLengths: lengths }),
  };
}

/** Documents that show each row just the keys that it sees; null where there are none such. */
function documentsOf(entries: readonly (readonly Keys[])[], keys: number): MaskDocuments | null {
  if (keys === 0 || entries.length === 0 || entries.some((rows) => rows.length !== keys)) return null;
  for (const causal of [false, true]) {
    const lengths = entries.map((rows) => lengthsOf(rows, causal));
    if (!lengths.every((one) => one !== undefined)) continue;
    const areSame = lengths.every((one) => one.join() === lengths[0].join());
    return { pattern: documents({ lengths: areSame ? lengths[0] : lengths, causal }) };
  }
  return null;
}

/** Lengths of the documents of a batch entry whose rows are as many as its keys; undefined where rows are of none. */
function lengthsOf(rows: readonly Keys[], causal: boolean): number[] | undefined {
  const lengths: number[] = [];
  let begin = 0;
  for (const [q, row] of rows.entries()) {
    if (row.begin !== begin && row.begin === q) {
      if (!causal && rows[begin].end !== q) return undefined;
      lengths.push(q - begin);
      begin = q;
    }
    // Rows of a full document end where the first of them does.
    if (!isSame(row, { begin, end: causal ? q + 1 : rows[begin].end })) return undefined;
    if (!causal && q >= row.end) return undefined;
  }
  lengths.push(rows.length - begin);
  const ends = causal || rows[begin].end === rows.length;
  return ends ? lengths : undefined;
}
