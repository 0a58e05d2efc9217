// A prepared call, run: what has to be known first (turned queries and keys, a selection, a predicate's answers), then attention.
// Reader: someone who follows a call to native code. Assumes that prepare() made it, and runs it once.

import { fly } from '../../call/flight.js';
import { onDevice } from '../../call/placement.js';
import { attentionOp } from '../../native/fields.js';
import { lend } from '../../tensor/leases.js';
import type { Prepared } from './problem.js';

/** Outside the event loop. Results are the caller's to wrap, or to discard when it fails. */
export async function runPrepared(prepared: Prepared, signal: AbortSignal | undefined): Promise<void> {
  const { request, results, turns, selection, questions, placement } = prepared;
  const attend = () => fly(placement, (device) => attentionOp.submit(device, request), results.lent, signal);
  if (!turns && !selection && !questions) return attend();
  // Inputs may be disposed of meanwhile.
  const letGo = request.hold();
  try {
    await lend(results.lent, async () => {
      if (turns) await turns.run(signal); // without, a selection begins at once, and its state is in use
      await (selection ?? questions)?.run(signal);
      await attend();
    });
  } finally {
    letGo();
    endOf(prepared);
  }
}

/** On the calling thread. */
export function runPreparedSync(prepared: Prepared): void {
  const { request, turns, selection, placement } = prepared;
  try {
    turns?.runSync();
    selection?.runSync();
    onDevice(placement, (device) => attentionOp.run(device, request));
  } finally {
    endOf(prepared);
  }
}

/** Frees what came before attention. */
function endOf({ turns, selection }: Prepared): void {
  turns?.end();
  selection?.end();
}

/** The results of a prepared call, once it has run. */
export async function complete(prepared: Prepared, signal: AbortSignal | undefined) {
  const { results } = prepared;
  try {
    await runPrepared(prepared, signal);
  } catch (error) {
    results.discard();
    throw error;
  }
  return results.wrap();
}

/** complete() on the calling thread. */
export function completeSync(prepared: Prepared) {
  const { results } = prepared;
  try {
    runPreparedSync(prepared);
  } catch (error) {
    results.discard();
    throw error;
  }
  return results.wrap();
}
