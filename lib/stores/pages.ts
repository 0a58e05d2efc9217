// Pages: keys and values in blocks of a shared pool, as servers keep them while they generate.
// Reader: someone with a paged KV cache (PagedAttention, arXiv 2309.06180). Sequences find their pages by a table; pages
// that no length reaches are neither read nor looked up.

import type { Request } from '../call/request.js';
import { mismatch, type Shape } from '../call/shape.js';
import { showDims, TilewiseRangeError } from '../check/errors.js';
import { checkInteger, checkNames, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import { field, slot } from '../native/fields.js';
import { type IntegerTable, readIntegerTable } from '../tensor/integers.js';
import type { HostView, View } from '../tensor/views.js';
import { type CodedStore, putCodes } from './codes.js';

/** Where the keys of each sequence are: those of a batch entry, or of packed queries. */
export interface PagedKeys {
  /**
   * An int32 or int64 tensor [sequences, pagesPerSequence], or an array of rows, which may differ in length: key t of sequence s is
   * row t % pageSize of page table[s][floor(t / pageSize)].
   */
  table: IntegerTable;
  /** Keys per page; any number from 1. */
  pageSize: number;
}

/** The same, read. */
export interface PageSettings {
  readonly table: HostView;
  readonly pageSize: number;
  /** Codes that older keys have in place of pages. */
  readonly codes?: CodedStore;
}

/** Pages of a cache, whose table nobody else has: there is nothing to check. */
export class OwnPages implements PageSettings {
  readonly table: HostView;
  readonly pageSize: number;
  readonly codes?: CodedStore;

  constructor(data: Int32Array, sequences: number, pageSize: number, codes?: CodedStore) {
    const perSequence = sequences === 0 ? 0 : data.length / sequences;
    this.table = { type: 'int32', data, dims: [sequences, perSequence], strides: [perSequence, 1], offset: 0 };
    this.pageSize = pageSize;
    this.codes = codes;
  }
}

const names = namesOf<PagedKeys>({ table: 1, pageSize: 1 });

export function readPages(value: unknown): PageSettings {
  if (value instanceof OwnPages) return value;
  if (!is.object(value)) throw invalid('pages', 'an object { table, pageSize }', value);
  checkNames('`pages`', value, names);
  const table = readIntegerTable('pages.table', value.table);
  if (table.dims.length !== 2) {
    throw mismatch(`\`pages.table\` must have dims [sequences, pagesPerSequence], not ${showDims(table.dims)}`);
  }
  return { table, pageSize: checkInteger('pages.pageSize', value.pageSize, 1, maxTokens) };
}

/** Keys that a sequence may have: those of all its pages. */
export const keysOnPages = ({ table, pageSize }: PageSettings): number => table.dims[1] * pageSize;

/** Where a request of an op has its pages. */
export interface PagePlace {
  readonly pages: number;
  readonly pageSize: number;
  readonly pageTable: number;
}
const attentionPlace: PagePlace = { pages: field.pages, pageSize: field.pageSize, pageTable: slot.pageTable };

/** Passes the table, to attention unless `at` says another op. Lengths and starts have been checked against the keys. */
export function putPages(
  request: Request,
  { table, pageSize, codes }: PageSettings,
  lengths: Int32Array,
  starts: Int32Array | undefined,
  k: View,
  at = attentionPlace,
): void {
  if (codes) putCodes(request, codes);
  const [sequences, perSequence] = table.dims;
  const pages = k.dims[0];
  for (let s = 0; s < sequences; ++s) {
    for (let i = Math.floor((starts?.[s] ?? 0) / pageSize); i * pageSize < lengths[s]; ++i) {
      const page = table.data[s * perSequence + i] as number;
      if (page >= 0 && page < pages) continue;
      throw new TilewiseRangeError(
        'ERR_TILEWISE_INVALID_OPTION',
        `\`pages.table\` [${s}, ${i}] must be 0 to ${pages - 1}, a page of \`k\`, not ${page}`,
      );
    }
  }
  request.numbers[at.pages] = pages;
  request.numbers[at.pageSize] = pageSize;
  request.views[at.pageTable] = table.data;
}

/** Says of a problem without data that its keys are on pages, for explain(). */
export function describePages(
  request: Request,
  pageSize: number,
  { batch, keys }: Pick<Shape, 'batch' | 'keys'>,
): void {
  request.numbers[field.pages] = Math.min(maxTokens, batch * Math.ceil(keys / pageSize));
  request.numbers[field.pageSize] = pageSize;
}

/** Refuses a table of other sequences, and pages of another size. */
export function checkPages(
  { table, pageSize }: PageSettings,
  k: View,
  tokenAxis: number,
  { batch: sequences }: Pick<Shape, 'batch'>,
): void {
  if (table.dims[0] !== sequences) {
    throw mismatch(
      `\`pages.table\` ${showDims(table.dims)} must have a row for each of the ${sequences} sequences of \`q\``,
    );
  }
  if (k.dims[tokenAxis] === pageSize) return;
  throw mismatch(
    `\`k\` ${showDims(k.dims)} must have pages of ${pageSize} keys, as \`pages.pageSize\` says, not of ${k.dims[tokenAxis]}`,
  );
}
