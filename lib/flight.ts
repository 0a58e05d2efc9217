// A call in flight, from start to end: cancellation, leases, and what the backend had to say.
// Reader: someone who asks what an AbortSignal does.

import { backendIndex, backendName } from './devices.js';
import { TilewiseTypeError, unsupported } from './errors.js';
import { lease, release } from './leases.js';
import { type Flight, native, type Refusal } from './native.js';
import type { Settings } from './options.js';
import type { Results } from './request.js';

/** The flights that each signal would cancel: one listener per signal, however many calls share it. */
const waiting = new WeakMap<AbortSignal, Set<number>>();

/** Starts a call and waits until native code has let go of its memory; until then the caller's `out` is leased. */
export async function fly(
  start: () => Flight | string[],
  { lent }: Pick<Results, 'lent'>,
  { signal, device }: Pick<Settings, 'signal' | 'device'>,
): Promise<void> {
  signal?.throwIfAborted();
  const flight = start();
  if (Array.isArray(flight)) return accept(flight, device);
  const disconnect = signal && cancelOnAbort(signal, flight.id);
  if (lent) lease(lent);
  try {
    const isComplete = await flight.done;
    if (!isComplete) signal?.throwIfAborted();
  } finally {
    if (lent) release(lent);
    disconnect?.();
  }
}

/** Returns what ends the connection. */
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

/** Turns a backend's reasons into an error. */
export function accept(refusal: Refusal, device: Settings['device']): void {
  if (refusal) throw unsupported(backendName(backendIndex(device)), refusal);
}

/** A synchronous call cannot be interrupted: nobody could call abort() meanwhile. */
export function refuseSignal(where: string, signal: AbortSignal | undefined): void {
  if (!signal) return;
  throw new TilewiseTypeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `${where} cannot be cancelled while it runs; leave out \`signal\` or call the asynchronous form`,
  );
}
