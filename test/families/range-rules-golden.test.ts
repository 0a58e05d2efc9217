// Documents, slices, power() and positions against numbers computed elsewhere (golden/ext-patterns.json): which keys every query
// sees, and attention over them. Reader: someone who wants the meaning of a mask in small examples.

import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  type AttentionSlice,
  attentionSlices,
  attentionSync,
  type DocumentsOptions,
  documents,
  full,
  mergeAttentionSync,
  type Pattern,
  type PowerOptions,
  power,
  slidingWindow,
  Tensor,
} from '../../dist/index.js';
import { runnableOf } from '../../dist/patterns/index.js';
import { readPositions } from '../../dist/patterns/positions.js';
import { onEveryBackend } from '../conformance/suite.js';
import { thrownBy } from '../support/expect-error.js';
import { type ExtCase, type ExtNumber, type ExtTensor, extNumbers, extPatterns } from '../support/ext-patterns.js';
import { expectClose } from '../support/golden.js';

interface Documents {
  kind: 'documents';
  mask: string;
  cuSeqlens: number[];
  window?: [number, number];
  reach?: number;
  prefix?: number;
  globalTokens?: number;
  blockSize?: number;
}
type Golden =
  | Documents
  | { kind: 'ranges'; slices: AttentionSlice[] }
  | ({ kind: 'power' } & PowerOptions)
  | { kind: 'windowSink'; window: ExtNumber[]; sinkTokens: number[] };

/** The twelve static masks of LongCA-bench: the names of the file are the benchmark's. */
const longCa: Record<string, (given: Documents) => Omit<DocumentsOptions, 'cuSeqlens'> & { isWhole?: true }> = {
  full: () => ({ isWhole: true }),
  causal: () => ({ isWhole: true, causal: true }),
  fullDocument: ({ window }) => ({ window }),
  causalDocument: ({ window }) => ({ causal: true, window }),
  slidingWindow: ({ reach }) => ({ isWhole: true, window: { left: reach, right: reach } }),
  slidingWindowCausal: ({ reach }) => ({ isWhole: true, window: { left: reach, right: 0 } }),
  shareQuestion: () => ({ causal: true, shared: true }),
  causalBlockwise: () => ({ causal: true, lastSeesAll: true }),
  globalSlidingWindow: ({ reach, globalTokens }) => ({
    isWhole: true,
    window: { left: reach, right: reach },
    globalTokens,
  }),
  prefixLmCausal: ({ prefix }) => ({ isWhole: true, causal: true, prefix }),
  prefixLmDocument: ({ prefix }) => ({ causal: true, prefix }),
  blockCausalDocument: ({ blockSize }) => ({ blockCausal: blockSize }),
};

function documentsOf(given: Documents): Pattern {
  const { isWhole, ...options } =
    longCa[given.mask]?.(given) ?? ({ mask: given.mask } as DocumentsOptions & { isWhole?: true });
  const cuSeqlens = isWhole ? [0, given.cuSeqlens.at(-1)!] : given.cuSeqlens;
  return documents({ cuSeqlens, ...options });
}

function patternOf(given: Golden): Pattern {
  switch (given.kind) {
    case 'documents':
      return documentsOf(given);
    case 'ranges':
      return attentionSlices(given.slices);
    case 'power': {
      const { kind: _, ...options } = given;
      return power(options);
    }
    case 'windowSink':
      return slidingWindow({ recentTokens: given.window.map(Number), sinkTokens: given.sinkTokens });
  }
}

/** Options of the file as those of attention(). */
function optionsOf({ pattern, qPos, kPos, ...options }: ExtCase['options']): AttentionOptions {
  return {
    ...options,
    ...(pattern && { pattern: patternOf(pattern as Golden) }),
    ...(qPos !== undefined && { positions: { queries: qPos, keys: kPos } as AttentionOptions['positions'] }),
  };
}

const isOurs = ({ options: { pattern, qPos }, op }: Pick<ExtCase, 'op' | 'options'>): boolean =>
  (op === 'attention' || op === 'visible') &&
  (qPos !== undefined || ['documents', 'ranges', 'power'].includes((pattern as Golden | undefined)?.kind ?? ''));

/** What may be refused, because positions must ascend. */
const isRefused = (c: ExtCase): boolean => (c as { optional?: boolean }).optional === true;
const cases = extPatterns.cases.filter((c) => isOurs(c) && !isRefused(c));

const tensorOf = (given: ExtTensor) => new Tensor('float32', Float32Array.from(extNumbers(given)), given.dims);

/** The keys that every query of every list sees, as the file writes them. */
function visibleOf({ options, dims }: ExtCase): number[][] {
  const { pattern = full(), causal, positions } = optionsOf(options);
  const { queryHeads = 1, kvHeads = 1, batch = 1, queries, keys } = dims;
  const shape = { batch, queryHeads, kvHeads, queries, keys, headDim: 8, valueDim: 8 } as const;
  const ranges = runnableOf(
    (causal ? slidingWindow({ causal }) : pattern) as Parameters<typeof runnableOf>[0],
    { ...shape, type: 'float32', keyType: 'float32' },
    positions ? { positions: readPositions(positions) } : {},
  );
  if (ranges.kind !== 'ranges') return new Array<number[]>(queries).fill([0, keys]);
  return Array.from(ranges.offsets.subarray(1), (end, row) => [
    ...ranges.bounds.subarray(2 * ranges.offsets[row], 2 * end),
  ]);
}

