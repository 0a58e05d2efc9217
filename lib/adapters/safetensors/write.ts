// writeSafetensors(): tensors by name into a file that every safetensors reader accepts.
// Reader: someone who converts or saves weights. Views are written in row-major order.
// Source: huggingface/safetensors, "Format"; as its own writer does, wide types come first, so that all are aligned.

import { closeSync, openSync, writeSync } from 'node:fs';
import { TilewiseRangeError, TilewiseTypeError } from '../../check/errors.js';
import { checkNames, invalid, is, namesOf } from '../../check/validate.js';
import { toDense } from '../../tensor/dense.js';
import type { TensorLike } from '../../tensor/types.js';
import { type HostView, isOnHost, readTensor } from '../../tensor/views.js';
import { pathOf } from '../files.js';
import { isStrings, maxHeaderLength, metadataKey, storedTypes } from './format.js';

/** What writeSafetensors() can be told. */
export interface WriteSafetensorsOptions {
  /** Strings that readers find in `metadata`. */
  metadata?: Readonly<Record<string, string>>;
}

const optionNames = namesOf<WriteSafetensorsOptions>({ metadata: 1 });

/** A tensor on its way into a file. */
interface Stored {
  readonly name: string;
  readonly view: HostView;
  readonly bytes: Uint8Array;
}

/**
 * Writes a safetensors file. One that is there is replaced.
 * @param path of the file, or its file: URL
 * @param tensors by name, in the process's memory; any strides
 * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_DTYPE, ERR_TILEWISE_INVALID_OPTION,
 *   ERR_TILEWISE_UNKNOWN_OPTION; and what the file system throws
 */
export function writeSafetensors(
  path: string | URL,
  tensors: Readonly<Record<string, TensorLike>>,
  options: WriteSafetensorsOptions = {},
): void {
  checkNames('writeSafetensors()', options, optionNames);
  const to = pathOf('path', path);
  const metadata = readMetadata(options.metadata);
  if (!is.plain(tensors)) throw invalid('tensors', 'a plain object of tensors by name', tensors);
  const stored = Object.entries(tensors).map(([name, tensor]) => store(name, tensor));
  stored.sort((a, b) => elementSize(b) - elementSize(a) || (a.name < b.name ? -1 : 1));
  const header = headerOf(stored, metadata);
  const file = openSync(to, 'w');
  try {
    for (const bytes of [header, ...stored.map((one) => one.bytes)]) writeAll(file, bytes);
  } finally {
    closeSync(file);
  }
}

const elementSize = ({ view }: Stored): number => view.data.BYTES_PER_ELEMENT;

function readMetadata(metadata: unknown): Record<string, string> | undefined {
  if (metadata === undefined) return undefined;
  if (isStrings(metadata)) return metadata;
  throw invalid('metadata', 'a plain object of strings by name', metadata);
}

function store(name: string, tensor: unknown): Stored {
  if (name === metadataKey) throw invalid('tensors', `an object without the name '${metadataKey}'`, tensor);
  const view = readTensor(name, tensor);
  if (!isOnHost(view)) {
    const message = `\`${name}\` is on a device, and files are written from the process's memory: \`await tensor.to('cpu')\``;
    throw new TilewiseTypeError('ERR_TILEWISE_INVALID_TENSOR', message);
  }
  const dense = toDense(name, view);
  const { buffer, byteOffset, byteLength } = dense.data;
  return { name, view: dense, bytes: new Uint8Array(buffer, byteOffset, byteLength) };
}

/** The length and the JSON, padded so that the tensors begin at a multiple of eight. */
function headerOf(stored: readonly Stored[], metadata: Record<string, string> | undefined): Uint8Array {
  let end = 0;
  const entries = stored.map(({ name, view, bytes }) => {
    const begin = end;
    end += bytes.length;
    return [name, { dtype: storedTypes[view.type], shape: view.dims, data_offsets: [begin, end] }];
  });
  const json = JSON.stringify(Object.fromEntries([...(metadata ? [[metadataKey, metadata]] : []), ...entries]));
  const bytes = new TextEncoder().encode(json);
  const length = Math.ceil(bytes.length / 8) * 8;
  if (length > maxHeaderLength) {
    const message = `A header of ${length} bytes is more than the ${maxHeaderLength} that readers accept`;
    throw new TilewiseRangeError('ERR_TILEWISE_INVALID_OPTION', message);
  }
  const header = new Uint8Array(8 + length).fill(' '.charCodeAt(0));
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(bytes, 8);
  return header;
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; )
    done += writeSync(file, bytes, done, Math.min(bytes.length - done, 2 ** 30));
}
