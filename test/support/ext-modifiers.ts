// The golden file of score modifiers, typed. Reader: someone who compares with golden/ext-modifiers.json; its `notes` and
// `optionNotes` say what the fields mean.

import { expect } from 'vitest';
import { Tensor } from '../../dist/index.js';
import { thrownBy } from './expect-error.js';
import { type ExtCase, type ExtInvalid, type ExtNumber, type ExtTensor, extNumbers } from './ext-patterns.js';
import { readGolden } from './golden.js';
import { tensor } from './tensors.js';

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

/** An entry of `invalid`: both forms of the op must throw an error of ours that names the option. */
export async function expectRefused<Options>(
  { dims, options, names }: ExtInvalid,
  sync: (q: Tensor, k: Tensor, v: Tensor, options: Options) => unknown,
  promised: (q: Tensor, k: Tensor, v: Tensor, options: Options) => Promise<unknown>,
): Promise<void> {
  const { batch, queryHeads, kvHeads, headDim, valueDim } = dims;
  const tokens = (dims as { tokens?: number[] }).tokens;
  const [queries, keys] = tokens ? [tokens, tokens] : [[dims.queries], [dims.keys]];
  const q = tensor(batch, ...queries, queryHeads, headDim);
  const k = tensor(batch, ...keys, kvHeads, headDim);
  const v = tensor(batch, ...keys, kvHeads, valueDim);
  const told = Object.fromEntries(
    Object.entries(extOptions(options)).map(([name, value]) => {
      const isList = Array.isArray(value) && value.some((one) => isTensor(one));
      return [name, isList ? (value as ExtTensor[]).map((one) => extTensor(one)) : value];
    }),
  ) as Options;
  const error = thrownBy(() => sync(q, k, v, told)) as { code?: string; message: string };
  expect(error?.code).toMatch(/^ERR_TILEWISE_(INVALID_OPTION|INVALID_TENSOR|SHAPE_MISMATCH|DTYPE)$/);
  expect(error.message).toContain(`\`${names}`);
  await expect(promised(q, k, v, told)).rejects.toMatchObject({ code: error.code });
}
