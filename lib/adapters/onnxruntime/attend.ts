// A site in a run: views of onnxruntime's memory go in, and the output is written as the next segment reads it.
// Reader: someone who asks where copies are made. None is, of queries, keys, values and output.

import { TilewiseRangeError } from '../../check/errors.js';
import { attention } from '../../ops/attention/attention.js';
import type { DeviceName } from '../../tensor/devices.js';
import { Tensor } from '../../tensor/tensor.js';
import type { FloatType, TensorLike } from '../../tensor/types.js';
import type { Operand } from '../onnx/sites/site.js';
import type { SwappedSite } from './cut.js';
import type { MaskOfRun, RunMasks } from './masks.js';
import type { Ort, OrtTensor } from './ort.js';

/** Runs a site on the values of a run; returns its output. */
export async function attend(
  { Tensor: Theirs }: Ort,
  site: SwappedSite,
  tensorOf: (name: string) => OrtTensor,
  masks: RunMasks,
  device: DeviceName | undefined,
): Promise<OrtTensor> {
  const { swap, kind, queryHeads, kvHeads, node } = site;
  const view = (operand: Operand, heads: number) => headsFirst(tensorOf(operand.value), operand, heads, node);
  const values = swap.masks.map((mask) => [mask, tensorOf(mask.value)] as const);
  const operands = [view(swap.q, queryHeads!), view(swap.k, kvHeads!), view(swap.v, kvHeads!)];
  const [q, k, v] = kind === 'decomposed' ? broadcast(operands, values, node) : operands;
  const [batch, heads, queries] = q.dims;
  const { out, memory, dims } = outputOf(swap.out, q.type, [batch, heads, queries, v.dims[3]]);
  await attention(q, k, v, {
    layout: 'bhnd',
    // Without a cache ONNX counts causal order from the first key.
    ...(swap.causal && { causal: true, align: 'top-left' }),
    ...masks.optionsOf(values, { batch, heads, queries, keys: k.dims[2] }, swap.causal),
    ...(swap.scale !== undefined && { scale: swap.scale }),
    ...(swap.softcap !== 0 && { softcap: swap.softcap }),
    ...(device && { device }),
    out,
  });
  // The product with the values has their type, and so has what replaces it.
  const { type, data } = q.type === v.type ? memory : memory.astype(v.type);
  return new Theirs(type as never, data as never, dims);
}

/** A value, or the part of it that is meant, as [batch, heads, tokens, dim]. */
function headsFirst(tensor: OrtTensor, operand: Operand, heads: number, node: string): Tensor<FloatType> {
  const { value, order } = operand;
  const whole = partOf(Tensor.from(tensor as TensorLike) as Tensor<FloatType>, operand);
  if (order && whole.dims.length === 4) return whole.transpose(order);
  const [batch, tokens, width] = whole.dims;
  if (order || whole.dims.length !== 3 || width % heads !== 0) {
    const message = `'${value}' of ${node} has dims [${whole.dims.join(', ')}], and the model says otherwise`;
    throw new TilewiseRangeError('ERR_TILEWISE_SHAPE_MISMATCH', message);
  }
  return whole.reshape([batch, tokens, heads, width / heads]).transpose([0, 2, 1, 3]);
}

function partOf(whole: Tensor<FloatType>, { part }: Operand): Tensor<FloatType> {
  if (!part || part.axis >= whole.dims.length) return whole;
  const taken = whole.slice(part.axis, part.begin, part.end);
  return taken.dims.length === 5 ? taken.squeeze(part.axis) : taken;
}

/** As MatMul and Add do: one batch entry or head stands for all. One head of keys and values stays one: it is shared as it is. */
function broadcast(operands: Tensor<FloatType>[], masks: readonly MaskOfRun[], node: string): Tensor<FloatType>[] {
  const outer = [...operands, ...masks.map(([, tensor]) => tensor)].map(({ dims }) =>
    [0, 1].map((axis) => dims[dims.length - 4 + axis] ?? 1),
  );
  const [batch, heads] = [0, 1].map((axis) => outer.map((dims) => dims[axis]).find((length) => length !== 1) ?? 1);
  const isShared = operands.slice(1).every(({ dims }) => dims[1] === 1);
  return operands.map((operand, i) => {
    const lengths = [batch, i > 0 && isShared ? 1 : heads];
    const { type, data, dims, strides, offset } = operand;
    if (lengths.every((length, axis) => length === dims[axis])) return operand;
    if (lengths.some((length, axis) => length !== dims[axis] && dims[axis] !== 1)) {
      const all = operands.map((one) => `[${one.dims.join(', ')}]`).join(', ');
      const message = `The operands of ${node} have dims ${all}: batch and heads do not broadcast`;
      throw new TilewiseRangeError('ERR_TILEWISE_SHAPE_MISMATCH', message);
    }
    const steps = strides.map((step, axis) => (axis < 2 && dims[axis] !== lengths[axis] ? 0 : step));
    return new Tensor(type, data, [...lengths, ...dims.slice(2)], { strides: steps, offset });
  });
}

/** New memory for an output: as a view [batch, heads, tokens, dim] to write, and the dims in which others read it. */
function outputOf({ order }: Operand, type: FloatType, sizes: readonly number[]) {
  const [batch, heads, tokens, dim] = sizes;
  const axes = order ?? [0, 2, 1, 3];
  // Axis `axes[i]` of the value is axis i of [batch, heads, tokens, dim].
  const stored = axes.map((_, axis) => sizes[axes.indexOf(axis)]);
  const memory = Tensor.zeros(type, stored);
  return { memory, out: memory.transpose(axes), dims: order ? stored : [batch, tokens, heads * dim] };
}
