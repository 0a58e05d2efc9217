// Messages in pieces: what is written is put together once, and weights are read where they are only then.
// Reader: someone who asks what a model's segments take of memory. Pieces are parts of arrays that are there, or of files.

import { readInto } from '../files.js';
import type { Message } from './message.js';
import { headOf } from './wire.js';

/** Bytes of a file. */
export interface FileRange {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

/** Bytes that are there, or will be read. */
export type Piece = Uint8Array | FileRange;

/** Bytes of pieces, one after the other. */
export const lengthOf = (pieces: readonly Piece[]): number => pieces.reduce((sum, { length }) => sum + length, 0);

/** A field of bytes, or of a message. */
export const fieldOf = (number: number, pieces: readonly Piece[]): Piece[] => [
  headOf(number, lengthOf(pieces)),
  ...pieces,
];

/** A message with other fields of some numbers, which come where Message.with() puts them. */
export function piecesOf(message: Message, changes: Readonly<Record<number, readonly Piece[]>> = {}): Piece[] {
  const waiting = new Map(Object.entries(changes).map(([number, pieces]) => [Number(number), pieces]));
  const pieces: Piece[] = [];
  for (const { number, whole } of message.fields) {
    if (number in changes) pieces.push(...(waiting.get(number) ?? []));
    else pieces.push(whole);
    waiting.delete(number);
  }
  return [...pieces, ...[...waiting.values()].flat()];
}

/** Writes pieces into an array of their length. */
export function putTogether(pieces: readonly Piece[], bytes: Uint8Array): Uint8Array {
  let at = 0;
  for (const piece of pieces) {
    if (piece instanceof Uint8Array) bytes.set(piece, at);
    else readInto(piece.path, `'${piece.path}'`, piece.offset, bytes.subarray(at, at + piece.length));
    at += piece.length;
  }
  return bytes;
}
