// The golden file of score modifiers, typed. Reader: someone who compares with golden/ext-modifiers.json; its `notes` and
// `optionNotes` say what the fields mean.

import { Tensor } from '../../dist/index.js';
import { type ExtCase, type ExtInvalid, type ExtNumber, type ExtTensor, extNumbers } from './ext-patterns.js';
import { readGolden } from './golden.js';

/** A case whose operands have names of their own. */
export type ModifierCase = ExtCase & { [operand: string]: unknown };

export const extModifiers = readGolden<{ cases: ModifierCase[]; invalid: ExtInvalid[] }>('ext-modifiers');

/** A tensor of the file, for the public API. */
export const extTensor = (given: ExtTensor) =>
  new Tensor('float32', Float32Array.from(extNumbers(given)), [...given.dims]);

const words = new Set<unknown>(['NaN', 'Infinity', '-Infinity']);
const isTensor = (value: unknown): value is ExtTensor & { type?: string } =>
  typeof value === 'object' && value !== null && Array.isArray((value as ExtTensor).dims);

/** Options as the file writes them: words for numbers that JSON lacks, tensors by a formula. */
export const extOptions = (options: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(options).map(([name, value]) => {
      if (words.has(value)) return [name, Number(value as ExtNumber)];
      if (!isTensor(value)) return [name, value];
      if (value.type !== 'int32') return [name, extTensor(value)];
      return [name, { type: 'int32', data: Int32Array.from(extNumbers({ ...value, div: 1 })), dims: value.dims }];
    }),
  );
