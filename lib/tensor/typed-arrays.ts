// Typed arrays, asked through the getters of their prototypes: these answer for every realm, and no property of an array's
// or a buffer's own can hide them.
// Reader: someone who asks what memory an argument has.

import { types } from 'node:util';

type Getter<T> = (this: unknown) => T;

function getterOf<T>(prototype: object, name: string | symbol): Getter<T> {
  return Object.getOwnPropertyDescriptor(prototype, name)?.get as Getter<T>;
}

const prototype = Object.getPrototypeOf(Uint8Array.prototype);
const nameGetter = getterOf<string | undefined>(prototype, Symbol.toStringTag);
const bufferGetter = getterOf<ArrayBufferLike>(prototype, 'buffer');
const byteLengthGetter = getterOf<number>(prototype, 'byteLength');
const bufferLengthGetter = getterOf<number>(ArrayBuffer.prototype, 'byteLength');
const resizableGetter = getterOf<boolean>(ArrayBuffer.prototype, 'resizable');

/** The kind of a typed array, undefined for everything else. */
export const typedArrayName = (value: unknown): string | undefined => nameGetter.call(value);

/** Bytes of a typed array; 0 once its buffer was transferred. */
export const byteLengthOf = (array: ArrayBufferView): number => byteLengthGetter.call(array);

/** Whether a typed array can lose memory: a resizable buffer shrinks, a growable SharedArrayBuffer does not. */
export function isResizable(array: ArrayBufferView): boolean {
  const buffer = bufferGetter.call(array);
  return types.isArrayBuffer(buffer) && resizableGetter.call(buffer);
}

/** Whether two typed arrays are on buffers that share no memory. Says no of SharedArrayBuffers, which others may be over. */
export function areApart(a: ArrayBufferView, b: ArrayBufferView): boolean {
  const [one, other] = [bufferGetter.call(a), bufferGetter.call(b)];
  return one !== other && types.isArrayBuffer(one) && types.isArrayBuffer(other);
}

/** Whether the buffer of a typed array has no memory: it is empty, or was transferred. */
export function hasNoMemory(array: ArrayBufferView): boolean {
  if (byteLengthOf(array) > 0) return false;
  const buffer = bufferGetter.call(array);
  return types.isArrayBuffer(buffer) && bufferLengthGetter.call(buffer) === 0;
}
