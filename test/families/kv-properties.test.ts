// KvCache against a model of it: lists of tokens that nobody shares. And against decode runs computed elsewhere.
// Reader: someone who changes how pages are shared.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CachePositions, claLayerMap, KvCache, type RotaryOptions, Tensor } from '../../dist/index.js';
import { onEveryBackend } from '../conformance/suite.js';
import { expectClose, readGolden } from '../support/golden.js';
import { expectForAll } from '../support/property.js';
import { sampleSize } from '../support/sample.js';

const layers = 2;

/** Keys and values of one head and dim, whose numbers are the tokens' own. */
const rowsOf = (tokens: readonly number[]) =>
  new Tensor('float32', Float32Array.from(tokens), [1, tokens.length, 1, 1]);

interface Step {
  readonly what: 'append' | 'truncate' | 'fork' | 'dispose' | 'reset';
  /** Which cache, which layer, how much: as shares of what there is. */
  readonly cache: number;
  readonly layer: number;
  readonly share: number;
}

const share = fc.nat(1000).map((n) => n / 1000);
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    what: fc.oneof(
      { arbitrary: fc.constant('append' as const), weight: 8 },
      { arbitrary: fc.constant('truncate' as const), weight: 2 },
      { arbitrary: fc.constant('fork' as const), weight: 3 },
      { arbitrary: fc.constantFrom('dispose' as const, 'reset' as const), weight: 1 },
    ),
    cache: share,
    layer: fc.nat(layers - 1),
    share,
  }),
  { maxLength: 40 },
);

/** A cache and what it should hold, layer by layer. */
interface Pair {
  readonly cache: KvCache;
  readonly tokens: number[][];
}

const pick = <T>(items: readonly T[], at: number): T =>
  items[Math.min(items.length - 1, Math.floor(at * items.length))];

function expectSame({ cache, tokens }: Pair): void {
  for (const [layer, expected] of tokens.entries()) {
    expect(cache.lengthOf(layer)).toBe(expected.length);
    expect([...cache.keys(layer).data]).toEqual(expected);
    expect([...cache.values(layer).data]).toEqual(expected);
  }
  expect(cache.length).toBe(Math.min(...tokens.map(({ length }) => length)));
}

it('random appends, forks and cuts: every cache holds its own tokens', () => {
  expectForAll(steps, sampleSize(200), (list) => {
    let next = 1;
    const empty = (): Pair => ({
      cache: new KvCache({ layers, kvHeads: 1, headDim: 1, batch: 1, type: 'float32' }),
      tokens: Array.from({ length: layers }, () => []),
    });
    let pairs = [empty()];
    for (const { what, cache: at, layer, share } of list) {
      const pair = pick(pairs, at);
      if (what === 'append') {
        const rows = Array.from({ length: Math.floor(600 * share ** 3) }, () => next++);
        pair.cache.append(layer, rowsOf(rows), rowsOf(rows));
        pair.tokens[layer].push(...rows);
      } else if (what === 'truncate') {
        const length = Math.floor(share * Math.max(...pair.tokens.map((tokens) => tokens.length)));
        pair.cache.truncate(length);
        for (const tokens of pair.tokens) tokens.splice(length);
      } else if (what === 'fork') {
        pairs.push({ cache: pair.cache.fork(), tokens: pair.tokens.map((tokens) => [...tokens]) });
      } else if (what === 'reset') {
        pair.cache.reset();
        for (const tokens of pair.tokens) tokens.splice(0);
      } else {
        pair.cache.dispose();
        pairs = pairs.filter((other) => other !== pair);
        if (pairs.length === 0) pairs = [empty()];
      }
      expectSame(pick(pairs, at));
    }
    for (const pair of pairs) expectSame(pair);
  });
});

interface GoldenTensor {
  readonly dims: number[];
  readonly seed?: number;
  readonly mod?: number;
  readonly sub?: number;
  readonly div?: number;
  readonly data?: (number | string)[];
}

interface DecodeRun {
  readonly name: string;
  readonly options: { sink: number[]; window: number[]; positions?: CachePositions; rotary?: RotaryOptions };
  readonly q: GoldenTensor;
  readonly k: GoldenTensor;
  readonly v: GoldenTensor;
  readonly out: GoldenTensor;
  readonly lse: GoldenTensor;
}

const golden = readGolden<{
  generator: { check: GoldenTensor };
  cases: DecodeRun[];
  claLayerMaps: { options: { layers: number; factor: number }; map: number[] }[];
}>('kv-cache');

/** The numbers of a golden tensor, listed or by the file's generator. */
function numbersOf({ dims, seed, mod = 101, sub = 50, div = 32, data }: GoldenTensor): number[] {
  if (seed === undefined) return (data ?? []).map(Number);
  return Array.from({ length: dims.reduce((a, n) => a * n, 1) }, (_, i) => {
    const u = i % 7919;
    const x = ((((u * 3 + 31) * u + 17 + 2 * seed) % 7919) * u + 1009 * seed) % 7919;
    return ((x % mod) - sub) / div;
  });
}

const tensorOf = (golden: GoldenTensor) => new Tensor('float32', Float32Array.from(numbersOf(golden)), golden.dims);

describe('decode runs computed elsewhere', () => {
  it('the generator is theirs', () => {
    const { seed, dims, data } = golden.generator.check;
    expect(numbersOf({ seed, dims })).toEqual(data);
  });

  onEveryBackend((backend) => {
    it.each(golden.cases)('$name', ({ options: { sink, window, positions, rotary }, q, k, v, out, lse }) => {
      const [, tokens, queryHeads] = q.dims;
      const [kvHeads, headDim, valueDim] = [k.dims[2], k.dims[3], v.dims[3]];
      const horizon = {
        recentTokens: window.length === 1 ? window[0] : window,
        sinkTokens: sink.length === 1 ? sink[0] : sink,
        ...(rotary && { rotary }),
        ...(positions && { positions }),
      };
      const cache = new KvCache({ kvHeads, headDim, valueDim, ...horizon, device: backend.device });
      const [queries, keys, values] = [q, k, v].map(tensorOf);
      const [wantedOut, wantedLse] = [numbersOf(out), numbersOf(lse)];
      for (let t = 0; t < tokens; t++) {
        cache.append(0, keys.slice(1, t, t + 1), values.slice(1, t, t + 1));
        const row = cache.attentionSync(0, queries.slice(1, t, t + 1), { returnLse: true });
        const size = queryHeads * valueDim;
        expectClose(row.out.data as Float32Array, wantedOut.slice(t * size, (t + 1) * size), 5);
        const rowLse = Array.from({ length: queryHeads }, (_, h) => wantedLse[h * tokens + t]);
        expectClose(row.lse.data, rowLse, 5);
      }
    });
  });

  it.each(golden.claLayerMaps)('CLA of $options', ({ options, map }) => {
    expect(claLayerMap(options)).toEqual(map);
  });
});
