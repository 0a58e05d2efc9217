// Random cases of the rules that become ranges or lists: documents, slices, power, sampled blocks, MoA's windows, windows that differ
// by head, and positions. Reader: someone chasing a failure of their sweeps. As pattern-sweep.ts.

import fc from 'fast-check';
import type { Slice } from '../references/mask-rules.js';
import type { PerHead } from '../references/problem.js';
import type { Case } from './case.js';
import { defined, either, integers, type Of, places, sizes, sometimes, within, yes } from './draw.js';
import { addends, alibi, aligns, type Common, common, lengths, lengthsOf } from './pattern-sweep.js';

const few = fc.array(places, { maxLength: 6 });
const keyLengths = sometimes(0.15, fc.tuple(places, places));

/** Keys in use of each batch entry. */
const inUse = (drawn: readonly number[] | undefined, { batch }: Common, keys: number): number[] | undefined =>
  drawn?.slice(0, batch).map((place) => within(place, 0, keys));

/** Where places cut a row of tokens, ends included. */
const cuts = (drawn: readonly number[], tokens: number): number[] => [
  0,
  ...drawn.map((place) => within(place, 0, tokens)).sort((a, b) => a - b),
  tokens,
];

export const documentCases: fc.Arbitrary<Case> = fc
  .record({
    common,
    tokens: places,
    ends: fc.tuple(few, few),
    perBatch: sometimes(0.3, yes),
    order: fc.oneof(
      fc.constant({}),
      fc.record({ causal: yes }),
      fc.record({ blockCausal: fc.constantFrom(1, 2, 5, 16, 64) }),
    ),
    rule: fc.record({
      prefix: sometimes(0.3, sizes(1, 40)),
      shared: sometimes(0.3, yes),
      lastSeesAll: sometimes(0.3, yes),
      globalTokens: sometimes(0.3, sizes(1, 40)),
      window: sometimes(0.3, fc.record({ left: integers(0, 60), right: integers(0, 60) })),
    }),
    alibi,
    keyLengths,
    addends,
  })
  .map(({ common: c, tokens, ends, perBatch, order, rule, keyLengths, addends, alibi }): Case => {
    const whole = lengthsOf(c, { keys: tokens, queries: 'all' }, 500);
    const lists = (perBatch ? ends.slice(0, c.batch) : [ends[0]]).map((drawn) =>
      cuts(drawn, whole.keys).flatMap((end, i, all) => (i === 0 ? [] : [end - all[i - 1]])),
    );
    const documents = defined({ lists, ...order, ...rule });
    return defined({ ...c, ...whole, documents, alibi, keyLengths: inUse(keyLengths, c, whole.keys), ...addends });
  });

const kinds = fc.constantFrom<Slice['kind'] | undefined>('full', 'causal', 'invcausal', 'bicausal', undefined);

/** A grid of cells, of which some are slices: cells do not overlap, whatever their kinds. */
function slicesOf(rows: number[], columns: number[], drawn: readonly (Slice['kind'] | undefined)[]): Slice[] {
  const cells = rows.slice(1).flatMap((rowEnd, r) =>
    columns.slice(1).map((end, c) => ({
      q: [rows[r], rowEnd] as Slice['q'],
      k: [columns[c], end] as Slice['k'],
      kind: drawn[(r * 4 + c) % drawn.length],
    })),
  );
  return cells.filter((cell): cell is Slice => cell.kind !== undefined).reverse();
}

const cells = fc.record({
  rows: few,
  columns: fc.array(places, { maxLength: 3 }),
  kinds: fc.array(kinds, { minLength: 1, maxLength: 12 }),
});

