// Tensors on a device, compared and moved. Reader: someone who tests device tensors.

import { expect } from 'vitest';
import type { Tensor } from '../../dist/index.js';

/** What a promise fails with. */
export const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error) => error,
  );
export const disposed = { code: 'ERR_TILEWISE_DISPOSED' } as const;
export const wrongDevice = { code: 'ERR_TILEWISE_WRONG_DEVICE' } as const;

/** The elements as bytes in row-major order. */
async function bytesOf(t: Tensor): Promise<Buffer> {
  const { buffer, byteOffset, byteLength } = await t.getData();
  return Buffer.from(buffer, byteOffset, byteLength);
}

export async function expectSame(a: Tensor, b: Tensor, about = ''): Promise<void> {
  expect(a.dims, about).toEqual(b.dims);
  expect((await bytesOf(a)).equals(await bytesOf(b)), about).toBe(true);
}

export const onDevice = (...tensors: Tensor[]) => Promise.all(tensors.map((t) => t.to('cuda')));
