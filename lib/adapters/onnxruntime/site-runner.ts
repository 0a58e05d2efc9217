// A site in runs, by whether it keeps keys and values. Reader: someone who follows session.ts.

import type { DeviceName } from '../../tensor/devices.js';
import type { SiteCache } from '../onnx/sites/site.js';
import { attend } from './attend.js';
import { attendCached } from './caches/attend-cached.js';
import type { KeptStep } from './caches/kept-step.js';
import type { KeptCall } from './kept-call.js';
import type { RunMasks } from './masks/masks.js';
import type { Ort, OrtTensor } from './ort.js';
import type { SwappedSite } from './segments/cut.js';
import type { RunMemory } from './segments/run-memory.js';

/** Values by name. */
export type Named = [name: string, tensor: OrtTensor][];

/** A site of a session. */
export class SiteRunner {
  /** Its last call, where the next one may be the same. */
  #kept: KeptCall | undefined;
  #step: KeptStep | undefined;

  constructor(
    readonly ort: Ort,
    readonly site: SwappedSite,
    readonly device: DeviceName | undefined,
  ) {}

  /** Runs the site on the values of a run; the values that it makes, at once where its last call is made again. */
  run(tensorOf: (name: string) => OrtTensor, masks: RunMasks, memory: RunMemory): Named | Promise<Named> {
    const { ort, site } = this;
    const { cache, out } = site.swap;
    if (cache) {
      return (
        this.#step?.again(ort, site, cache, tensorOf, masks, memory) ??
        this.#attendCached(cache, tensorOf, masks, memory)
      );
    }
    const tensor = this.#kept?.again(site, tensorOf, masks, memory);
    return tensor ? [[out.value, tensor]] : this.#attend(tensorOf, masks, memory);
  }

  async #attendCached(
    cache: SiteCache,
    tensorOf: (name: string) => OrtTensor,
    masks: RunMasks,
    memory: RunMemory,
  ): Promise<Named> {
    const { ort, site, device } = this;
    const { values, kept } = await attendCached(ort, site, cache, tensorOf, masks, device, memory);
    this.#step = kept ?? this.#step;
    return values;
  }

  async #attend(tensorOf: (name: string) => OrtTensor, masks: RunMasks, memory: RunMemory): Promise<Named> {
    const { ort, site, device } = this;
    const { tensor, kept } = await attend(ort, site, tensorOf, masks, device, memory);
    this.#kept = kept;
    return [[site.swap.out.value, tensor]];
  }
}
