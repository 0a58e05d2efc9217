// A site's run, by whether it keeps keys and values. Reader: someone who follows session.ts.

import type { DeviceName } from '../../tensor/devices.js';
import { attend } from './attend.js';
import { attendCached } from './caches/attend-cached.js';
import type { RunMasks } from './masks/masks.js';
import type { Ort, OrtTensor } from './ort.js';
import type { SwappedSite } from './segments/cut.js';
import type { RunMemory } from './segments/run-memory.js';

/** Runs a site on the values of a run; returns the values that it makes. */
export async function runSite(
  ort: Ort,
  site: SwappedSite,
  tensorOf: (name: string) => OrtTensor,
  masks: RunMasks,
  device: DeviceName | undefined,
  memory: RunMemory,
): Promise<[name: string, tensor: OrtTensor][]> {
  if (site.swap.cache) return attendCached(ort, site, site.swap.cache, tensorOf, masks, device, memory);
  return [[site.swap.out.value, await attend(ort, site, tensorOf, masks, device, memory)]];
}