describe('every query sees the keys that it must', () => {
  it.each(cases.filter(({ visible }) => visible))('$name', (c) => {
    expect(visibleOf(c)).toEqual(c.visible.flat());
  });

  const sliced = cases.filter((c) => 'slices' in c) as (ExtCase & { slices: AttentionSlice[] })[];
  it.each(sliced)('$name, as slices', (c) => {
    const pattern = { kind: 'ranges', slices: c.slices };
    expect(visibleOf({ ...c, options: { pattern } })).toEqual(c.visible.flat());
  });
});

describe('power() of long texts', () => {
  const large = (extPatterns as unknown as { powerLarge: (PowerOptions & { tokens: number; pairs: number })[] })
    .powerLarge;
  it.each(large)('$tokens tokens in blocks of $block', ({ tokens, pairs, block, window, sinkBlocks }) => {
    const shape = { batch: 1, queryHeads: 1, kvHeads: 1, queries: tokens, keys: tokens, headDim: 8, valueDim: 8 };
    const types = { type: 'float32', keyType: 'float32' } as const;
    const ranges = runnableOf(power({ block, window, sinkBlocks }), { ...shape, ...types }, {});
    expect(ranges.kind).toBe('ranges');
    if (ranges.kind !== 'ranges') return;
    let seen = 0;
    for (let i = 0; i < ranges.bounds.length; i += 2) seen += ranges.bounds[i + 1] - ranges.bounds[i];
    expect(seen).toBe(pairs);
  });
});

onEveryBackend(({ device }) => {
  it.each(cases.filter(({ op }) => op === 'attention'))('$name', (c) => {
    const options = { ...optionsOf(c.options), returnLse: true, device } as const;
    const { out, lse } = attentionSync(tensorOf(c.q), tensorOf(c.k), tensorOf(c.v), options);
    expectClose(out.data, extNumbers(c.out), 5);
    expectClose(lse.data, extNumbers(c.lse), 5);
  });

  interface Partial {
    rank: number;
    source: number;
    qPos: number[];
    kPos: number[];
    out: ExtTensor;
    lse: ExtTensor;
  }
  const rings = extPatterns.cases.filter(({ op }) => op === 'ring') as (ExtCase & {
    positions: number[][];
    partials: Partial[];
  })[];
  it.each(rings)('$name: partial results over shards, and the whole once they are merged', (c) => {
    const [q, k, v] = [c.q, c.k, c.v].map(tensorOf);
    const attend = (queries: number[], keys: number[]) =>
      attentionSync(rowsOf(q, queries), rowsOf(k, keys), rowsOf(v, keys), {
        causal: true,
        positions: { queries, keys },
        returnLse: true,
        device,
      });
    for (const { qPos, kPos, out, lse } of c.partials) {
      const part = attend(qPos, kPos);
      expectClose(part.out.data, extNumbers(out), 5);
      expectClose(part.lse.data, extNumbers(lse), 5);
    }
    const whole = tensorOf(c.out);
    for (const queries of c.positions) {
      const merged = mergeAttentionSync(c.positions.map((keys) => attend(queries, keys)));
      expectClose(merged.out.data, rowsOf(whole, queries).data, 5);
    }
  });
});

/** Some tokens of a tensor [1, tokens, heads, dim]. */
function rowsOf({ data, dims }: Tensor<'float32'>, tokens: readonly number[]): Tensor<'float32'> {
  const [, , heads, dim] = dims;
  const row = heads * dim;
  const rows = tokens.flatMap((token) => [...data.subarray(token * row, (token + 1) * row)]);
  return new Tensor('float32', Float32Array.from(rows), [1, tokens.length, heads, dim]);
}

describe('refused by name, before anything runs', () => {
  /** The file's names of options, in the words of this package. */
  const ours: Record<string, string> = {
    qPos: 'positions.queries',
    kPos: 'positions.keys',
    blockSize: 'blockCausal',
    reach: 'left',
  };
  const wrong = extPatterns.invalid.filter((entry) => isOurs(entry));
  it.each([
    ...wrong,
    ...extPatterns.cases.filter((c) => isOurs(c) && isRefused(c)).map((c) => ({ ...c, names: 'positions' })),
  ])('$name', ({ options, dims, names }) => {
    const { batch = 1, queries, keys, queryHeads, kvHeads, headDim, valueDim } = dims;
    const zeros = (...dims: number[]) => new Tensor('float32', new Float32Array(dims.reduce((a, n) => a * n)), dims);
    const error = thrownBy(() =>
      attentionSync(
        zeros(batch, queries, queryHeads, headDim),
        zeros(batch, keys, kvHeads, headDim),
        zeros(batch, keys, kvHeads, valueDim),
        optionsOf(options),
      ),
    ) as { code: string; message: string };
    expect(error).toBeInstanceOf(Error);
    expect(error.code).toMatch(/^ERR_TILEWISE_(INVALID_OPTION|UNKNOWN_OPTION|SHAPE_MISMATCH)$/);
    expect(error.message).toContain(ours[names] ?? names);
  });
});
