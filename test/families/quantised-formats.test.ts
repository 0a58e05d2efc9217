// What the formats of a quantised cache keep, of what and when, and what they refuse. Reader: someone who changes
// lib/caches/coded-tokens.ts or lib/stores/kv-format.ts.

import { describe, expect, it } from 'vitest';
import {
  explain,
  full,
  hierarchical,
  type KvBits,
  KvCache,
  type KvCacheOptions,
  type KvFormat,
  type Tensor,
} from '../../dist/index.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { extNumbers } from '../support/ext-patterns.js';
import {
  cacheOf,
  expectClose,
  fill,
  formatOf,
  formats,
  type GoldenCodes,
  quantisedCases,
  quantisedKv,
} from '../support/quantised-kv.js';
import { tensor } from '../support/tensors.js';

const runOf = ({ begin, end, keys }: KvBits) => [begin, end, keys === 'exact' ? 'full' : keys];

describe('what a format keeps', () => {
  it('blocks of tiers are those that were computed elsewhere, code by code', () => {
    const given = quantisedCases('tieredAttention').find(({ append }) => append.blocks)!;
    const { options, dims, k, v, append } = given;
    const { group } = options as { group: number };
    const cache = fill(cacheOf(dims, formatOf(options)), k, v, 1);
    for (const { tokens, keys, values } of append.blocks!) {
      const part = (x: Tensor) => x.slice(1, ...tokens).contiguous().data as ArrayLike<number>;
      const numbersOf = ({ codes, scales, mins }: GoldenCodes, groupOf: (t: number, d: number) => number) => {
        const [all, steps, bases] = [codes, scales, mins!].map(extNumbers);
        const dim = codes.dims[3];
        return all.map((code, i) => {
          const at = groupOf(Math.floor(i / dim), i % dim);
          return code * steps[at] + bases[at];
        });
      };
      const ofKeys = numbersOf(keys, (t, d) => Math.floor(t / group) * dims.headDim + d);
      const ofValues = numbersOf(values, (t, d) => t * (dims.valueDim / group) + Math.floor(d / group));
      expectClose(part(cache.keys(0)), ofKeys, `keys ${tokens}`, 1e-6);
      expectClose(part(cache.values(0)), ofValues, `values ${tokens}`, 1e-6);
    }
  });

  const shape = { kvHeads: 2, headDim: 64 };
  const rows = (tokens: number) => tensor(1, tokens, 2, 64);
  const filled = (format: KvFormat, tokens: number, rest: Partial<KvCacheOptions> = {}) => {
    const cache = new KvCache({ ...shape, format, ...rest });
    cache.append(0, rows(tokens), rows(tokens));
    return cache;
  };

  it.each(formats.filter(([name]) => name !== 'tiers'))('token by token as at once: %s', (_, format) => {
    const [one, all] = [new KvCache({ ...shape, format }), filled(format, 300)];
    const x = rows(300);
    for (let t = 0; t < 300; t++) one.append(0, x.slice(1, t, t + 1), x.slice(1, t, t + 1));
    expect([...one.keys(0).data]).toEqual([...all.keys(0).data]);
    expect([...one.values(0).data]).toEqual([...all.values(0).data]);
  });

  it('tiers follow the schedules that were computed elsewhere', () => {
    for (const { name, options, after } of quantisedKv.tierSchedules) {
      const format = { ...(formatOf(options) as object), group: 1 } as KvFormat;
      const cache = new KvCache({ kvHeads: 1, headDim: 1, format });
      const longest = after[after.length - 1].tokens;
      const x = tensor(1, longest, 1, 1);
      for (let t = 0; t < longest; t++) {
        cache.append(0, x.slice(1, t, t + 1), x.slice(1, t, t + 1));
        const want = after.find(({ tokens }) => tokens === t + 1);
        if (want) expect(cache.bits(0).map(runOf), `${name}, ${t + 1} tokens`).toEqual(want.runs);
      }
    }
  });

  it('a fork goes on by itself, and so does the cache it came from', () => {
    for (const [name, format] of formats) {
      const cache = filled(format, 200);
      const fork = cache.fork();
      const [before, more] = [[...cache.keys(0).data], rows(90)];
      fork.append(0, more, more);
      expect([...cache.keys(0).data], name).toEqual(before);
      const whole = new KvCache({ ...shape, format });
      for (const x of [rows(200), more]) whole.append(0, x, x);
      expect([...fork.keys(0).data], name).toEqual([...whole.keys(0).data]);
      expect([...fork.values(0).data], name).toEqual([...whole.values(0).data]);
      cache.append(0, rows(70), rows(70));
      expect([...fork.values(0).data], name).toEqual([...whole.values(0).data]);
      fork.dispose();
      cache.append(0, rows(300), rows(300));
      expect(cache.length).toBe(570);
    }
  });

  it('truncate() takes back exact tokens, and names the least length', () => {
    const cache = filled('int8', 300); // 256 keys have codes
    const error = thrownBy(() => cache.truncate(200));
    expectError(error, { code: 'ERR_TILEWISE_INVALID_OPTION', type: RangeError, says: ['256 at least, not 200'] });
    expect(cache.length).toBe(300);
    cache.truncate(260);
    const x = rows(300);
    cache.append(0, x.slice(1, 260, 300), x.slice(1, 260, 300));
    expect([...cache.keys(0).data]).toEqual([...filled('int8', 300).keys(0).data]);
    const tokens = filled('int8-token', 300);
    const fork = tokens.fork();
    tokens.truncate(10);
    tokens.append(0, x.slice(1, 10, 200), x.slice(1, 10, 200));
    expect([...tokens.keys(0).data]).toEqual([...filled('int8-token', 200).keys(0).data]);
    expect([...fork.keys(0).data]).toEqual([...filled('int8-token', 300).keys(0).data]);
  });

  it('layers and sequences have lengths of their own; bytes are those of codes', () => {
    const cache = new KvCache({ ...shape, layers: 2, batch: 2, format: { keyBits: 4, residual: 32 } });
    const x = tensor(2, 200, 2, 64);
    cache.append(0, x, x, { lengths: [200, 40] });
    expect([cache.length, cache.lengthOf(0, 0), cache.lengthOf(0, 1), cache.lengthOf(1, 0)]).toEqual([0, 200, 40, 0]);
    cache.append(1, x, x, { lengths: [64, 0] });
    expect(cache.length).toBe(64);
    cache.truncate([200, 40]);
    const plain = filled('int4', 4000).bytes;
    const exact = new KvCache(shape);
    exact.append(0, rows(4000), rows(4000));
    expect(plain / exact.bytes).toBeLessThan(0.22); // 4 bits, two numbers in float32 for 64, and the newest tokens
    cache.reset();
    expect([cache.length, cache.bytes]).toEqual([0, 0]);
  });

  it('explain() counts the bytes of codes', () => {
    const sizes = { queryHeads: 2, kvHeads: 2, queries: 1, keys: 4000, headDim: 64 };
    const bytesOf = (format?: KvFormat) => explain(full(), { ...sizes, ...(format && { format }) }).bytes;
    for (const [, format] of formats) {
      const cache = filled(format, 4000);
      expect(bytesOf(format) / cache.bytes).toBeGreaterThan(0.88); // pages of exact tokens are whole
      expect(bytesOf(format) / cache.bytes).toBeLessThan(1.05);
    }
    expect(bytesOf()).toBeGreaterThan(3 * bytesOf('int8'));
    const searched = () => explain(hierarchical(), { ...sizes, format: 'int8' });
    expectError(thrownBy(searched), { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['`format`'] });
  });

  it('error() says how far a shadow is', () => {
    const errors = (['int8', 'int4', 'int2'] as const).map(
      (format) => filled(format, 300, { shadow: true }).error()[0],
    );
    for (const kind of ['keys', 'values'] as const) {
      const [eight, four, two] = errors.map((error) => error[kind]);
      expect(eight.max).toBeGreaterThan(0);
      expect(eight.rms).toBeLessThan(eight.max);
      expect(eight.rms * 8).toBeLessThan(four.rms);
      expect(four.rms * 2).toBeLessThan(two.rms);
    }
    const fork = filled('int8', 100, { shadow: true }).fork();
    fork.append(0, rows(100), rows(100));
    expect(fork.error()[0].keys.max).toBeGreaterThan(0);
    expectError(
      thrownBy(() => filled('int8', 10).error()),
      { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['`shadow`'] },
    );
  });
});

