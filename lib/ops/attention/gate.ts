// Gate: a number per row of the output, which multiplies it. Reader: someone who adds a factor on results. The rule is
// core/op/gate.h.

import type { Request } from '../../call/request.js';
import { mismatch, outputHeads, type Shape } from '../../call/shape.js';
import { showDims } from '../../check/errors.js';
import { field, slot } from '../../native/fields.js';
import { dataTypeCode } from '../../native/native.js';
import { flatten } from '../../tensor/axes.js';
import type { View } from '../../tensor/views.js';

/**
 * @param tokens lengths of the axes of tokens, several of a grid
 * @param isPacked packed rows without a batch axis
 */
export function putGate(
  request: Request,
  gate: View | undefined,
  shape: Pick<Shape, 'batch' | 'queryHeads' | 'kvHeads'>,
  tokens: readonly number[],
  isPacked = false,
): void {
  if (!gate) return;
  const dims = [...(isPacked ? [] : [shape.batch]), ...tokens, outputHeads(shape)];
  if (gate.dims.length !== dims.length || gate.dims.some((length, axis) => length !== dims[axis])) {
    throw mismatch(
      `\`gate\` must have dims ${showDims(dims)}, ${isPacked ? '' : 'batch, '}queries and heads in every layout, ` +
        `not ${showDims(gate.dims)}`,
    );
  }
  const flat = flatten('gate', gate, { first: isPacked ? 0 : 1, count: tokens.length });
  const { offset, strides } = request.input('gate', slot.gate, gate, flat);
  request.numbers[field.gateType] = dataTypeCode(gate.type);
  request.place(field.gate, offset, isPacked ? [0, ...strides] : strides);
}
