// Placement: which device a call runs on, and where its results are.
// Reader: someone who asks why a call ran where it ran. Tensors decide: a call runs on the device they are on. Without
// device tensors `device` decides, and 'auto' is a GPU that can run the problem, or the CPU.

import { calling, TilewiseError, unsupported } from '../check/errors.js';
import { backendIndex, backendName, bestDevice, cpu, type DeviceName, knownIndex } from '../tensor/devices.js';
import type { Named } from '../tensor/leases.js';
import { deviceOf } from '../tensor/views.js';
import { busyWatch } from './busy.js';

export interface Placement {
  /** Backends by their place in the addon's list: the next one is asked when one cannot run the problem. */
  readonly candidates: readonly number[];
  /** The device of results that the caller brings no memory for: that of the queries. */
  readonly results: number;
}

/**
 * @param operands everything the call reads or writes, queries first
 * @param best what 'auto' prefers to the CPU when no tensor is on a device
 */
export function placementOf(
  device: DeviceName,
  operands: readonly Named[],
  best: number | undefined = device === 'auto' ? bestDevice() : undefined,
): Placement {
  const remote = operands.filter(({ view }) => deviceOf(view) !== cpu);
  if (remote.length === 0) {
    if (device !== 'auto') return { candidates: [backendIndex(device)], results: cpu };
    return { candidates: best === undefined || best === cpu ? [cpu] : [best, cpu], results: cpu };
  }
  const at = deviceOf(remote[0].view);
  const other = remote.find(({ view }) => deviceOf(view) !== at);
  if (other) {
    throw wrong(
      `\`${remote[0].name}\` lies on ${nameOf(remote[0])} and \`${other.name}\` on ${nameOf(other)}; bring them to one device with to()`,
    );
  }
  if (device !== 'auto' && knownIndex(device) !== at) {
    throw wrong(
      `\`device\` is '${device}', but \`${remote[0].name}\` lies on ${nameOf(remote[0])}; leave \`device\` out, or bring the tensor there with to()`,
    );
  }
  return { candidates: [at], results: deviceOf(operands[0].view) };
}

const nameOf = ({ view }: Named): string => `'${backendName(deviceOf(view))}'`;
const wrong = (message: string): Error => new TilewiseError('ERR_TILEWISE_WRONG_DEVICE', message);

/**
 * Asks one candidate after the other.
 * @param call starts or runs a problem on a backend; an array holds the reasons why that backend cannot
 * @throws ERR_TILEWISE_UNSUPPORTED with everyone's reasons when none can
 */
export function onDevice<T>({ candidates }: Pick<Placement, 'candidates'>, call: (device: number) => T | string[]): T {
  const refusals: string[] = [];
  for (const device of candidates) {
    const answer = calling(() => call(device));
    if (!Array.isArray(answer)) {
      if (device === cpu) busyWatch.count();
      return answer;
    }
    refusals.push(...answer.map((reason) => (candidates.length > 1 ? `${backendName(device)}: ${reason}` : reason)));
  }
  throw unsupported(backendName(candidates[candidates.length - 1]), refusals);
}
