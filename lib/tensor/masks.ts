// Masks: tensors whose zeros hide keys, of any type that tokenizers and exporters give them.
// Reader: someone who asks what `mask` and `keyMask` accept. Native code reads bytes; wider integers become bytes here.

import { TilewiseTypeError } from '../check/errors.js';
import { toDense } from './dense.js';
import { backendName } from './devices.js';
import type { DataType } from './types.js';
import { allocate, deviceOf, type HostView, isOnHost, readTensor, type View } from './views.js';

const types: readonly DataType[] = ['bool', 'uint8', 'int32', 'int64'];

/** Reads a mask; one of bytes as it is. */
export function readMask(name: string, value: unknown): View {
  const view = readTensor(name, value, types, '; floats that are added to scores are a `bias`');
  if (view.type === 'bool' || view.type === 'uint8') return view;
  if (isOnHost(view)) return toBytes(name, view);
  throw new TilewiseTypeError(
    'ERR_TILEWISE_DTYPE',
    `\`${name}\` has type ${view.type} and is on '${backendName(deviceOf(view))}', where masks are bool or uint8`,
  );
}

/** 1 where an element is not 0. Axes that repeat still do. */
function toBytes(name: string, view: HostView): HostView {
  const dims = view.dims.map((length, axis) => (view.strides[axis] === 0 ? Math.min(length, 1) : length));
  const dense = toDense(name, { ...view, dims });
  const data = allocate('bool', dense.data.length);
  for (let i = 0; i < data.length; ++i) data[i] = dense.data[i] ? 1 : 0;
  const strides = dense.strides.map((stride, axis) => (view.strides[axis] === 0 ? 0 : stride));
  return { type: 'bool', data, dims: view.dims, strides, offset: 0 };
}