export const sliceCases: fc.Arbitrary<Case> = fc
  .record({
    common,
    lengths,
    cells: fc.array(cells, { minLength: 12, maxLength: 12 }),
    per: sometimes(0.5, fc.constantFrom('head', 'kv')),
    alibi,
    keyLengths,
    addends,
  })
  .map(({ common: c, lengths, cells, per, keyLengths, addends, alibi }): Case => {
    const whole = lengthsOf(c, lengths, 500);
    const count = per === undefined ? 1 : c.heads[per === 'head' ? 0 : 1];
    const slices = cells
      .slice(0, count)
      .map(({ rows, columns, kinds }) => slicesOf(cuts(rows, whole.queries), cuts(columns, whole.keys), kinds));
    return defined({ ...c, ...whole, slices, alibi, keyLengths: inUse(keyLengths, c, whole.keys), ...addends });
  });

const powerRule = fc.record({
  block: fc.constantFrom(1, 2, 3, 4, 7, 16, 32),
  window: integers(0, 5),
  sinkBlocks: integers(0, 3),
});

export const powerCases: fc.Arbitrary<Case> = fc
  .record({ common, lengths, power: powerRule, align: aligns, alibi, keyLengths, addends })
  .map(({ common: c, lengths, keyLengths, addends, ...rest }): Case => {
    const whole = lengthsOf(c, lengths, 500);
    return defined({ ...c, ...whole, ...rest, keyLengths: inUse(keyLengths, c, whole.keys), ...addends });
  });

export const sampledCases: fc.Arbitrary<Case> = fc
  .record({
    common,
    lengths,
    sampled: fc.record({
      block: fc.constantFrom(1, 3, 8, 16, 17, 64),
      seed: fc.noShrink(fc.maxSafeNat()),
      layer: fc.noShrink(integers(0, 2 ** 32 - 1)),
      scope: fc.constantFrom('head', 'kv', 'layer'),
      unbiased: fc.boolean(),
    }),
    rule: fc.oneof(
      fc.record({ keep: fc.array(fc.constantFrom(0, 0.3, 0.8, 1), { minLength: 1, maxLength: 4 }) }),
      fc.record({ geometric: fc.record({ rho: fc.constantFrom(0, 0.5, 0.9), floor: fc.constantFrom(0, 0.2) }) }),
      fc.record({ power: fc.constantFrom(0, 0.5, 2) }),
    ),
    align: aligns,
    alibi,
    keyLengths,
    addends,
  })
  .map(({ common: c, lengths, sampled, rule, keyLengths, addends, ...rest }): Case => {
    const whole = lengthsOf(c, lengths, 400);
    const own = { ...sampled, ...rule };
    return defined({
      ...{ ...c, ...whole, sampled: own, ...rest },
      ...{ keyLengths: inUse(keyLengths, c, whole.keys), ...addends },
    });
  });

const twelve = <T>(value: fc.Arbitrary<T>) => fc.array(value, { minLength: 12, maxLength: 12 });
const pers = fc.constantFrom('one', 'kv', 'head');

/** A number for all heads, or one per KV head or query head. */
function perHead<T>(drawn: readonly T[], per: Of<typeof pers>, [heads, kvHeads]: readonly number[]): T[] {
  return drawn.slice(0, { one: 1, kv: kvHeads, head: heads }[per]);
}
const unwrapped = (numbers: number[]): PerHead => (numbers.length === 1 ? numbers[0] : numbers);

export const moaCases: fc.Arbitrary<Case> = fc
  .record({
    common,
    lengths,
    alpha: twelve(integers(-40, 40)),
    beta: twelve(fc.constantFrom(0, 0.125, 0.25, 0.5, 1)),
    per: pers,
    sizes: fc.record({
      sink: integers(0, 20),
      min: integers(0, 50),
      multiple: fc.constantFrom(1, 4, 16, 64),
    }),
    align: aligns,
    alibi,
    addends,
  })
  .map(({ common: c, lengths, alpha, beta, per, sizes, addends, ...rest }): Case => {
    const whole = lengthsOf(c, lengths, 500);
    const ofHeads = <T>(drawn: readonly T[]) => perHead(drawn, per, c.heads);
    const moa = { alpha: ofHeads(alpha), beta: ofHeads(beta), seqLen: whole.keys, ...sizes };
    return defined({ ...c, ...whole, moa, ...rest, ...addends });
  });

