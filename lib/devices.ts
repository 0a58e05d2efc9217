// Devices: what this machine and this build can compute on, and the threads of the CPU.
// Reader: someone who asks why a call ran where it ran.

import { TilewiseError } from './errors.js';
import { native } from './native.js';
import { type DeviceName, deviceNames } from './options.js';
import { checkInteger } from './validate.js';

/** The CPU is first, whatever is preferred to it comes after. */
const built = native.backends();

/** A place to compute on. */
export interface DeviceInfo {
  readonly name: 'cpu' | 'cuda';
  readonly isAvailable: boolean;
  /** Why it is not available. */
  readonly reason?: string;
  /** CPU: the instruction set in use. */
  readonly instructionSet?: string;
  /** CPU: all that this build contains and this processor runs, best first. */
  readonly instructionSets?: readonly string[];
  /** CPU: threads that work on one call. */
  readonly threads?: number;
}

/** Every device this version knows, with the reason where one is not available. */
export function devices(): DeviceInfo[] {
  return deviceNames
    .filter((name) => name !== 'auto')
    .map((name): DeviceInfo => {
      const backend = built.find((candidate) => candidate.name === name);
      if (!backend?.isAvailable) {
        return {
          name,
          isAvailable: false,
          reason: backend?.reason ?? `this build has no ${name.toUpperCase()} backend`,
        };
      }
      if (name !== 'cpu') return { name, isAvailable: true };
      return {
        name,
        isAvailable: true,
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
 * any number.
 * @param threads 1 to 1024
 * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION
 */
export function setNumThreads(threads: number): void {
  native.setNumThreads(checkInteger('threads', threads, 1, 1024));
}

/** The backend that a device name means, as its place in the addon's list; 'auto' is the last that is available. */
export function backendIndex(device: DeviceName): number {
  const index = built.findLastIndex(({ name, isAvailable }) => isAvailable && (device === 'auto' || name === device));
  if (index < 0) {
    const reason = devices().find(({ name }) => name === device)?.reason;
    throw new TilewiseError('ERR_TILEWISE_NO_DEVICE', `\`device\` '${device}' is not available: ${reason}`);
  }
  return index;
}

export const backendName = (index: number): string => built[index].name;