describe('refused', () => {
  it.each(quantisedKv.invalid.filter(({ op }) => op !== 'quantizeKv'))('$name', ({ options, dims, names }) => {
    const error = thrownBy(() => cacheOf(dims, formatOf(options)));
    expectError(error, { code: 'ERR_TILEWISE_INVALID_OPTION', says: [`\`${names}`] });
  });

  it.each([
    ['recentTokens', { format: 'int8', recentTokens: 8 }, 'ERR_TILEWISE_INVALID_OPTION', '`recentTokens`'],
    ['shadow alone', { shadow: true }, 'ERR_TILEWISE_INVALID_OPTION', '`shadow`'],
    [
      'bits beside tiers',
      { format: { keyBits: 8, tiers: [{ bits: 8, tokens: Number.POSITIVE_INFINITY }] } },
      'ERR_TILEWISE_INVALID_OPTION',
      '`keyBits`',
    ],
    ['an unknown name', { format: { bits: 8 } }, 'ERR_TILEWISE_UNKNOWN_OPTION', '`bits`'],
    ['no bits', { format: {} }, 'ERR_TILEWISE_INVALID_OPTION', '`keyBits`'],
  ] as const)('%s', (_, options, code, says) => {
    expectError(
      thrownBy(() => new KvCache({ kvHeads: 2, headDim: 8, ...(options as object) } as KvCacheOptions)),
      { code, says: [says] },
    );
  });

  it('what reads keys that are codes', () => {
    const cache = new KvCache({ kvHeads: 2, headDim: 8, format: 'int8' });
    cache.append(0, tensor(1, 4, 2, 8), tensor(1, 4, 2, 8));
    const error = thrownBy(() => cache.attentionSync(0, tensor(1, 1, 2, 8), { similarity: 'cosine' }));
    expectError(error, { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['`similarity`', '`format`'] });
  });
});
