// Which backend an explanation is of. Reader: someone who asks why explain() names another device than was expected.

import { placementOf } from '../call/placement.js';
import { backendName, type DeviceName, devices } from '../tensor/devices.js';
import type { Explanation } from './explanation.js';

/** The backend that would run the call, as calls pick it, and its plan. */
export function chooseBackend<Plan extends { readonly reasons: readonly string[] }>(
  device: DeviceName,
  planFor: (index: number) => Plan,
  candidates: readonly number[] = placementOf(device, []).candidates,
): { plan: Plan; backend: Explanation['backend'] } {
  const reasons = devices().flatMap(({ name, isAvailable, reason }) => (isAvailable ? [] : [`${name}: ${reason}`]));
  const refusals: string[] = [];
  let plan = planFor(candidates[0]);
  let chosen = 0;
  while (plan.reasons.length > 0 && chosen + 1 < candidates.length) {
    const name = backendName(candidates[chosen]);
    refusals.push(...plan.reasons.map((reason) => `${name}: ${reason}`));
    plan = planFor(candidates[++chosen]);
  }
  const name = backendName(candidates[chosen]);
  const available = devices().filter(({ isAvailable }) => isAvailable);
  const why =
    device !== 'auto'
      ? `asked for with device '${device}'`
      : available.length === 1
        ? 'the only device that is available'
        : chosen > 0
          ? `'${backendName(candidates[0])}' cannot run the problem`
          : 'preferred to the others that are available';
  return { plan, backend: { name, why, reasons: [...reasons, ...refusals, ...plan.reasons] } };
}
