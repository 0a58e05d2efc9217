// Sigmoid and relu in place of softmax: numbers computed elsewhere (golden/ext-modifiers.json), and what follows from weights that
// are functions of one score each. Reader: someone who asks what `activation` means.

import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attention,
  attentionSync,
  mergeAttentionSync,
  slidingWindow,
} from '../../dist/index.js';
import type { Case } from '../conformance/case.js';
import { expectCases, expectMatrix, onEveryBackend, runCase } from '../conformance/suite.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { extModifiers, extOptions, extTensor, type ModifierCase } from '../support/ext-modifiers.js';
import { type ExtNumber, type ExtTensor, extNumbers } from '../support/ext-patterns.js';
import { expectClose } from '../support/golden.js';
import { tensor } from '../support/tensors.js';

const operandsOf = (batch: number, queries: number, keys: number, [heads, kvHeads]: [number, number], dim: number) =>
  [tensor(batch, queries, heads, dim), tensor(batch, keys, kvHeads, dim), tensor(batch, keys, kvHeads, dim)] as const;
const ofActivations = extModifiers.cases.filter(({ options, gate }) => options.activation !== undefined && !gate);

/** The options of a case, its additive operands among them. */
function optionsOf({ options, bias, alibiSlopes }: ModifierCase): AttentionOptions {
  const { pattern, ...rest } = extOptions(options) as AttentionOptions & {
    pattern?: { window: ExtNumber[]; sinkTokens: number[] };
  };
  const slopes = (alibiSlopes ?? rest.alibiSlopes) as number[] | undefined;
  const told: AttentionOptions = { ...(rest as AttentionOptions) };
  if (bias) told.bias = extTensor(bias as ExtTensor);
  if (slopes) told.alibiSlopes = slopes as unknown as NonNullable<AttentionOptions['alibiSlopes']>;
  if (pattern) {
    // The file counts a window's tokens with the query's own, and each head's.
    told.pattern = slidingWindow({ recentTokens: pattern.window.map(Number), sinkTokens: pattern.sinkTokens });
  }
  return told;
}

