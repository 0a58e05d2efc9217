// The request of a selection, as far as its pattern and sizes fill it: everything but tensors and lists.
// Reader: someone who adds a field of core/op/selection.h. Names are those of binding/requests/selection.cc.

import { dataTypeCode } from '../native/native.js';
import { Op } from '../native/op.js';
import type { HierarchicalPattern, SelectionStage } from '../patterns/hierarchical.js';

export const op = new Op('selection');

const field = {
  batch: op.field('batch'),
  queryHeads: op.field('queryHeads'),
  kvHeads: op.field('kvHeads'),
  queries: op.field('queries'),
  keys: op.field('keys'),
  headDim: op.field('headDim'),
  type: op.field('type'),
  keyType: op.field('keyType'),
  sink: op.field('sink'),
  window: op.field('window'),
  headsPerList: op.field('headsPerList'),
  method: op.field('method'),
  strideKeys: op.field('strideKeys'),
  stages: op.field('stages'),
};
const stageField = {
  blockQueries: op.itemField('blockQueries'),
  strideQueries: op.itemField('strideQueries'),
  chunk: op.itemField('chunk'),
  keep: op.itemField('keep'),
};

/** Sizes of the tensors, as far as selection goes. */
export interface Sizes {
  readonly batch: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
  /** Of queries and of keys. */
  readonly type: string;
  readonly keyType: string;
}

/** What is selected, by which pattern. */
export interface SelectionRule {
  readonly pattern: HierarchicalPattern;
  readonly sizes: Sizes;
  readonly stages: readonly Required<SelectionStage>[];
  /** Keys up to a query's own position that it sees. */
  readonly window: number;
}

/** Consecutive heads that share a list. */
export function headsPerListOf({ scope }: HierarchicalPattern, { queryHeads, kvHeads }: Sizes): number {
  const heads = Math.max(queryHeads, kvHeads);
  return { head: 1, kv: heads / kvHeads, layer: heads }[scope];
}

/** The form of a request with so many stages. */
export const formOf = (stages: number): { fields: number; slots: number } => ({
  fields: op.fields + stages * op.itemFields,
  slots: op.views + stages * op.itemViews,
});

/**
 * Fills in a selection.
 * @param keeps entries of a list, stage by stage
 */
export function putRule(numbers: Float64Array, rule: SelectionRule, keeps: readonly number[]): void {
  const { pattern, sizes, stages, window } = rule;
  numbers[field.batch] = sizes.batch;
  numbers[field.queryHeads] = sizes.queryHeads;
  numbers[field.kvHeads] = sizes.kvHeads;
  numbers[field.queries] = sizes.queries;
  numbers[field.keys] = sizes.keys;
  numbers[field.headDim] = sizes.headDim;
  numbers[field.type] = dataTypeCode(sizes.type);
  numbers[field.keyType] = dataTypeCode(sizes.keyType);
  numbers[field.sink] = pattern.sink;
  numbers[field.window] = window;
  numbers[field.headsPerList] = headsPerListOf(pattern, sizes);
  numbers[field.method] = pattern.method === 'tree' ? 1 : 0;
  numbers[field.strideKeys] = pattern.method === 'tree' ? pattern.strideK : 1;
  numbers[field.stages] = stages.length;
  for (const [i, { blockQ, strideQ, chunk }] of stages.entries()) {
    const base = op.fields + i * op.itemFields;
    numbers[base + stageField.blockQueries] = blockQ;
    numbers[base + stageField.strideQueries] = strideQ;
    numbers[base + stageField.chunk] = chunk;
    numbers[base + stageField.keep] = keeps[i];
  }
}
