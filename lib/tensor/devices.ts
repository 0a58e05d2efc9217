// Devices: what this machine and this build can compute on, and the threads of the CPU.
// Reader: someone who asks which devices there are. Which of them a call runs on is in placement.ts.

import { type ErrorCode, TilewiseError } from '../check/errors.js';
import { checkInteger, invalid } from '../check/validate.js';
import { type NativeBackend, native } from '../native/native.js';

/** A device by name; `'cuda'` is the first GPU, also called `'cuda:0'`. */
export type Location = 'cpu' | 'cuda' | `cuda:${number}`;
/** A device, or `'auto'` for the best one. */
export type DeviceName = 'auto' | Location;

/** A place to compute on. */
export interface DeviceInfo {
  readonly name: Location;
  readonly isAvailable: boolean;
  /** Why it is not available. */
  readonly reason?: string;
  /** What the device calls itself. */
  readonly description?: string;
  /** GPUs: memory that tensors of this process hold there, all threads together. */
  readonly bytesInUse?: number;
  /** CPU: the instruction set in use. */
  readonly instructionSet?: string;
  /** CPU: all that this build contains and this processor runs, best first. */
  readonly instructionSets?: readonly string[];
  /** CPU: threads that work on one call. */
  readonly threads?: number;
}

/** Place of the CPU among the backends. */
export const cpu = 0;
let known: readonly NativeBackend[] | undefined;

/** The addon's backends, the CPU first. Looked for when something else than the CPU is first wanted: drivers take a while. */
function backends(): readonly NativeBackend[] {
  if (known) return known;
  known = listed();
  return known;
}

function listed(): NativeBackend[] {
  const built = native.backends();
  if (built.some(({ name }) => name === 'cuda')) return built;
  const reason = 'this build has no CUDA backend';
  return [...built, { name: 'cuda', isAvailable: false, reason, description: '', bytesInUse: 0 }];
}

/** Every device, with the reason where one is not available. */
export function devices(): DeviceInfo[] {
  return listed().map(({ name, isAvailable, reason, description, bytesInUse }, index): DeviceInfo => {
    const device = { name: name as Location, isAvailable, ...(description && { description }) };
    if (!isAvailable) return { ...device, reason };
    if (index !== cpu) return { ...device, bytesInUse };
    return {
      ...device,
      instructionSet: native.instructionSet(),
      instructionSets: native.instructionSets(),
      threads: native.numThreads(),
    };
  });
}

/** Threads that work on one call on the CPU; the default is the number of physical cores this process may use. */
export function numThreads(): number {
  return native.numThreads();
}

/**
 * Sets how many threads work on one call, for the whole process and from the next call on. Results are the same bits for
 * any number. The environment variable `TILEWISE_NUM_THREADS` sets it when the package is first loaded, for programs whose
 * code cannot be reached.
 * @param threads 1 to 1024
 * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION
 */
export function setNumThreads(threads: number): void {
  native.setNumThreads(checkThreads('threads', threads));
}

const checkThreads = (name: string, value: unknown) => checkInteger(name, value, 1, 1024);

const { TILEWISE_NUM_THREADS: asked } = process.env;
// Workers load the package, too, and must not undo what setNumThreads() has set since.
if (asked) native.setNumThreadsOnce(checkThreads('TILEWISE_NUM_THREADS', /^\d+$/.test(asked) ? Number(asked) : asked));

const cudaName = /^cuda(:(0|[1-9]\d{0,3}))?$/;

/** Checks a device's name, `'auto'` left aside. */
export function checkLocation(name: string, value: unknown): Location {
  if (value === 'cpu' || (typeof value === 'string' && cudaName.test(value))) {
    return value === 'cuda:0' ? 'cuda' : (value as Location);
  }
  throw invalid(name, "'cpu', 'cuda' or 'cuda:1' and so on", value);
}

export function checkDevice(name: string, value: unknown): DeviceName {
  if (value === 'auto') return value;
  if (value === 'cpu' || (typeof value === 'string' && cudaName.test(value))) return checkLocation(name, value);
  throw invalid(name, "'auto', 'cpu', 'cuda' or 'cuda:1' and so on", value);
}

/** Place of a device among the backends, whether it is available or not. */
export function knownIndex(location: Location): number {
  if (location === 'cpu') return cpu;
  const index = backends().findIndex(({ name }) => name === location);
  if (index >= 0) return index;
  const names = backends().map(({ name }) => `'${name}'`);
  throw new TilewiseError(
    'ERR_TILEWISE_NO_DEVICE',
    `\`device\` '${location}' does not exist; there are ${names.join(', ')}`,
  );
}

/** Place of an available device among the backends. */
export function backendIndex(location: Location): number {
  const index = knownIndex(location);
  if (index === cpu) return index;
  const { isAvailable, reason, code } = backends()[index];
  if (isAvailable) return index;
  throw new TilewiseError(
    (code as ErrorCode | undefined) ?? 'ERR_TILEWISE_NO_DEVICE',
    `\`device\` '${location}' is not available: ${reason}`,
  );
}

/** The GPU that `'auto'` prefers to the CPU; undefined when there is none. */
export function bestDevice(): number | undefined {
  const index = backends().findIndex(({ isAvailable }, i) => i !== cpu && isAvailable);
  return index < 0 ? undefined : index;
}

export const backendName = (index: number): Location => (index === cpu ? 'cpu' : (backends()[index].name as Location));
