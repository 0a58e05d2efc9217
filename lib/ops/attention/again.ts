// A call that is made again and again with other memory: tensors of the same types, dims and strides, under the same options.
// Reader: someone whose calls are so short that preparing one takes longer than running it. All that is checked of a call but its
// memory stays as it was; memory is checked each time.

import { MemoryPart } from '../../call/memory-part.js';
import { onDevice } from '../../call/placement.js';
import { attentionOp, slot } from '../../native/fields.js';
import { isAnythingLent } from '../../tensor/leases.js';
import type { TensorLike } from '../../tensor/types.js';
import { isOnHost, type TensorData, type View } from '../../tensor/views.js';
import { type AttentionOptions, readSyncOptions } from './options.js';
import { type Prepared, prepare, readOperands } from './problem.js';

/** Memory of the operands of a call, in the process. */
export type CallMemory = readonly [q: TensorData, k: TensorData, v: TensorData, out: TensorData];

const slots = [slot.q, slot.k, slot.v, slot.out] as const;

export class RepeatedCall {
  readonly #prepared: Prepared;
  readonly #parts: readonly MemoryPart[];

  private constructor(prepared: Prepared, parts: readonly MemoryPart[]) {
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
    const isTwoCalls = settings.pattern.kind === 'hierarchical' || settings.rotary !== undefined;
    if (isTwoCalls || !views.every((view): view is View => !!view && isOnHost(view))) {
      return undefined;
    }
    const prepared = prepare(operands, settings);
    return new RepeatedCall(
      prepared,
      views.map(({ data }, i) => new MemoryPart(data as TensorData, memory[i])),
    );
  }

  /** Runs it on other memory; false, and nothing done, where that is not as before: attentionSync() says what is wrong. */
  run(memory: CallMemory): boolean {
    if (isAnythingLent()) return false;
    const { request, placement } = this.#prepared;
    for (let i = 0; i < slots.length; ++i) {
      const data = this.#parts[i].of(memory[i]);
      if (!data) return false;
      request.views[slots[i]] = data;
    }
    onDevice(placement, (device) => attentionOp.run(device, request));
    // Nothing is kept alive from call to call.
    for (const at of slots) request.views[at] = undefined;
    return true;
  }
}
