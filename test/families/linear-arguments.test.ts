// The arguments of linear attention: what golden/ext-linear.json says is wrong, and what is said of it; LinearState's own rules.
// Reader: someone who adds an option.

import { describe, expect, it } from 'vitest';
import {
  LinearState,
  lightningDecay,
  linearAttention,
  linearAttentionStepSync,
  linearAttentionSync,
  retnetDecay,
  type Tensor,
} from '../../dist/index.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { extLinear } from '../support/ext-linear.js';
import { extOptions } from '../support/ext-modifiers.js';
import { tensor } from '../support/tensors.js';

const option = 'ERR_TILEWISE_INVALID_OPTION' as const;
const mismatch = 'ERR_TILEWISE_SHAPE_MISMATCH' as const;
const [q, k, v] = [tensor(1, 6, 4, 4), tensor(1, 6, 2, 4), tensor(1, 6, 2, 3)];

/** Options of the file: words in lists are numbers, tensors may be of half precision. */
function readOptions(options: Record<string, unknown>) {
  return Object.fromEntries(
    Object.entries(extOptions(options)).map(([name, value]) => {
      if (Array.isArray(value)) return [name, value.map(Number)];
      const given = options[name] as { type?: string };
      return [name, given?.type === 'float16' ? (value as Tensor).astype('float16') : value];
    }),
  );
}

describe('what the golden file refuses', () => {
  const calls = extLinear.invalid.filter(({ op }) => op === 'linearAttention');
  it.each(calls)('$name', async ({ options, names }) => {
    const given = readOptions(options as Record<string, unknown>);
    const error = thrownBy(() => linearAttentionSync(q, k, v, given));
    expect(error).toBeInstanceOf(Error);
    expect((error as { code: string }).code).toMatch(/^ERR_TILEWISE_/);
    expect((error as Error).message).toContain(names);
    await expect(linearAttention(q, k, v, given)).rejects.toThrow(names);
  });
  const helpers = extLinear.invalid.filter(({ op }) => op === 'lightningDecay' || op === 'retnetDecay');
  it.each(helpers)('$name', ({ op, options, names }) => {
    const call = () => (op === 'retnetDecay' ? retnetDecay : lightningDecay)(options as never);
    expectError(thrownBy(call), { code: option, says: [names] });
  });
});

it.each<[string, object, string, string]>([
  ['scale with taylor2', { featureMap: 'taylor2', scale: 1 }, option, 'scale'],
  ['a normalizer without normalize', { normalizer: tensor(1, 2, 4) }, option, 'normalizer'],
  ['a state without its normalizer', { normalize: 'sum', state: tensor(1, 2, 4, 3) }, option, 'normalizer'],
  ['both directions', { twoSided: true }, 'ERR_TILEWISE_UNKNOWN_OPTION', 'twoSided'],
  ['totals that end early', { cuSeqlens: [0, 5] }, option, 'cuSeqlens'],
  ['totals that are not causal', { cuSeqlens: [0, 6], causal: false }, option, 'cuSeqlens'],
  ['an out of another shape', { out: tensor(1, 6, 4, 4) }, mismatch, 'out'],
  [
    'an out that is an input',
    { out: { type: 'float32', data: q.data, dims: [1, 6, 4, 3], strides: [96, 16, 4, 1] } },
    'ERR_TILEWISE_OVERLAP',
    'out',
  ],
])('%s is refused', async (_, given, code, says) => {
  const options = given as never;
  await expectBoth(
    () => linearAttentionSync(q, k, v, options),
    () => linearAttention(q, k, v, options),
    { code: code as never, says: [says] },
  );
});

it.each<[string, unknown[], string]>([
  ['a causal call with another number of keys', [q, tensor(1, 5, 2, 4), tensor(1, 5, 2, 3)], mismatch],
  ['heads that do not divide', [q, tensor(1, 6, 3, 4), tensor(1, 6, 3, 3)], mismatch],
  ['another head dim', [q, tensor(1, 6, 2, 5), v], mismatch],
  ['a value of another type', [q, k, v.astype('float16')], 'ERR_TILEWISE_DTYPE'],
  [
    'a head dim beyond what there is room for',
    [tensor(1, 1, 1, 4097), tensor(1, 1, 1, 4097), tensor(1, 1, 1, 1)],
    mismatch,
  ],
])('%s is refused', (_, [a, b, c], code) => {
  expectError(
    thrownBy(() => linearAttentionSync(a as never, b as never, c as never)),
    { code: code as never },
  );
});

describe('a LinearState', () => {
  const make = () => new LinearState({ kvHeads: 2, headDim: 4, valueDim: 3 });
  const at = (x: Tensor<'float32'>, t: number) => x.slice(1, t, t + 1);

  it('saves, loads, copies and begins anew', () => {
    const state = make();
    state.attentionSync(q, k, v, { decay: [-0.5, 0], device: 'cpu' });
    const loaded = LinearState.load({ kvHeads: 2, headDim: 4, valueDim: 3 }, state.save());
    const copy = state.copy();
    expect(loaded.state.data).toEqual(state.state.data);
    expect(loaded.decay.data).toEqual(Float32Array.of(-3, 0));
    linearAttentionStepSync(at(q, 0), at(k, 0), at(v, 0), state, { device: 'cpu' });
    expect(copy.state.data).toEqual(loaded.state.data);
    expect(state.state.data).not.toEqual(loaded.state.data);
    state.reset();
    expect(state.state.data).toEqual(new Float32Array(24));
    expect(state.bytes).toBe(96);
  });
  it('is written where it is', () => {
    const state = make();
    const { data } = state.state;
    linearAttentionStepSync(at(q, 1), at(k, 1), at(v, 1), state, { device: 'cpu' });
    expect(state.state.data).toBe(data);
    expect(data.some((x) => x !== 0)).toBe(true);
  });
  it('refuses a second call while one writes it', async () => {
    const state = make();
    const first = state.attention(q, k, v, { device: 'cpu' });
    expectError(
      thrownBy(() => state.attentionSync(q, k, v)),
      { code: 'ERR_TILEWISE_OVERLAP' },
    );
    expectError(
      thrownBy(() => state.save()),
      { code: 'ERR_TILEWISE_OVERLAP' },
    );
    await first;
    state.attentionSync(q, k, v, { device: 'cpu' });
  });
  it('refuses steps of several tokens, states of other sizes, and options that are not its own', () => {
    expectError(
      thrownBy(() => linearAttentionStepSync(q, k, v, make())),
      { code: mismatch },
    );
    const other = new LinearState({ kvHeads: 1, headDim: 4, valueDim: 3 });
    expectError(
      thrownBy(() => LinearState.merge([make(), other])),
      { code: mismatch },
    );
    expectError(
      thrownBy(() => other.attentionSync(q, k, v)),
      { code: mismatch },
    );
    const signal = AbortSignal.abort();
    expectError(
      thrownBy(() => make().attentionSync(q, k, v, { signal } as never)),
      { code: 'ERR_TILEWISE_UNKNOWN_OPTION' },
    );
    expectError(
      thrownBy(() => linearAttentionStepSync(q, k, v, {} as never)),
      { code: option, says: ['state'] },
    );
  });
});

it('a call that is cancelled before it runs rejects with the reason', async () => {
  await expect(linearAttention(q, k, v, { signal: AbortSignal.abort('enough') })).rejects.toBe('enough');
});
