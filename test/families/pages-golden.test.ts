// Attention over pages, and over lists of pages, against numbers computed elsewhere (golden/pages.json).
// Reader: someone who wants the meaning of a page table or of `pageLists` in small examples. Inputs come from the formula that
// the file states.

import { describe, expect, it } from 'vitest';
import { type AttentionOptions, attentionSync, Tensor } from '../../dist/index.js';
import { onEveryBackend } from '../conformance/suite.js';
import { thrownBy } from '../support/expect-error.js';
import { expectClose, readGolden } from '../support/golden.js';

interface Generated {
  dims: number[];
  seed: number;
}
interface Golden {
  generator: { check: Generated & { data: number[] } };
  cases: {
    name: string;
    options: AttentionOptions;
    q: Generated;
    k: Generated;
    v: Generated;
    out: { data: number[] };
    lse: { data: (number | '-Infinity')[] };
  }[];
  invalid: {
    name: string;
    options: AttentionOptions;
    dims: { queries: number; keys: number; queryHeads: number; kvHeads: number; headDim: number };
    names: string;
  }[];
}

const golden = readGolden<Golden>('pages');

function numbersOf({ dims, seed }: Generated): Float32Array {
  return Float32Array.from({ length: dims.reduce((a, n) => a * n, 1) }, (_, i) => {
    const u = i % 7919;
    const x = ((((u * 3 + 31) * u + 17 + 2 * seed) % 7919) * u + 1009 * seed) % 7919;
    return ((x % 101) - 50) / 32;
  });
}
const tensorOf = (generated: Generated) => new Tensor('float32', numbersOf(generated), generated.dims);

it('numbers are those of the formula', () => {
  expect([...numbersOf(golden.generator.check)]).toEqual(golden.generator.check.data);
});

onEveryBackend((backend) => {
  it.each(golden.cases)('$name', ({ options, q, k, v, out, lse }) => {
    const got = attentionSync(tensorOf(q), tensorOf(k), tensorOf(v), {
      ...options,
      returnLse: true,
      device: backend.device,
    });
    expectClose(got.out.data, out.data, 5);
    expectClose(got.lse!.data, lse.data.map(Number), 5);
  });
});

describe('refusals', () => {
  it.each(golden.invalid)('$name', ({ options, dims, names }) => {
    const { queries, keys, queryHeads, kvHeads, headDim } = dims;
    const { pages } = options;
    const kDims = pages ? [5, 4, kvHeads, headDim] : [1, keys, kvHeads, headDim];
    const q = tensorOf({ dims: [1, queries, queryHeads, headDim], seed: 1 });
    const k = tensorOf({ dims: kDims, seed: 2 });
    const error = thrownBy(() => attentionSync(q, k, k, options)) as Error & { code?: string };
    expect(error.message).toContain(names);
    expect(error.code).toMatch(/^ERR_TILEWISE_(INVALID_OPTION|SHAPE_MISMATCH)$/);
  });
});
