// External data: numbers of a tensor in a file beside the model, which may be larger than protobuf's 2 GB.
// Reader: someone whose model has a .data file. A reference is kept as it is; bytes are read only on demand.
// Source: "External Data" of onnx/onnx: a location relative to the model's folder, an offset and a length.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import path from 'node:path';
import { allocating, type TilewiseRangeError } from '../../check/errors.js';
import type { Message } from './message.js';
import { entryFields, tensorFields } from './numbers.js';
import { malformed } from './wire.js';

/** Where the numbers of a tensor are. */
export interface ExternalData {
  /** The file, relative to the model's folder. */
  readonly location: string;
  /** The first byte. */
  readonly offset: number;
  /** Bytes; undefined: up to the end of the file. */
  readonly length: number | undefined;
}

/** Reads a tensor's reference. One that leaves the model's folder is refused: models come from strangers. */
export function readReference(tensor: Message): ExternalData {
  const entries = new Map(
    tensor
      .messages(tensorFields.externalData, 'StringStringEntryProto')
      .map((entry) => [entry.text(entryFields.key) ?? '', entry.text(entryFields.value) ?? '']),
  );
  const location = entries.get('location') ?? '';
  const isInside = location !== '' && !path.isAbsolute(location) && !/^[a-z]:/i.test(location);
  if (!isInside || location.split(/[\\/]/).includes('..')) {
    throw malformed(tensor.what, `external data at '${location}', which is no file of the model's folder`);
  }
  const whole = (key: string): number | undefined => {
    const text = entries.get(key);
    if (text === undefined) return undefined;
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value)) return value;
    throw malformed(tensor.what, `external data with ${key} '${text}'`);
  };
  return { location, offset: whole('offset') ?? 0, length: whole('length') };
}

/** Reads the bytes of a tensor that should have `expected` of them. */
export function readExternalData(
  external: ExternalData,
  expected: number,
  folder: string | undefined,
): Uint8Array<ArrayBuffer> {
  const { location, offset, length = expected } = external;
  const lacking = (fault: string): TilewiseRangeError => malformed(`External data '${location}'`, fault);
  if (folder === undefined) throw lacking('a model in memory has no folder to look in');
  if (length !== expected) throw lacking(`it has ${length} bytes, and the tensor ${expected}`);
  let file: number;
  try {
    file = openSync(path.join(folder, location), 'r');
  } catch (error) {
    throw lacking((error as Error).message);
  }
  try {
    const { size } = fstatSync(file);
    if (offset + length > size) throw lacking(`bytes ${offset} to ${offset + length} of a file of ${size}`);
    const bytes = allocating(() => new Uint8Array(length));
    for (let done = 0; done < length; ) {
      const count = readSync(file, bytes, done, Math.min(length - done, 2 ** 30), offset + done);
      if (count === 0) throw lacking(`it ended at byte ${offset + done} while it was read`);
      done += count;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}
