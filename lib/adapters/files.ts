// Ranges of files that others wrote: read on demand, refused when the file has not got them.
// Reader: someone who reads another format. Files may be larger than memory; a range is at most what an array holds.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { allocating, TilewiseRangeError } from '../check/errors.js';

/** The error for bytes that are not what their format asks for. */
export const malformed = (what: string, fault: string): TilewiseRangeError =>
  new TilewiseRangeError('ERR_TILEWISE_INVALID_FILE', `${what} is not readable: ${fault}`);

/** A file that is open for as long as a function takes. */
function opened<T>(path: string, what: string, use: (file: number, size: number) => T): T {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    throw malformed(what, (error as Error).message);
  }
  try {
    return use(file, fstatSync(file).size);
  } finally {
    closeSync(file);
  }
}

/** The size of a file in bytes. @param what the file, for errors */
export const sizeOfFile = (path: string, what: string): number => opened(path, what, (_, size) => size);

/** The bytes of a range of a file, in new memory. @param what the file, for errors */
export function readRange(path: string, what: string, offset: number, length: number): ArrayBuffer {
  return opened(path, what, (file, size) => {
    if (offset + length > size) throw malformed(what, `bytes ${offset} to ${offset + length} of a file of ${size}`);
    const bytes = allocating(() => new Uint8Array(length));
    for (let done = 0; done < length; ) {
      const count = readSync(file, bytes, done, Math.min(length - done, 2 ** 30), offset + done);
      if (count === 0) throw malformed(what, `it ended at byte ${offset + done} while it was read`);
      done += count;
    }
    return bytes.buffer;
  });
}
