// A site in runs, by whether it keeps keys and values. Reader: someone who follows session.ts.

import type { DeviceName } from '../../tensor/devices.js';
import { attend } from './attend.js';
import { attendCached } from './caches/attend-cached.js';
import type { KeptCall } from './kept-call.js';
import type { RunMasks } from './masks/masks.js';
import type { Ort, OrtTensor } from './ort.js';
import type { SwappedSite } from './segments/cut.js';
import type { RunMemory } from './segments/run-memory.js';

/** A site of a session. */
export class SiteRunner {
  /** Its last call, where the next one may be the same. */
  #kept: KeptCall | undefined;

  constructor(
    readonly ort: Ort,
    readonly site: SwappedSite,
    readonly device: DeviceName | undefined,
  ) {}

  /** Runs the site on the values of a run; returns the values that it makes. */
  async run(
    tensorOf: (name: string) => OrtTensor,
    masks: RunMasks,
    memory: RunMemory,
  ): Promise<[name: string, tensor: OrtTensor][]> {
    const { ort, site, device } = this;
    if (site.swap.cache) return attendCached(ort, site, site.swap.cache, tensorOf, masks, device, memory);
    const out = this.#kept?.again(site, tensorOf, masks, memory);
    if (out) return [[site.swap.out.value, out]];
    const { tensor, kept } = await attend(ort, site, tensorOf, masks, device, memory);
    this.#kept = kept;
    return [[site.swap.out.value, tensor]];
  }
}
