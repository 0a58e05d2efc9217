// Arguments of hierarchical attention: every wrong one gets a sentence and a stable code; what the presets are.
// Reader: someone adding an option or a preset.

import { describe, expect, it } from 'vitest';
import {
  attentionSync,
  type ErrorCode,
  type HierarchicalPreset,
  type HipOptions,
  HipState,
  hierarchical,
  hipAttention,
  hipAttentionSync,
  hipSelectSync,
  type StagedPattern,
} from '../../dist/index.js';
import type { Stage } from '../references/hierarchical.js';
import { expectBoth } from '../support/expect-error.js';
import { tensor } from '../support/tensors.js';

describe('arguments', () => {
  const q = tensor(1, 8, 4, 8);
  const k = tensor(1, 40, 2, 8);
  const invalid = 'ERR_TILEWISE_INVALID_OPTION' as const;
  const mismatch = 'ERR_TILEWISE_SHAPE_MISMATCH' as const;
  type ErrorType = typeof TypeError | typeof RangeError;
  const stage = { strideQ: 1, chunk: 4, keep: 8 };
  const plain = { stages: [stage], blockQ: 4, sink: 2, window: 8 };
  const wrong: [options: Record<string, unknown>, code: ErrorCode, type: ErrorType, says: string[]][] = [
    [{ preset: '4k' }, invalid, TypeError, ['`preset`', "'4k'", "'3k'"]],
    [{ preset: '3k', stages: [stage] }, invalid, TypeError, ['`stages`', '`preset`']],
    [{ ...plain, method: 'beam' }, invalid, TypeError, ['`method`', "'beam'"]],
    [{ ...plain, method: 'tree' }, invalid, TypeError, ["'tree'", '`stages`']],
    [{ ...plain, maskK: 8 }, invalid, TypeError, ["'staged'", '`maskK`']],
    [{ ...plain, scope: 'batch' }, invalid, TypeError, ['`scope`', "'batch'"]],
    [{ ...plain, window: 3 }, invalid, RangeError, ['`window`', '4', '3']],
    [{ ...plain, window: 0 }, invalid, RangeError, ['`window`', '0']],
    [{ ...plain, sink: -1 }, invalid, RangeError, ['`sink`', '-1']],
    [{ ...plain, blockQ: 0 }, invalid, RangeError, ['`blockQ`', '0']],
    [{ ...plain, stages: [] }, invalid, TypeError, ['`stages`', '1 to 8']],
    [{ ...plain, stages: new Array(9).fill(stage) }, invalid, TypeError, ['`stages`', '1 to 8']],
    [{ ...plain, stages: [4] }, invalid, TypeError, ['`stages[0]`', '4']],
    [{ ...plain, stages: [{ ...stage, chunk: 0 }] }, invalid, RangeError, ['`stages[0].chunk`', '0']],
    [{ ...plain, stages: [{ ...stage, keep: 3 }] }, invalid, RangeError, ['`stages[0].keep`', '3']],
    [{ ...plain, stages: [{ ...stage, strideQ: 0 }] }, invalid, RangeError, ['`stages[0].strideQ`', '0']],
    [
      { ...plain, stages: [{ ...stage, stride: 1 }] },
      'ERR_TILEWISE_UNKNOWN_OPTION',
      TypeError,
      ['`stride`', '`strideQ`'],
    ],
    [{ ...plain, stages: [stage, { ...stage, chunk: 3 }] }, invalid, RangeError, ['`stages[1].chunk`', '3', '4']],
    [{ ...plain, stages: [stage, { ...stage, blockQ: 3 }] }, invalid, RangeError, ['`stages[1].blockQ`', '3', '4']],
    [{ ...plain, state: {} }, invalid, TypeError, ['`state`', 'HipState']],
    [{ ...plain, refresh: 4 }, invalid, TypeError, ['`refresh`', '`state`']],
    [{ ...plain, state: new HipState(), refresh: 0 }, invalid, RangeError, ['`refresh`', '0']],
    [{ ...plain, state: new HipState({ refresh: [1, 2] }) }, invalid, TypeError, ['`refresh`', '2', '1']],
    [{ ...plain, causal: true }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`causal`']],
    [
      { ...plain, cuSeqlensQ: Int32Array.of(0, 8), cuSeqlensK: Int32Array.of(0, 40) },
      invalid,
      TypeError,
      ['`cuSeqlensK`'],
    ],
  ];

  it.each(wrong)('%o is refused', (given, code, type, says) =>
    expectBoth(
      () => hipAttentionSync(q, k, k, given as HipOptions),
      () => hipAttention(q, k, k, given as HipOptions),
      { code, type, says },
    ),
  );

  it('there have to be at least as many keys as queries', () =>
    expectBoth(
      () => hipAttentionSync(k, q, q, plain),
      () => hipAttention(k, q, q, plain),
      { code: mismatch, type: RangeError, says: ['[1, 40, 2, 8]', '[1, 8, 4, 8]'] },
    ));

  it('presets are patterns by name, and an option that is given replaces theirs', () => {
    for (const preset of ['default', '3k', '5k', '16k-shallow', 'test-high', 'llama-3.1'] as HierarchicalPreset[]) {
      const pattern = hierarchical(preset);
      expect(pattern).toEqual(hierarchical({ preset }));
      expect(pattern).toMatchObject({ kind: 'hierarchical', method: 'staged', window: 1024, scope: 'kv' });
      expect(hierarchical({ preset, sink: 7, scope: 'head' })).toEqual({ ...pattern, sink: 7, scope: 'head' });
      expect(Object.isFrozen(pattern)).toBe(true);
    }
    expect(hierarchical()).toEqual(hierarchical('default'));
    const chunks = (preset: HierarchicalPreset) =>
      (hierarchical(preset) as { stages: readonly Stage[] }).stages.map(({ chunk, keep, strideQ }) => [
        chunk,
        keep,
        strideQ,
      ]);
    const k = 1024;
    const published: Record<HierarchicalPreset, [sink: number, stages: number[][]]> = {
      default: [
        128,
        [
          [64, 8 * k, 4],
          [8, 2 * k, 1],
        ],
      ],
      '3k': [
        256,
        [
          [256, 32 * k, 4],
          [32, 8 * k, 4],
          [8, 2 * k, 1],
        ],
      ],
      '5k': [
        256,
        [
          [64, 32 * k, 4],
          [32, 16 * k, 4],
          [16, 4 * k, 1],
        ],
      ],
      '16k-shallow': [256, [[32, 16 * k, 4]]],
      'test-high': [
        256,
        [
          [64, 64 * k, 1],
          [16, 16 * k, 1],
          [1, 4 * k, 1],
        ],
      ],
      'llama-3.1': [
        256,
        [
          [64, 32 * k, 2],
          [32, 8 * k, 2],
          [8, 2 * k, 1],
        ],
      ],
    };
    for (const [preset, [sink, stages]] of Object.entries(published)) {
      const pattern = hierarchical(preset as HierarchicalPreset) as StagedPattern;
      expect(chunks(preset as HierarchicalPreset), preset).toEqual(stages);
      expect(pattern.sink, preset).toBe(sink);
      expect(new Set(pattern.stages.map(({ blockQ }) => blockQ)), preset).toEqual(new Set([64]));
      expect(pattern.shorter?.below, preset).toBe(preset === 'default' ? 32 * k : undefined);
    }
    const { shorter } = hierarchical() as StagedPattern;
    expect(shorter?.stages.map(({ chunk, keep, strideQ }) => [chunk, keep, strideQ])).toEqual([
      [64, 4 * k, 4],
      [8, 512, 1],
    ]);
  });

  it('a pattern survives JSON', () => {
    const straight = attentionSync(q, k, k, { pattern: hierarchical(plain) });
    const pattern = JSON.parse(JSON.stringify(hierarchical(plain)));
    expect(attentionSync(q, k, k, { pattern }).out.data).toEqual(straight.out.data);
  });

  it('a state belongs to one layer: other heads or sizes are refused, and the refusal changes nothing', () => {
    const state = new HipState();
    const one = tensor(1, 1, 4, 8);
    hipAttentionSync(one, k, k, { ...plain, state });
    const before = state.stepCounters;
    return expectBoth(
      () => hipAttentionSync(tensor(1, 1, 2, 8), k, k, { ...plain, state }),
      () => hipAttention(tensor(1, 1, 2, 8), k, k, { ...plain, state }),
      { code: invalid, type: TypeError, says: ['`state`'] },
    ).then(() => expect(state.stepCounters).toEqual(before));
  });

  it('the default preset keeps less with fewer keys', () => {
    const heads = 1;
    const short = [tensor(1, 1, heads, 4), tensor(1, 6000, heads, 4)] as const;
    const { stages: lists } = hipSelectSync(...short, 'default');
    expect(lists.map(({ counts }) => counts.data[0])).toEqual([64, 64]);
  });
});
