// A site in a run: views of onnxruntime's memory go in, and the output is written as the next segment reads it.
// Reader: someone who asks where copies are made. None is, of queries, keys, values and output.

import { TilewiseRangeError } from '../../check/errors.js';
import { RepeatedCall } from '../../ops/attention/again.js';
import { attention, attentionSync } from '../../ops/attention/attention.js';
import type { AttentionOptions } from '../../ops/attention/options.js';
import type { DeviceName } from '../../tensor/devices.js';
import { Tensor } from '../../tensor/tensor.js';
import type { TensorLike } from '../../tensor/types.js';
import type { Operand } from '../onnx/sites/site.js';
import { givenTo, KeptCall, memoryOf } from './kept-call.js';
import { fillBlind } from './masks/blind.js';
import type { MaskOfRun, RunMasks } from './masks/masks.js';
import { unidirectional } from './masks/unidirectional.js';
import { headsFirst, outputOf, type Rows } from './operands.js';
import type { Ort, OrtTensor } from './ort.js';
import type { SwappedSite } from './segments/cut.js';
import type { RunMemory } from './segments/run-memory.js';

/**
 * Floating-point operations up to which attention runs at once: up to 20 ms on one core, as long as onnxruntime's own run of the
 * segment before, which leaves no turn to the event loop either. Two threads of the pool in place of this one and another cost
 * 0.4 to 1 ms of 2.5 (12 heads, 384 tokens of 64 dims, two cores): one of them waits until this thread sleeps.
 */
export const atOnce = 2e9;

/** Runs a site on the values of a run; returns its output, and the call for runs that are like this one. */
export async function attend(
  { Tensor: Theirs }: Ort,
  site: SwappedSite,
  tensorOf: (name: string) => OrtTensor,
  masks: RunMasks,
  device: DeviceName | undefined,
  memory: RunMemory,
): Promise<{ tensor: OrtTensor; kept?: KeptCall }> {
  const { swap, kind, queryHeads, kvHeads, node, pattern } = site;
  const view = (operand: Operand, heads: number) => headsFirst(tensorOf(operand.value), operand, heads, node);
  const values = swap.masks.map((mask) => [mask, tensorOf(mask.value)] as const);
  const operands = [view(swap.q, queryHeads!), view(swap.k, kvHeads!), view(swap.v, kvHeads!)];
  const isGrouped = kvHeads !== queryHeads && kvHeads !== 1;
  const [q, k, v] = kind === 'decomposed' ? broadcast(operands, values, node, isGrouped) : operands;
  const [batch, heads, queries, headDim] = q.dims;
  const [keys, valueDim] = v.dims.slice(2);
  const { out, tensor, kind: output } = outputOf(swap.out, q.type, [batch, heads, queries, valueDim], memory);
  const keyLengths = swap.keyLengths === undefined ? undefined : tensorOf(swap.keyLengths);
  const sizes = { batch, heads, queries, keys };
  const isUneven = kind === 'MultiHeadAttention' && swap.causal && queries !== keys && !pattern;
  const isCausal = swap.causal && !isUneven;
  const all = isUneven ? [...values, unidirectional(sizes)] : values;
  const hiding = masks.optionsOf(all, sizes, isCausal || !!keyLengths, pattern);
  const options: AttentionOptions = {
    layout: 'bhnd',
    // Without a cache ONNX counts causal order from the first key.
    ...(isCausal && !pattern && { causal: true, align: keyLengths ? 'bottom-right' : 'top-left' }),
    ...hiding,
    ...(keyLengths && { keyLengths: keyLengths as AttentionOptions['keyLengths'] }),
    ...(swap.scale !== undefined && { scale: swap.scale }),
    ...(swap.softcap !== 0 && { softcap: swap.softcap }),
    ...(device && { device }),
    out,
  };
  const operations = 2 * batch * heads * queries * keys * (headDim + valueDim);
  const blind = masks.blindOf(hiding);
  const given = givenTo(site, tensorOf);
  // What is the same in the next run: not lengths, which are read each time, nor what is done after the call.
  if (operations <= atOnce && !isUneven && !keyLengths && !blind && q.type === v.type) {
    const data = memoryOf([given[0], given[1], given[2], tensor]);
    const call = RepeatedCall.of(q, k, v, options, data);
    if (call?.run(data)) return { tensor, kept: new KeptCall(call, given, { hiding, output }) };
  }
  if (operations <= atOnce) attentionSync(q, k, v, options);
  else await attention(q, k, v, options);
  if (blind) fillBlind(out, v, blind);
  // The product with the values has their type, and so has what replaces it.
  if (q.type === v.type) return { tensor };
  const { type, data } = Tensor.from(tensor as TensorLike).astype(v.type);
  return { tensor: new Theirs(type as never, data as never, tensor.dims) };
}

/** As MatMul and Add do: one batch entry or head stands for all. One head of keys and values stays one: it is shared as it is. */
function broadcast(operands: Rows[], masks: readonly MaskOfRun[], node: string, isGrouped: boolean): Rows[] {
  const outer = [...operands, ...masks.map(([, tensor]) => tensor)].map(({ dims }) =>
    [0, 1].map((axis) => dims[dims.length - 4 + axis] ?? 1),
  );
  const [batch, most] = [0, 1].map((axis) => outer.map((dims) => dims[axis]).find((length) => length !== 1) ?? 1);
  const heads = isGrouped ? operands[0].dims[1] : most;
  const isShared = isGrouped || operands.slice(1).every(({ dims }) => dims[1] === 1);
  return operands.map((operand, i) => {
    const lengths = [batch, i > 0 && isShared ? operand.dims[1] : heads];
    const { dims, strides } = operand;
    if (lengths.every((length, axis) => length === dims[axis])) return operand;
    if (lengths.some((length, axis) => length !== dims[axis] && dims[axis] !== 1)) {
      const all = operands.map((one) => `[${one.dims.join(', ')}]`).join(', ');
      const message = `The operands of ${node} have dims ${all}: batch and heads do not broadcast`;
      throw new TilewiseRangeError('ERR_TILEWISE_SHAPE_MISMATCH', message);
    }
    const steps = strides.map((step, axis) => (axis < 2 && dims[axis] !== lengths[axis] ? 0 : step));
    return { ...operand, dims: [...lengths, ...dims.slice(2)], strides: steps };
  });
}
