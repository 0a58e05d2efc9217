// A pattern and a shape become the fields of a request.
// Reader: someone who adds a pattern. The numbers become a problem of core/op/attention.h; core's patterns decide what is
// visible.

import { Request } from '../call/request.js';
import { outputHeads, putShape, type Shape } from '../call/shape.js';
import { maxTokens } from '../check/validate.js';
import { attentionForm, field, slot } from '../native/fields.js';
import { passed } from '../tensor/device-buffer.js';
import type { Align } from './align.js';
import { listsOf, type NativeLists } from './block-lists.js';
import type { Pattern } from './index.js';
import type { AxisRule } from './neighborhood.js';
import { type StridedShardsPattern, shardLayouts } from './strided-shards.js';
import type { WindowPattern } from './window.js';

/** A pattern that native code runs as it is: a hierarchical one has been turned into the lists it selects. */
export type RunnablePattern = Exclude<Pattern, { kind: 'hierarchical' }> | NativeLists;

/** A grid that a neighborhood is laid over. */
export interface Grid {
  readonly lengths: readonly number[];
  readonly rules: readonly AxisRule[];
}

// The values of the field `pattern`.
const codes: Record<RunnablePattern['kind'], number> = {
  window: 0,
  neighborhood: 1,
  stridedShards: 2,
  blocks: 3,
  lists: 3,
};

/** A problem of this shape and pattern without data, for explain(). `grid` belongs to neighborhoods. */
export function describe(shape: Shape, pattern: RunnablePattern, grid: Grid | undefined): Request {
  const request = new Request(attentionForm, false);
  putShape(request.numbers, shape);
  putPattern(request, pattern, shape, grid);
  return request;
}

/** Fills in a pattern. `grid` belongs to neighborhoods. */
export function putPattern(request: Request, pattern: RunnablePattern, shape: Shape, grid: Grid | undefined): void {
  const { numbers } = request;
  numbers[field.pattern] = codes[pattern.kind];
  switch (pattern.kind) {
    case 'window':
      putWindow(numbers, pattern);
      break;
    case 'neighborhood':
      putGrid(numbers, grid as Grid);
      break;
    case 'stridedShards':
      putShards(numbers, pattern, shape);
      break;
    case 'blocks':
      putLists(request, listsOf(pattern, { ...shape, heads: outputHeads(shape) }));
      break;
    case 'lists':
      putLists(request, pattern);
  }
}

function putAlign(numbers: Float64Array, align: Align): void {
  numbers[field.align] = align === 'bottom-right' ? 0 : align === 'top-left' ? 1 : 2;
  numbers[field.alignOffset] = typeof align === 'object' ? align.offset : 0;
}

type WindowFields = Pick<WindowPattern, 'left' | 'right' | 'sinkTokens' | 'align'>;

// maxTokens reaches past every key, which is what open and endless mean in native code.
const bounded = (value: number): number => Math.min(value, maxTokens);

function putWindow(numbers: Float64Array, { left, right, sinkTokens, align }: WindowFields): void {
  numbers[field.left] = bounded(left);
  numbers[field.right] = bounded(right);
  numbers[field.sinkTokens] = sinkTokens;
  putAlign(numbers, align);
}

function putGrid(numbers: Float64Array, { lengths, rules }: Grid): void {
  numbers[field.rank] = lengths.length;
  lengths.forEach((length, axis) => {
    const { kernelSize, stride, dilation, causal } = rules[axis];
    numbers[field.length + axis] = length;
    numbers[field.kernelSize + axis] = kernelSize;
    numbers[field.stride + axis] = stride;
    numbers[field.dilation + axis] = dilation;
    numbers[field.causal + axis] = causal ? 1 : 0;
  });
}

function putShards(numbers: Float64Array, pattern: StridedShardsPattern, shape: Shape): void {
  const { blockSize, localBlocks, positions } = pattern;
  const layouts = shardLayouts(pattern, outputHeads(shape), shape.kvHeads);
  const [left, right] = typeof localBlocks === 'number' ? [localBlocks, localBlocks] : localBlocks;
  // Positions end at twice maxTokens, so a window of so many blocks covers them all.
  const most = Math.floor((2 * maxTokens) / blockSize) + 1;
  numbers[field.shardBlockSize] = blockSize;
  numbers[field.shardLocalBlocks] = bounded(Math.min(left, most));
  numbers[field.shardLocalBlocksRight] = bounded(Math.min(right, most));
  numbers[field.shardVertStride] = pattern.vertStride;
  numbers[field.shardHeadStep] = layouts.step;
  numbers[field.shardHeadOffset] = layouts.offset;
  numbers[field.shardHeadBase] = layouts.base;
  numbers[field.shardHeadsPerLayout] = bounded(layouts.headsPerLayout);
  numbers[field.shardFirstDense] = bounded(layouts.firstDense);
  numbers[field.shardRelative] = positions === 'relative' ? 1 : 0;
  putAlign(numbers, pattern.align);
}

function putLists({ numbers, views }: Request, lists: NativeLists): void {
  numbers[field.blockQueries] = lists.blockQueries;
  numbers[field.blockKeys] = lists.blockKeys;
  numbers[field.headsPerList] = lists.headsPerList;
  numbers[field.listsByBatch] = lists.listsByBatch;
  numbers[field.listsByHead] = lists.listsByHead;
  numbers[field.listWindow] = lists.listWindow;
  putWindow(numbers, lists);
  views[slot.blockBegins] = lists.begins;
  views[slot.blockCounts] = passed(lists.counts);
  views[slot.blockStarts] = passed(lists.starts);
  views[slot.blockMaskIndex] = lists.maskIndex;
  views[slot.blockMasks] = lists.masks;
}
