// A model in a file: weights stay there until they are wanted. They are read as external data of which the file is the model's own.
// Reader: someone whose model is large. The file is gone through field by field; what is no weight is read, and no weight is.
// Source: onnx.proto of onnx/onnx: weights are `raw_data` of the graph's initializers.

import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import path from 'node:path';
import { TilewiseRangeError } from '../../check/errors.js';
import { externalEntries, isInFolder } from './external.js';
import { type Model, readModel } from './model.js';
import { externalLocation, graphFields, modelFields, tensorFields } from './numbers.js';
import { fieldOf, lengthOf, type Piece, putTogether } from './pieces.js';
import { integerField, readHead, wireTypes } from './wire.js';

/** Weights of fewer bytes are read: their values may say what a graph does. */
const leastBytes = 4096;

/** Bytes that are read at once. A field's tag and length are far below that. */
const windowBytes = 65536;

/**
 * Reads an .onnx file without its weights.
 * @throws what the file system throws, and as readModel()
 */
export function readModelFile(file: string): Model {
  const whole = path.resolve(file);
  if (!isInFolder(path.basename(whole))) return readModel(readFileSync(whole));
  return readModel(readWithoutWeights(whole), whole);
}

function readWithoutWeights(file: string): Uint8Array {
  const handle = openSync(file, 'r');
  try {
    const { size } = fstatSync(handle);
    const pieces = new FileScan(file, handle, size).model();
    return putTogether(pieces, new Uint8Array(lengthOf(pieces)));
  } catch (error) {
    // It is no model: whoever reads it whole says where it ceases to be one.
    if (error instanceof TilewiseRangeError) return readFileSync(file);
    throw error;
  } finally {
    closeSync(handle);
  }
}

/** A field of a file: where it begins, and where its value is. */
interface FileField {
  readonly number: number;
  readonly begin: number;
  readonly from: number;
  readonly to: number;
  /** Whether the value is bytes of at least leastBytes, which may be a message. */
  readonly isLarge: boolean;
}

/** A pass over a file. */
class FileScan {
  #window = new Uint8Array(0);
  #windowBegin = 0;

  constructor(
    readonly file: string,
    readonly handle: number,
    readonly size: number,
  ) {}

  model(): Piece[] {
    return this.#message(0, this.size, modelFields.graph, (graph) =>
      this.#message(graph.from, graph.to, graphFields.initializer, (tensor) => this.#tensor(tensor)),
    );
  }

  /** A message of which fields of one number, if they are large, are gone into. */
  #message(begin: number, end: number, number: number, inside: (field: FileField) => Piece[]): Piece[] {
    const pieces: Piece[] = [];
    for (const field of this.#fields(begin, end)) {
      if (field.number === number && field.isLarge) pieces.push(...fieldOf(number, inside(field)));
      else this.#keep(pieces, field.begin, field.to);
    }
    return pieces;
  }

  /** A tensor with a reference in the place of its numbers. */
  #tensor({ from, to }: FileField): Piece[] {
    const fields = [...this.#fields(from, to)];
    const raw = fields.find(({ number, isLarge }) => number === tensorFields.rawData && isLarge);
    const pieces: Piece[] = [];
    const left: readonly number[] = [tensorFields.rawData, tensorFields.externalData, tensorFields.dataLocation];
    for (const field of fields) if (!raw || !left.includes(field.number)) this.#keep(pieces, field.begin, field.to);
    if (!raw) return pieces;
    const place = { location: path.basename(this.file), offset: raw.from, length: raw.to - raw.from };
    return [
      ...pieces,
      integerField(tensorFields.dataLocation, externalLocation).whole,
      ...externalEntries(place).map(({ whole }) => whole),
    ];
  }

  *#fields(begin: number, end: number): Generator<FileField> {
    for (let at = begin; at < end; ) {
      const { number, wireType, from, to } = readHead(this.#from(at), 0, this.file);
      if (at + to > end) throw new TilewiseRangeError('ERR_TILEWISE_INVALID_FILE', `a field ends at ${at + to}`);
      yield {
        ...{ number, begin: at, from: at + from, to: at + to },
        isLarge: wireType === wireTypes.bytes && to - from >= leastBytes,
      };
      at += to;
    }
  }

  /** Keeps bytes as they are, as one range with those in front of them. */
  #keep(pieces: Piece[], begin: number, end: number): void {
    const last = pieces.at(-1);
    const isNext = last && !(last instanceof Uint8Array) && last.offset + last.length === begin;
    const offset = isNext ? last.offset : begin;
    if (isNext) pieces.pop();
    pieces.push({ path: this.file, offset, length: end - offset });
  }

  /** The file from a byte on, as far as a window goes. */
  #from(at: number): Uint8Array {
    const rest = this.#windowBegin + this.#window.length - at;
    if (at < this.#windowBegin || (rest < 64 && at + rest < this.size)) {
      const window = new Uint8Array(Math.min(windowBytes, this.size - at));
      this.#window = window.subarray(0, readSync(this.handle, window, 0, window.length, at));
      this.#windowBegin = at;
    }
    return this.#window.subarray(at - this.#windowBegin);
  }
}
