// Memory that runs out at a chosen place: allocations of caches, on the CPU and on devices, counted, and one of them failed.
// Reader: someone who checks that a failed call changes nothing.

import { TilewiseError } from '../../dist/index.js';
import { DeviceBuffer } from '../../dist/tensor/device-buffer.js';

/** Runs something whose allocation number `failing`, from 1, fails; returns how many there were. */
export function withFailingMemory(failing: number, run: () => void): number {
  const { SharedArrayBuffer: shared } = globalThis;
  const { grow } = shared.prototype;
  const { allocate } = DeviceBuffer;
  let count = 0;
  const next = (error: () => Error) => {
    if (++count === failing) throw error();
  };
  const noMemory = () => new RangeError('no memory');
  globalThis.SharedArrayBuffer = new Proxy(shared, {
    construct(target, sizes) {
      next(noMemory);
      return Reflect.construct(target, sizes);
    },
  });
  shared.prototype.grow = function (size) {
    next(noMemory);
    return grow.call(this, size);
  };
  DeviceBuffer.allocate = (...sizes) => {
    next(() => new TilewiseError('ERR_TILEWISE_OUT_OF_MEMORY', 'no memory'));
    return allocate(...sizes);
  };
  try {
    run();
  } finally {
    globalThis.SharedArrayBuffer = shared;
    shared.prototype.grow = grow;
    DeviceBuffer.allocate = allocate;
  }
  return count;
}
