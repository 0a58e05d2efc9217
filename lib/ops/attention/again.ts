// A call that is made again and again with other memory: tensors of the same types, dims and strides, under the same options.
// Reader: someone whose calls are so short that preparing one takes longer than running it. All that is checked of a call but its
// memory stays as it was; memory is checked each time.

import { onDevice } from '../../call/placement.js';
import { attentionOp, slot } from '../../native/fields.js';
import { isAnythingLent } from '../../tensor/leases.js';
import { isResizable, typedArrayName } from '../../tensor/typed-arrays.js';
import type { TensorLike } from '../../tensor/types.js';
import { isOnHost, type TensorData, type View } from '../../tensor/views.js';
import { type AttentionOptions, readSyncOptions } from './options.js';
import { type Prepared, prepare, readOperands } from './problem.js';

/** Memory of the operands of a call, in the process. */
export type CallMemory = readonly [q: TensorData, k: TensorData, v: TensorData, out: TensorData];

const slots = [slot.q, slot.k, slot.v, slot.out] as const;

/** What the memory of an operand has to be. */
interface Part {
  readonly kind: string | undefined;
  readonly length: number;
  /** The part of it that the call reads or writes, where a view has only that. */
  readonly begin: number;
  readonly end: number;
}

export class RepeatedCall {
  readonly #prepared: Prepared;
  readonly #parts: readonly Part[];

  private constructor(prepared: Prepared, parts: readonly Part[]) {
    this.#prepared = prepared;
    this.#parts = parts;
  }

  /**
   * Prepares a call as attentionSync() does.
   * @param options with `out`
   * @param memory of which the operands are views
   * @returns undefined for a call that is another one each time: of selections, predicates or device memory
   * @throws {TypeError | RangeError | TilewiseError} what attentionSync() throws before it computes
   */
  static of(
    q: TensorLike,
    k: TensorLike,
    v: TensorLike,
    options: AttentionOptions<unknown>,
    memory: CallMemory,
  ): RepeatedCall | undefined {
    const settings = readSyncOptions('attentionSync()', options);
    const operands = readOperands(q, k, v, options.out, settings);
    const views = [operands.q, operands.k, operands.v, settings.out];
    if (settings.pattern.kind === 'hierarchical' || !views.every((view): view is View => !!view && isOnHost(view))) {
      return undefined;
    }
    const prepared = prepare(operands, settings);
    return new RepeatedCall(
      prepared,
      views.map(({ data }, i) => partOf(data as TensorData, memory[i])),
    );
  }

  /** Runs it on other memory; false, and nothing done, where that is not as before: attentionSync() says what is wrong. */
  run(memory: CallMemory): boolean {
    if (isAnythingLent()) return false;
    const { request, placement } = this.#prepared;
    for (let i = 0; i < slots.length; ++i) {
      const data = memory[i];
      const { kind, length, begin, end } = this.#parts[i];
      if (typedArrayName(data) !== kind || data.length !== length || isResizable(data)) return false;
      request.views[slots[i]] = begin === 0 && end === length ? data : data.subarray(begin, end);
    }
    onDevice(placement, (device) => attentionOp.run(device, request));
    // Nothing is kept alive from call to call.
    for (const at of slots) request.views[at] = undefined;
    return true;
  }
}

function partOf(data: TensorData, whole: TensorData): Part {
  const begin = (data.byteOffset - whole.byteOffset) / whole.BYTES_PER_ELEMENT;
  return { kind: typedArrayName(whole), length: whole.length, begin, end: begin + data.length };
}
