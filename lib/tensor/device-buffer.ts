// Device buffers: memory of a device, which views have in place of a typed array.
// Reader: someone who asks when device memory is freed. Every tensor has a buffer of its own, those of views share the
// memory; it is freed when the last was released or collected, and no call uses it any more.

import { asTilewise, calling, TilewiseError } from '../check/errors.js';
import { type Flight, type NativeMemory, native } from '../native/native.js';

export class DeviceBuffer {
  /** Place of the device in the addon's list. */
  readonly device: number;
  readonly byteLength: number;
  readonly byteOffset = 0;
  /** The same object for all that share the memory, as the `buffer` of typed arrays is. */
  readonly buffer: object;
  #handle: NativeMemory | undefined;

  private constructor(device: number, byteLength: number, handle: NativeMemory, buffer: object = {}) {
    this.device = device;
    this.byteLength = byteLength;
    this.buffer = buffer;
    this.#handle = handle;
  }

  /** New memory, not cleared. */
  static allocate(device: number, byteLength: number): DeviceBuffer {
    const handle = calling(() => native.allocate(Float64Array.of(device, Math.max(byteLength, 1))));
    return new DeviceBuffer(device, byteLength, handle);
  }

  /** A buffer of its own on the same memory. */
  share(): DeviceBuffer {
    return new DeviceBuffer(this.device, this.byteLength, native.share(this.handle), this.buffer);
  }

  get isReleased(): boolean {
    return this.#handle === undefined;
  }

  /** What native code takes. */
  get handle(): NativeMemory {
    if (this.#handle) return this.#handle;
    throw new TilewiseError('ERR_TILEWISE_DISPOSED', 'The tensor was disposed of');
  }

  release(): void {
    if (this.#handle) native.release(this.#handle);
    this.#handle = undefined;
  }

  /** Fills the memory's beginning from an array. */
  upload(from: ArrayBufferView): Promise<void> {
    return end(() => native.upload(this.handle, from, 0));
  }

  uploadSync(from: ArrayBufferView): void {
    calling(() => native.uploadSync(this.handle, from, 0));
  }

  /** Fills an array from the memory from `byte` on. */
  download(to: ArrayBufferView, byte: number): Promise<void> {
    return end(() => native.download(this.handle, to, byte));
  }

  downloadSync(to: ArrayBufferView, byte: number): void {
    calling(() => native.downloadSync(this.handle, to, byte));
  }
}

/** Memory as native code takes it. */
export const passed = <T extends ArrayBufferView>(data: T | DeviceBuffer): T | NativeMemory =>
  data instanceof DeviceBuffer ? data.handle : data;

async function end(start: () => Flight): Promise<void> {
  await calling(start).done.catch((error) => {
    throw asTilewise(error);
  });
}

// Apart from the tensors themselves, so that no field of theirs could be given something else.
const buffers = new WeakMap<object, DeviceBuffer>();

/** The buffer of a device tensor, released or not; undefined for everything else. */
export const bufferOf = (tensor: object): DeviceBuffer | undefined => buffers.get(tensor);

/** Makes an object the tensor of a buffer. */
export function settle(tensor: object, buffer: DeviceBuffer): void {
  buffers.set(tensor, buffer);
}
