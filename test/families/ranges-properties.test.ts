// Laws of ranges: what they are where other options say the same, that queries and keys may come in any pieces, and that
// nobody reads what no range shows. Reader: someone who changed ranges or how the runs of a tile are planned.

import { expect, it } from 'vitest';
import { attentionSync, mergeAttentionSync, ranges } from '../../dist/index.js';
import { build, type Case, callOf } from '../conformance/case.js';
import { expectedOf, run } from '../conformance/judge.js';
import { fromOutput, fromTensor } from '../conformance/memory.js';
import { rangeCases } from '../conformance/pattern-sweep.js';
import { boundsOf } from '../conformance/patterns.js';
import { expectCases, expectMatrix, expectRight, expectSameBits, onEveryBackend, sweep } from '../conformance/suite.js';
import { range, toNumbers } from '../references/operand.js';
import type { Problem } from '../references/problem.js';
import type { KeyRange, Ranges } from '../references/ranges.js';
import { concatenate, gather, part, rowsOf, view } from '../support/views.js';

const square: Case = { heads: [4, 2], queries: 90, keys: 90, dims: [24, 20] };

/** The same ranges for every head and batch entry. */
const seen = (queries: number, of: (query: number) => KeyRange[]): Ranges => ({
  kind: 'ranges',
  tables: [[range(0, queries).map(of)]],
});

const documents = [0, 7, 40, 41, 90];
const documentOf = (token: number): number => documents.findIndex((end) => end > token) - 1;

onEveryBackend((backend) => {
  const withRanges = (problem: Problem, pattern: Ranges): Problem => ({ ...problem, pattern });

  it('one range up to the position is causal attention, all keys are full attention, none give 0 and -Infinity', () => {
    const { problem } = build(square);
    const causal = seen(90, (query) => [[0, query + 1]]);
    expectRight(run(view(withRanges(problem, causal)), backend), expectedOf({ ...problem, causal: true }));
    expectRight(
      run(
        view(
          withRanges(
            problem,
            seen(90, () => [[0, 90]]),
          ),
        ),
        backend,
      ),
      expectedOf(problem),
    );
    const { out, lse } = run(
      view(
        withRanges(
          problem,
          seen(90, () => []),
        ),
      ),
      backend,
    );
    expect(new Set(toNumbers(out))).toEqual(new Set([0]));
    expect(new Set(toNumbers(lse))).toEqual(new Set([-Infinity]));
  });

  it('documents are the calls of each document alone', () => {
    const { problem } = build(square);
    const pattern = seen(90, (query) => [[documents[documentOf(query)], query + 1]]);
    const all = run(view(withRanges(problem, pattern)), backend);
    for (const d of range(0, 4)) {
      const tokens = range(documents[d], documents[d + 1]);
      expectRight(rowsOf(all, tokens), expectedOf({ ...part(problem, tokens, tokens), causal: true }), `document ${d}`);
    }
  });

  it('ranges cut at any key merge to the whole', () => {
    const built = build({ ...square, ranges: { form: 'alike', most: 5, per: 'kv' } });
    const { pattern } = built.problem;
    const { query, key, value, options } = callOf(built);
    const { device } = backend;
    const clip = (from: number, to: number): Ranges => ({
      kind: 'ranges',
      tables: (pattern as Ranges).tables.map((heads) =>
        heads
          .map((rows) =>
            rows.map((row) => row.map(([begin, end]) => [Math.max(from, begin), Math.min(to, end)] as const)),
          )
          .map((rows) => rows.map((row) => row.filter(([begin, end]) => begin < end))),
      ),
    });
    for (const cut of [1, 31, 64]) {
      const parts = [clip(0, cut), clip(cut, 90)].map((piece) => {
        const own = { ...options, pattern: ranges(boundsOf(piece)), returnLse: true, device } as const;
        return attentionSync(query, key, value, own);
      });
      const merged = mergeAttentionSync(parts, { device });
      expectRight(
        { out: fromOutput(merged.out, built.layout), lse: fromTensor(merged.lse) },
        expectedOf(built.problem),
        `cut at ${cut}`,
      );
    }
  });

  it('queries in pieces, down to single ones, give what all give together', () => {
    const { problem } = build({ ...square, ranges: { form: 'documents', most: 2 } });
    const { tables } = problem.pattern as Ranges;
    const bounds = [0, 1, 2, 5, 60, 90];
    const pieces = range(0, bounds.length - 1).map((i) => {
      const queries = range(bounds[i], bounds[i + 1]);
      const own = seen(queries.length, (query) => tables[0][0][queries[query]]);
      return run(view(withRanges(part(problem, queries, range(0, 90)), own)), backend);
    });
    expectRight(concatenate(pieces), expectedOf(problem));
  });

  it('what no range shows is never read: NaN there changes no bit', () => {
    const { problem } = build(square);
    const pattern = seen(90, (query) =>
      query % 3 === 0
        ? []
        : query % 3 === 1
          ? [[3, 20]]
          : [
              [10, 30],
              [60, 61],
            ],
    );
    const clean = run(view(withRanges(problem, pattern)), backend);
    const isSeen = (key: number) => (key >= 3 && key < 30) || key === 60;
    const spoil = (operand: Problem['key']) => {
      const copy = gather(operand, 2, range(0, 90));
      const [, heads, , dim] = copy.dims;
      for (const head of range(0, heads))
        for (const key of range(0, 90).filter((one) => !isSeen(one)))
          copy.data.fill(NaN, (head * 90 + key) * dim, (head * 90 + key + 1) * dim);
      return copy;
    };
    const spoiled = { ...problem, key: spoil(problem.key), value: spoil(problem.value) };
    expectSameBits(run(view(withRanges(spoiled, pattern)), backend), clean);
  });

  it('tables of their own for batch entries, heads and KV heads, with lengths, padding and pages', () => {
    const forms = ['any', 'alike', 'documents'] as const;
    expectMatrix(
      forms.flatMap((form) =>
        ([undefined, 'kv', 'head'] as const).flatMap((per): Case[] => [
          { ...square, batch: 2, ranges: { form, most: 3, per, perBatch: true }, keyLengths: [90, 41] },
          { ...square, batch: 2, ranges: { form, most: 3, per }, keyStarts: [17, 0], alibi: 'h' },
          { ...square, batch: 2, ranges: { form, most: 3, per }, keyLengths: [90, 77], pages: { size: 16 } },
          { ...square, heads: [8, 2], queries: 6, keys: 700, ranges: { form, most: 4, per } },
        ]),
      ),
      backend,
    );
  });

  it('sequences of many tiles, and ranges of one key', () => {
    const long: Case = { heads: [2, 1], queries: 1500, keys: 1700, dims: [8, 8] };
    expectCases(
      [
        { ...long, ranges: { form: 'documents', most: 2 } },
        { ...long, queries: 400, ranges: { form: 'any', most: 9, per: 'head' } },
        { ...long, ranges: { form: 'alike', most: 30, per: 'head' } },
      ],
      backend,
    );
    const { problem } = build({ ...square, queries: 150, keys: 150 });
    const single = withRanges(
      problem,
      seen(150, (query) => range(0, 20).map((i): KeyRange => [7 * i + (query % 5), 7 * i + (query % 5) + 1])),
    );
    expectRight(run(view(single), backend), expectedOf(single));
  });
});

sweep('ranges', rangeCases, 120);
