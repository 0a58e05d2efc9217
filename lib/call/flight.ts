// A call in flight, from start to end: cancellation, leases, and what the backend had to say.
// Reader: someone who asks what an AbortSignal does.

import { asTilewise, TilewiseTypeError } from '../check/errors.js';
import { type Flight, native } from '../native/native.js';
import { lease, type Named, release } from '../tensor/leases.js';
import { onDevice, type Placement } from './placement.js';

/** The flights that each signal would cancel: one listener per signal, however many calls share it. */
const waiting = new WeakMap<AbortSignal, Set<number>>();

/** The turn of the event loop that brief calls wait for, all that have run since the last one. */
let turn: Promise<false> | undefined;

/**
 * Waits for a turn of the event loop: a brief call has run when it was started, and calls that follow each other leave others
 * theirs. Like a flight it may be aborted until then.
 */
function nextTurn(): Promise<false> {
  turn ??= new Promise((resolve) => {
    setImmediate(() => {
      turn = undefined;
      resolve(false);
    });
  });
  return turn;
}

/** Starts a call and waits until native code has let go of its memory; until then the caller's `out` is leased. */
export async function fly(
  placement: Placement,
  start: (device: number) => Flight | string[] | undefined,
  lent: Named | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  signal?.throwIfAborted();
  const flight = onDevice(placement, start);
  const disconnect = flight && signal && cancelOnAbort(signal, flight.id);
  if (lent) lease(lent);
  try {
    const isComplete = flight ? await flight.done : await nextTurn();
    if (!isComplete) signal?.throwIfAborted();
  } catch (error) {
    throw asTilewise(error);
  } finally {
    if (lent) release(lent);
    disconnect?.();
  }
}

/** Waits for calls that write one result: when one fails, native code lets go of the memory of all of them first. */
export async function allOf(flights: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(flights)).find(({ status }) => status === 'rejected');
  if (failed) throw (failed as PromiseRejectedResult).reason;
}

/** Cancels the flight when the signal aborts, until the returned function is called. */
function cancelOnAbort(signal: AbortSignal, id: number): () => void {
  const flights = waiting.get(signal) ?? new Set();
  if (flights.size === 0) {
    waiting.set(signal, flights);
    signal.addEventListener('abort', cancelAll);
  }
  flights.add(id);
  return () => {
    flights.delete(id);
    if (flights.size === 0) signal.removeEventListener('abort', cancelAll);
  };
}

function cancelAll(this: AbortSignal): void {
  for (const flight of waiting.get(this) ?? []) native.cancel(flight);
}

/** A synchronous call cannot be interrupted: nobody could call abort() meanwhile. */
export function refuseSignal(where: string, signal: AbortSignal | undefined): void {
  if (!signal) return;
  throw new TilewiseTypeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `${where} cannot be cancelled while it runs; leave out \`signal\` or call the asynchronous form`,
  );
}
