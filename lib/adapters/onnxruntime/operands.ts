// Operands of a site: values of onnxruntime as views [batch, heads, tokens, dim], and memory for an output.
// Reader: someone who asks where copies are made. None is. Calls of attention() check what these views reach.

import { TilewiseRangeError } from '../../check/errors.js';
import type { DataTypes, FloatType } from '../../tensor/types.js';
import { contiguousStrides, type HostView } from '../../tensor/views.js';
import type { Operand } from '../onnx/sites/site.js';
import type { OrtTensor } from './ort.js';
import { type RunMemory, TensorKind } from './segments/run-memory.js';

/** A view [batch, heads, tokens, dim] of numbers in the process's memory. */
export interface Rows extends HostView {
  readonly type: FloatType;
  readonly data: DataTypes[FloatType];
}

/** A value, or the part of it that is meant, as [batch, heads, tokens, dim]. */
export function headsFirst(tensor: OrtTensor, operand: Operand, heads: number, node: string): Rows {
  const { value, order } = operand;
  const { type, data, dims, strides, offset } = partOf(tensor, operand, node);
  if (order && dims.length === 4) return reordered({ type, data, offset }, dims, strides, order);
  const [batch, tokens, width] = dims;
  if (order || dims.length !== 3 || width % heads !== 0) throw unlike(tensor, value, node);
  const dim = width / heads;
  const split = [strides[0], strides[1], dim * strides[2], strides[2]];
  return reordered({ type, data, offset }, [batch, tokens, heads, dim], split, tokensFirst);
}

/** Where [batch, heads, tokens, dim] are in [batch, tokens, heads, dim]; the same the other way round. */
const tokensFirst: readonly number[] = [0, 2, 1, 3];

/** A view whose axes are taken in another order. */
function reordered(
  { type, data, offset }: Pick<Rows, 'type' | 'data' | 'offset'>,
  dims: readonly number[],
  strides: readonly number[],
  order: readonly number[],
): Rows {
  const pick = (values: readonly number[]) => [values[order[0]], values[order[1]], values[order[2]], values[order[3]]];
  return { type, data, dims: pick(dims), strides: pick(strides), offset };
}

function partOf(tensor: OrtTensor, { value, part }: Operand, node: string): Rows {
  const { type, data, dims } = tensor as Rows;
  const strides = contiguousStrides(dims);
  if (!part || part.axis >= dims.length) return { type, data, dims, strides, offset: 0 };
  const { axis, begin, end } = part;
  if (end > dims[axis]) throw unlike(tensor, value, node);
  // One of several operands that the last but one axis counts.
  const isOne = dims.length === 5;
  return {
    ...{ type, data, offset: begin * strides[axis] },
    dims: isOne ? dims.toSpliced(axis, 1) : dims.with(axis, end - begin),
    strides: isOne ? strides.toSpliced(axis, 1) : strides,
  };
}

const unlike = ({ dims }: OrtTensor, value: string, node: string): Error =>
  new TilewiseRangeError(
    'ERR_TILEWISE_SHAPE_MISMATCH',
    `'${value}' of ${node} has dims [${dims.join(', ')}], and the model says otherwise`,
  );

/** Memory for an output, as others read it, and a view of it as [batch, heads, tokens, dim] to write. */
export function outputOf({ order }: Operand, type: FloatType, sizes: readonly number[], memory: RunMemory) {
  const [batch, heads, tokens, dim] = sizes;
  const axes = order ?? tokensFirst;
  // Axis `axes[i]` of the value is axis i of [batch, heads, tokens, dim].
  const stored = axes.map((_, axis) => sizes[axes.indexOf(axis)]);
  const kind = TensorKind.of(type, order ? stored : [batch, tokens, heads * dim])!;
  const tensor = memory.take(kind);
  const { data } = tensor as { data: DataTypes[FloatType] };
  return { tensor, kind, out: reordered({ type, data, offset: 0 }, stored, contiguousStrides(stored), axes) };
}
