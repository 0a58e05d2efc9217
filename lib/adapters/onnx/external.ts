// External data: numbers of a tensor in a file beside the model, which may be larger than protobuf's 2 GB.
// Reader: someone whose model has a .data file. A reference is kept as it is; bytes are read only on demand.
// Source: "External Data" of onnx/onnx: a location relative to the model's folder, an offset and a length.

import path from 'node:path';
import { malformed, readRange } from '../files.js';
import type { Message } from './message.js';
import { entryFields, tensorFields } from './numbers.js';
import { bytesField, type Field, textField, writeFields } from './wire.js';

/** Where the numbers of a tensor are. */
export interface ExternalData {
  /** The file, relative to the model's folder. */
  readonly location: string;
  /** The first byte. */
  readonly offset: number;
  /** Bytes; undefined: up to the end of the file. */
  readonly length: number | undefined;
}

/** Whether a location is a file of the model's folder, or of one in it, whether or not `\` is between names. */
export const isInFolder = (location: string): boolean =>
  location !== '' &&
  !path.isAbsolute(location) &&
  !/^[a-z]:/i.test(location) &&
  [location, location.replaceAll('\\', '/')].every((one) => !/^(\/|\.\.?(\/|$))/.test(path.posix.normalize(one)));

/** A tensor's reference, as fields. */
export const externalEntries = (place: Readonly<Record<string, string | number>>): Field[] =>
  Object.entries(place).map(([key, value]) =>
    bytesField(
      tensorFields.externalData,
      writeFields([textField(entryFields.key, key), textField(entryFields.value, `${value}`)]),
    ),
  );

/** Reads a tensor's reference. One that leaves the model's folder is refused: models come from strangers. */
export function readReference(tensor: Message): ExternalData {
  const entries = new Map(
    tensor
      .messages(tensorFields.externalData, 'StringStringEntryProto')
      .map((entry) => [entry.text(entryFields.key) ?? '', entry.text(entryFields.value) ?? '']),
  );
  const location = entries.get('location') ?? '';
  if (!isInFolder(location)) {
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
  { location, offset, length }: ExternalData,
  expected: number,
  folder: string | undefined,
): ArrayBuffer {
  const what = `External data '${location}'`;
  if (folder === undefined) throw malformed(what, 'a model in memory has no folder to look in');
  if (length !== undefined && length !== expected)
    throw malformed(what, `it has ${length} bytes, and the tensor ${expected}`);
  return readRange(path.join(folder, location), what, offset, expected);
}
