// The golden file of linear attention, typed. Reader: someone who compares with golden/ext-linear.json; its `notes` and
// `optionNotes` say what the fields mean.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Tensor } from '../../dist/index.js';
import { backends, select } from '../conformance/backends.js';
import { extTensor } from './ext-modifiers.js';
import { type ExtInvalid, type ExtTensor, extNumbers } from './ext-patterns.js';
import { readGolden } from './golden.js';

export interface LinearCase {
  readonly name: string;
  readonly op: string;
  readonly options: Record<string, unknown>;
  readonly dims: Readonly<Record<string, number>>;
  readonly q: ExtTensor;
  readonly k: ExtTensor;
  readonly v: ExtTensor;
  readonly decay?: ExtTensor;
  readonly stateIn?: ExtTensor;
  readonly normalizerIn?: ExtTensor;
  readonly out: ExtTensor;
  readonly state?: ExtTensor;
  readonly normalizer?: ExtTensor;
  readonly after?: { tokens: number; state: ExtTensor; normalizer?: ExtTensor }[];
  readonly split?: number;
  readonly shardStates?: { tokens: number; localState: ExtTensor; stateIn: ExtTensor; stateOut: ExtTensor }[];
}

interface DecayTable {
  readonly helper: 'lightningDecay' | 'retnetDecay';
  readonly options: Record<string, unknown>;
  readonly decay: number[];
}

export const extLinear = readGolden<{ cases: LinearCase[]; decayTables: DecayTable[]; invalid: ExtInvalid[] }>(
  'ext-linear',
);

export const casesOf = (op: string): LinearCase[] => extLinear.cases.filter((one) => one.op === op);

/** Expects every number within `bound` of the largest one. */
export function expectNear(got: { readonly data: ArrayLike<number> }, want: ExtTensor, bound = 2e-6): void {
  const numbers = extNumbers(want);
  const largest = numbers.reduce((most, x) => Math.max(most, Math.abs(x)), 1);
  expect(got.data.length).toBe(numbers.length);
  numbers.forEach((x, i) => {
    const off = Math.abs(got.data[i] - x);
    expect(off <= bound * largest, `element ${i}: ${got.data[i]}, not ${x}`).toBe(true);
  });
}

/** Tokens [begin, end) of a [batch, tokens, ...] tensor. */
export function tokensOf(given: ExtTensor, begin: number, end: number): Tensor<'float32'> {
  const whole = extTensor(given);
  const [batch, tokens, ...rest] = given.dims;
  const row = rest.reduce((a, b) => a * b, 1);
  const data = new Float32Array(batch * (end - begin) * row);
  for (let b = 0; b < batch; b++) {
    data.set(whole.data.subarray((b * tokens + begin) * row, (b * tokens + end) * row), b * (end - begin) * row);
  }
  return new Tensor('float32', data, [batch, end - begin, ...rest]);
}

/** Tests on every instruction set of the CPU; none where backends are chosen that leave it out. */
export function onEveryCpu(tests: () => void): void {
  const cpus = backends.filter(({ device }) => device === 'cpu');
  if (cpus.length === 0) it.skip('runs on the CPU alone', () => {});
  describe.each(cpus)('$name', (backend) => {
    beforeAll(() => select(backend));
    afterAll(() => select(cpus[0]));
    tests();
  });
}