onEveryBackend((backend) => {
  const { device } = backend;

  it.each(ofActivations)('$name', (c) => {
    const [q, k, v] = [c.q, c.k, c.v].map((tensor) => extTensor(tensor));
    const { out, lse } = attentionSync(q, k, v, { ...optionsOf(c), device });
    expect(lse).toBeUndefined();
    expectClose(out.data, extNumbers(c.out), 5);
  });

  it('a pair at every size of a tile, every pattern and every type', () => {
    const sigmoid = { activation: 'sigmoid', activationBias: -2 } as const;
    const own = { activation: 'sigmoid', activationBias: 'neg-log-keys' } as const;
    const relu = { activation: 'relu' } as const;
    const shape = { queries: 70, keys: 150, heads: [4, 2] as [number, number], dims: [32, 24] as [number, number] };
    const cases: Case[] = (['float32', 'float16', 'bfloat16'] as const).flatMap((dtype) =>
      [sigmoid, own, relu].flatMap((activation) => [
        { ...shape, ...activation, dtype, causal: true },
        { ...shape, ...activation, dtype, queries: 1, keys: 700 },
        { ...shape, ...activation, dtype, queries: 3, keys: 90, softcap: 4, alibi: 'h', extra: 5 },
        { ...shape, ...activation, dtype, mask: { axes: 'qk', hidden: 0.5 }, bias: { axes: 'hk', hidden: 0.2 } },
        { ...shape, ...activation, dtype, batch: 2, keyLengths: [150, 40], keyStarts: [10, 3] },
        { ...shape, ...activation, dtype, cuSeqlensQ: [0, 30, 30, 70], cuSeqlensK: [0, 50, 60, 150], is3d: true },
        { ...shape, ...activation, dtype, recentTokens: [9, 40], sinkTokens: [2, 0] },
        { ...shape, ...activation, dtype, shards: { blockSize: 16, localBlocks: 2, vertStride: 3 } },
        { ...shape, ...activation, dtype, blocks: { blockQ: 16, blockK: 32, density: 0.4, form: 'csr' } },
        {
          ...shape,
          ...activation,
          dtype,
          grid: [9, 8],
          queries: 72,
          keys: 72,
          neighborhood: { kernelSize: [5, 3], stride: [1, 1], dilation: [1, 1], causal: [false, false] },
        },
        { ...shape, ...activation, dtype, batch: 2, keyLengths: [150, 100], pages: { size: 16 } },
      ]),
    );
    expectMatrix(cases, backend);
  });

  it('parts add', () => {
    const [q, k, v] = operandsOf(2, 5, 40, [4, 2], 8);
    const options = { activation: 'sigmoid', activationBias: -1, device } as const;
    const whole = attentionSync(q, k, v, options).out;
    const parts = [
      [0, 13],
      [13, 40],
    ].map(([from, to]) => attentionSync(q, k.slice(1, from, to), v.slice(1, from, to), options));
    const merged = mergeAttentionSync(parts, { activation: 'sigmoid', device });
    expect('lse' in merged && merged.lse).toBeFalsy();
    expectClose(merged.out.data, whole.data, 5);
    // Heads and dim as one axis: rows just add.
    const flat = parts.map(({ out }) => ({ out: out.reshape([2, 5, 32]) }));
    expectClose(mergeAttentionSync(flat, { activation: 'sigmoid', device }).out.data, whole.data, 5);
  });

  it("'neg-log-keys' is the number that it stands for, of each sequence", () => {
    const lengths = [40, 7, 1];
    const [q, k, v] = operandsOf(3, 4, 40, [2, 1], 16);
    const named = { activation: 'sigmoid', activationBias: 'neg-log-keys', causal: true, device } as const;
    const all = attentionSync(q, k, v, { ...named, keyLengths: lengths });
    lengths.forEach((length, b) => {
      const entry = [q, k, v].map((tensor) => tensor.slice(0, b, b + 1));
      const number = { ...named, activationBias: -Math.log(length), keyLengths: [length] };
      const one = attentionSync(entry[0], entry[1], entry[2], number);
      expectClose(one.out.data, all.out.slice(0, b, b + 1).contiguous().data, 6);
    });
  });

  it('scores however far give 0 and 1, and NaN of hidden keys stays out', () => {
    const far = 3e38;
    const q = { type: 'float32', data: Float32Array.of(1), dims: [1, 1, 1, 1] } as const;
    const keysOf = (...data: number[]) => ({
      type: 'float32' as const,
      data: Float32Array.from(data),
      dims: [1, data.length, 1, 1],
    });
    const at = (k: number[], v: number[], more: AttentionOptions) =>
      attentionSync(q, keysOf(...k), keysOf(...v), { activation: 'sigmoid', scale: 1, device, ...more }).out.data[0];
    expect(at([far, -far], [3, 5], {})).toBe(3);
    expect(at([far, 0], [3, 5], { activationBias: far })).toBe(8);
    expect(at([-200, -1e4], [3, 5], {})).toBe(0);
    const mask = { type: 'bool', data: Uint8Array.of(1, 0), dims: [1, 1, 1, 2] } as const;
    expect(at([far, Number.NaN], [3, Number.NaN], { mask })).toBe(3);
    expect(at([0, Number.NaN], [2, 1], {})).toBeNaN();
    expect(at([7, Number.NaN], [2, Number.NaN], { mask, activation: 'relu' })).toBe(7);
    expect(at([Number.NaN, 1], [2, 1], { activation: 'relu' })).toBeNaN();
    // A weight above 1 before it is divided by the number of keys, and the largest value.
    expect(at([4, 0, 0, 0, 0, 0, 0, 0], [2 ** 127, 0, 0, 0, 0, 0, 0, 0], { activation: 'relu' })).toBe(2 ** 126);
  });

  it('splits of the keys give what one piece gives', () => {
    const c: Case = {
      queries: 1,
      keys: 5000,
      heads: [4, 1],
      dims: [32, 32],
      activation: 'sigmoid',
      activationBias: -8,
    };
    expectCases([c, { ...c, dtype: 'float16' }, { ...c, activation: 'relu', activationBias: undefined }], backend);
    const first = runCase(c, backend);
    expect(runCase(c, backend).out).toEqual(first.out);
  });
});

describe('arguments', () => {
  const invalid = 'ERR_TILEWISE_INVALID_OPTION';
  const refused = extModifiers.invalid.filter(({ name }) => /activation|sigmoid/.test(name));
  it.each(refused)('$name', ({ options, names }) => {
    const [q, k, v] = operandsOf(1, 4, 6, [2, 1], 8);
    const error = thrownBy(() => attentionSync(q, k, v, extOptions(options) as AttentionOptions)) as Error;
    expect(error).toMatchObject({ code: invalid, message: expect.stringContaining(`\`${names}\``) });
  });

  it('relu takes no bias', async () => {
    const [q, k, v] = operandsOf(1, 4, 6, [2, 1], 8);
    const options = { activation: 'relu', activationBias: 1 } as const;
    await expectBoth(
      () => attentionSync(q, k, v, options),
      () => attention(q, k, v, options),
      { code: invalid, type: TypeError, says: ['`activationBias`', "'sigmoid'"] },
    );
  });

  it.each([
    [[{}], { activation: 'relu' }, TypeError, ['`activation`', "'relu'"]],
    [[{ out: tensor(1, 2, 2, 4), lse: 1 }], { activation: 'sigmoid' }, TypeError, ['`parts[0].lse`', '1']],
    [[{}], { activation: 'sigmoid', sinks: [1, 2] }, TypeError, ['`sinks`', 'denominator']],
  ] as const)('a merge of %j refuses %j', (parts, options, type, says) => {
    expectError(
      thrownBy(() => mergeAttentionSync(parts as never, options as never)),
      { code: invalid, type, says },
    );
  });
});
