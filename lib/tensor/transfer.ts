// Transfers: views brought from typed arrays to a device's memory and back.
// Reader: someone who asks what to() and getData() copy. What a view spans travels in one piece; gaps travel with it from a
// device, where they cannot be taken out.

import { toDense } from './dense.js';
import { DeviceBuffer } from './device-buffer.js';
import { cpu } from './devices.js';
import { checkOverlaps } from './leases.js';
import {
  allocate,
  bytesPer,
  deviceOf,
  extentOf,
  type HostView,
  isOnHost,
  isRowMajor,
  sizeOf,
  type TensorData,
  trimmed,
  type View,
} from './views.js';

/** A copy that has its memory, to be filled. */
interface Copy {
  readonly view: View;
  run(): Promise<void>;
  runSync(): void;
}

/** A view's elements on a device; where they are there already, a view of the same memory. */
export async function move(view: View, device: number): Promise<View> {
  if (deviceOf(view) === device) return shared(view);
  if (!isOnHost(view) && device !== cpu) return move(await move(view, cpu), device);
  const copy = copyOf(view, device);
  try {
    await copy.run();
  } catch (error) {
    discard(copy);
    throw error;
  }
  return copy.view;
}

export function moveSync(view: View, device: number): View {
  if (deviceOf(view) === device) return shared(view);
  if (!isOnHost(view) && device !== cpu) return moveSync(moveSync(view, cpu), device);
  const copy = copyOf(view, device);
  try {
    copy.runSync();
  } catch (error) {
    discard(copy);
    throw error;
  }
  return copy.view;
}

/** The same view with a share of its own in device memory. */
export const shared = (view: View): View =>
  view.data instanceof DeviceBuffer ? { ...view, data: view.data.share() } : view;

/** The elements of a view in row-major order: a part of its own array where they are dense there. */
export function denseData(view: View): TensorData {
  const host = view as HostView;
  return isRowMajor(host) ? trimmed(host).data : toDense('tensor', host).data;
}

function copyOf(view: View, device: number): Copy {
  checkOverlaps([{ name: 'tensor', view }], undefined);
  return isOnHost(view) ? uploadOf(view, device) : downloadOf(view, view.data as DeviceBuffer);
}

function uploadOf(view: HostView, device: number): Copy {
  const [first, last] = extentOf(view) ?? [0, -1];
  const isCompact = last - first < sizeOf(view.dims);
  const { data, offset, strides } = isCompact
    ? { ...view, data: view.data.subarray(first, last + 1), offset: view.offset - first }
    : toDense('tensor', view);
  const buffer = DeviceBuffer.allocate(device, data.byteLength);
  return {
    view: { ...view, data: buffer, offset, strides },
    run: () => buffer.upload(data),
    runSync: () => buffer.uploadSync(data),
  };
}

function downloadOf(view: View, buffer: DeviceBuffer): Copy {
  const [first, last] = extentOf(view) ?? [view.offset, view.offset - 1];
  const data = allocate(view.type, last - first + 1);
  const byte = first * bytesPer(view.type);
  const isEmpty = data.length === 0;
  return {
    view: { ...view, data, offset: view.offset - first },
    run: async () => (isEmpty ? undefined : buffer.download(data, byte)),
    runSync: () => (isEmpty ? undefined : buffer.downloadSync(data, byte)),
  };
}

function discard({ view }: Copy): void {
  if (view.data instanceof DeviceBuffer) view.data.release();
}
