// Ranges of files that others wrote: read on demand, refused when the file has not got them.
// Reader: someone who reads another format. Files may be larger than memory; a range is at most what an array holds.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { allocating, TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { invalid } from '../check/validate.js';

/** The error for bytes that are not what their format asks for. */
export const malformed = (what: string, fault: string): TilewiseRangeError =>
  new TilewiseRangeError('ERR_TILEWISE_INVALID_FILE', `${what} is not readable: ${fault}`);

/** The path that a caller gave as one or as a file: URL. */
export function pathOf(name: string, given: unknown): string {
  if (typeof given === 'string') return given;
  if (!(given instanceof URL)) throw invalid(name, 'a path or a file: URL', given);
  try {
    return fileURLToPath(given);
  } catch (error) {
    const message = `\`${name}\` must be a path or a file: URL, not ${given}: ${(error as Error).message}`;
    throw new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);
  }
}

/** What the file system answers; its refusals are the file's. */
function answered<T>(what: string, ask: () => T): T {
  try {
    return ask();
  } catch (error) {
    throw malformed(what, (error as Error).message);
  }
}

/** A file that is open for as long as a function takes. */
function opened<T>(path: string, what: string, use: (file: number, size: number) => T): T {
  const file = answered(what, () => openSync(path, 'r'));
  try {
    return use(file, answered(what, () => fstatSync(file)).size);
  } finally {
    closeSync(file);
  }
}

/** The size of a file in bytes. @param what the file, for errors */
export const sizeOfFile = (path: string, what: string): number => opened(path, what, (_, size) => size);

/** Reads a range of a file into memory of its length. @param what the file, for errors */
export function readInto(path: string, what: string, offset: number, bytes: Uint8Array): void {
  opened(path, what, (file, size) => fill(file, size, what, offset, bytes));
}

/** The bytes of a range of a file, in new memory. @param what the file, for errors */
export function readRange(path: string, what: string, offset: number, length: number): ArrayBuffer {
  return opened(path, what, (file, size) => {
    checkRange(size, what, offset, length);
    const bytes = allocating(() => new Uint8Array(length));
    fill(file, size, what, offset, bytes);
    return bytes.buffer;
  });
}

function checkRange(size: number, what: string, offset: number, length: number): void {
  if (offset + length > size) throw malformed(what, `bytes ${offset} to ${offset + length} of a file of ${size}`);
}

function fill(file: number, size: number, what: string, offset: number, bytes: Uint8Array): void {
  checkRange(size, what, offset, bytes.length);
  for (let done = 0; done < bytes.length; ) {
    const most = Math.min(bytes.length - done, 2 ** 30);
    const count = answered(what, () => readSync(file, bytes, done, most, offset + done));
    if (count === 0) throw malformed(what, `it ended at byte ${offset + done} while it was read`);
    done += count;
  }
}
