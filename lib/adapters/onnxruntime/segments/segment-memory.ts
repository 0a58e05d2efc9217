// The bytes of one segment at a time: onnxruntime has read them when its session is there.
// Reader: someone who asks what fuse() takes at its peak. An array that is let go of stays until a collection, which comes late:
// this memory grows and shrinks instead.

import { allocating } from '../../../check/errors.js';
import { lengthOf, type Piece, putTogether } from '../../onnx/pieces.js';

/** Most bytes of a segment: what onnxruntime reads. */
const mostBytes = 2 ** 31;

/** An ArrayBuffer of variable length, which TypeScript's library does not know yet. */
type Resizable = ArrayBuffer & { resize(length: number): void };
const Resizable = ArrayBuffer as unknown as new (length: number, options: { maxByteLength: number }) => Resizable;

const segments = new WeakSet<object>();

/** Whether bytes are a segment that was made here: its attention is as it should be. */
export const isSegment = (source: unknown): boolean => segments.has(source as object);

/** Memory for segments, one after the other. */
export class SegmentMemory {
  // Address space alone, until it grows.
  readonly #buffer = allocating(() => new Resizable(0, { maxByteLength: mostBytes }));

  /** A segment's bytes, in the place of those of the last one. */
  bytesOf(pieces: readonly Piece[]): Uint8Array {
    const length = lengthOf(pieces);
    this.#buffer.resize(0);
    allocating(() => this.#buffer.resize(length));
    const bytes = new Uint8Array(this.#buffer, 0, length);
    segments.add(bytes);
    return putTogether(pieces, bytes);
  }

  /** Gives the memory back. */
  release(): void {
    this.#buffer.resize(0);
  }
}