const reach = either(0.2, fc.constant('all'), either(0.2, integers(0, 2), sizes(1, 300)));
const window = fc.record({
  form: fc.constantFrom('recent', 'reach', 'left', 'right'),
  left: twelve(reach),
  right: twelve(reach),
  sinks: twelve(either(0.3, fc.constant(0), sizes(1, 70))),
  per: fc.tuple(pers, pers, pers),
});

function windowOf({ form, left, right, sinks, per }: Of<typeof window>, heads: readonly number[]): Partial<Case> {
  const numbers = (drawn: readonly (number | 'all')[], of: Of<typeof pers>) =>
    unwrapped(perHead(drawn, of, heads).map((one) => (one === 'all' ? Number.POSITIVE_INFINITY : one)));
  const [before, after] = [numbers(left, per[0]), numbers(right, per[1])];
  return {
    sinkTokens: numbers(sinks, per[2]),
    ...(form === 'recent' ? { recentTokens: before } : {}),
    ...(form === 'reach' ? { left: before, right: after } : {}),
    ...(form === 'left' ? { left: before, causal: true } : {}),
    ...(form === 'right' ? { right: after } : {}),
  };
}

export const headWindowCases: fc.Arbitrary<Case> = fc
  .record({ common, lengths, window, align: aligns, alibi, keyLengths, addends })
  .map(({ common: c, lengths, window, keyLengths, addends, ...rest }): Case => {
    const whole = lengthsOf(c, lengths, 500);
    const keysOf = inUse(keyLengths, c, whole.keys);
    return defined({ ...c, ...whole, ...windowOf(window, c.heads), ...rest, keyLengths: keysOf, ...addends });
  });

/** Steps from one position to the next: none, one, or a jump. */
const steps = fc.record({
  first: integers(-50, 50),
  kind: fc.constantFrom('row', 'spread', 'chunks'),
  jumps: fc.array(sizes(1, 40), { minLength: 1, maxLength: 9 }),
});

function positionsOf({ first, kind, jumps }: Of<typeof steps>, tokens: number): number[] {
  let at = first;
  return Array.from({ length: tokens }, (_, i) => {
    const jump = jumps[i % jumps.length];
    if (i > 0) at += kind === 'spread' ? jump % 4 : kind === 'chunks' && i % 17 === 0 ? jump : 1;
    return at;
  });
}

export const positionCases: fc.Arbitrary<Case> = fc
  .record({
    common,
    lengths,
    rule: either(0.4, powerRule, window),
    ofQueries: fc.tuple(steps, steps),
    ofKeys: fc.tuple(steps, steps),
    perBatch: fc.tuple(sometimes(0.3, yes), sometimes(0.3, yes)),
    alibi: sometimes(0.4, fc.constant('h' as const)),
    keyLengths,
    addends,
  })
  .map(({ common: c, lengths, rule, ofQueries, ofKeys, perBatch, keyLengths, addends, alibi }): Case => {
    const whole = lengthsOf(c, lengths, 400);
    const rows = (drawn: readonly Of<typeof steps>[], isOwn: true | undefined, tokens: number) =>
      drawn.slice(0, isOwn ? c.batch : 1).map((one) => positionsOf(one, tokens));
    const positions = {
      queries: rows(ofQueries, perBatch[0], whole.queries),
      keys: rows(ofKeys, perBatch[1], whole.keys),
    };
    const said = 'block' in rule ? { power: rule } : windowOf(rule, c.heads);
    const keysOf = inUse(keyLengths, c, whole.keys);
    return defined({ ...c, ...whole, ...said, positions, alibi, keyLengths: keysOf, ...addends });
  });
