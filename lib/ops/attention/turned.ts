// Keys without rotary embedding: queries and keys are turned to their positions before attention reads them.
// Reader: someone who keeps keys as the projection gives them. rotate() does the turning, ../rotary/frequencies.ts has the rules;
// idea: keys that are turned on read can still be given other positions (StreamingLLM, arXiv 2309.17453).

import { allOf, fly } from '../../call/flight.js';
import { onDevice } from '../../call/placement.js';
import type { Shape } from '../../call/shape.js';
import { type Align, offsetOf } from '../../patterns/align.js';
import type { Pattern } from '../../patterns/index.js';
import { type Positions, positionsOf } from '../../patterns/positions.js';
import type { View } from '../../tensor/views.js';
import type { RotaryOptions } from '../rotary/frequencies.js';
import { prepareRotation, type Rotation, rotaryOp } from '../rotary/rotate.js';
import type { Settings } from './settings.js';

/** Queries and keys as attention reads them, once this has run. */
export interface PreparedTurns {
  readonly q: View;
  readonly k: View;
  run(signal: AbortSignal | undefined): Promise<void>;
  runSync(): void;
  /** Frees their memory. */
  end(): void;
}

/**
 * Lays out the turning of queries and keys, each on the device where it is.
 * @param shape of the call, whose tokens are those of all sequences
 */
export function prepareTurns(
  rotary: RotaryOptions,
  q: View,
  k: View,
  shape: Shape,
  settings: Settings,
  copyInputs: boolean,
): PreparedTurns {
  const told = { ...rotary, layout: settings.isHeadsFirst ? ('bhnd' as const) : ('bnhd' as const), copyInputs };
  const turn = (view: View, positions: readonly Float64Array[]): Rotation =>
    prepareRotation(
      'attention()',
      view,
      { ...told, positions: positions.length === 1 ? positions[0] : positions },
      true,
    );
  const at = positionsOfTokens(settings, shape);
  const both = [turn(q, at.queries), turn(k, at.keys)];
  const own = ({ results }: Rotation): View => ({ ...results.out, isOwn: true });
  return {
    q: own(both[0]),
    k: own(both[1]),
    run: (signal) =>
      allOf(
        both.map(({ placement, request }) =>
          fly(placement, (device) => rotaryOp.submit(device, request), undefined, signal),
        ),
      ),
    runSync() {
      for (const { placement, request } of both) onDevice(placement, (device) => rotaryOp.run(device, request));
    },
    end() {
      for (const { results } of both) results.discard();
    },
  };
}

/** Rows of positions, one for all batch entries or one each. */
interface TokenRows {
  readonly queries: readonly Float64Array[];
  readonly keys: readonly Float64Array[];
}

function positionsOfTokens(settings: Settings, shape: Shape): TokenRows {
  const { positions, keyLengths, cuSeqlensQ, cuSeqlensK } = settings;
  if (positions) return explicit(positions, shape);
  const align = alignOf(settings.pattern);
  const row = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);
  if (cuSeqlensQ && cuSeqlensK) {
    const lengths = (ends: Int32Array) => Array.from(ends.subarray(1), (end, s) => end - ends[s]);
    const [queries, keys] = [lengths(cuSeqlensQ), lengths(cuSeqlensK)];
    const offsets = queries.map((count, s) => offsetOf(align, count, keys[s]));
    return {
      queries: [Float64Array.from(queries.flatMap((count, s) => row(offsets[s], count)))],
      keys: [Float64Array.from(keys.flatMap((count) => row(0, count)))],
    };
  }
  const lengths = keyLengths?.length ? keyLengths : Int32Array.of(shape.keys);
  return {
    queries: Array.from(lengths, (keys) => Float64Array.from(row(offsetOf(align, shape.queries, keys), shape.queries))),
    keys: [Float64Array.from(row(0, shape.keys))],
  };
}

function explicit(positions: Positions, shape: Shape): TokenRows {
  const { ofQueries, ofKeys } = positionsOf(positions, shape);
  const rows = (data: Int32Array | undefined, tokens: number): Float64Array[] => {
    if (!data || data.length === 0) return [new Float64Array(tokens)];
    return Array.from({ length: data.length / tokens }, (_, set) =>
      Float64Array.from(data.subarray(set * tokens, (set + 1) * tokens)),
    );
  };
  return { queries: rows(ofQueries, shape.queries), keys: rows(ofKeys, shape.keys) };
}

/** Where a pattern puts queries; those that do not say put the last one at the last key. */
const alignOf = (pattern: Pattern): Align => ('align' in pattern ? pattern.align : 'bottom-right') as Align;
