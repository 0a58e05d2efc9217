// The gate of a problem: what multiplies the rows of a result. Reader: whoever reads the references, to which it is a last step.

import { type Operand, toNumbers } from './operand.js';

export interface Gate {
  rows: Operand; // [batch, queries, heads]
  withoutLse?: boolean; // rows with 0 need not be computed then
}

/** Multiplies rows of `out`, [batch, heads, queries, dim]; those with 0 become 0 whatever they are. Forgets an lse not asked for. */
export function applyGate(
  gate: Gate | undefined,
  { out, lse }: { out: Float64Array; lse: Float64Array },
  times: (a: number, b: number) => number = (a, b) => a * b,
): void {
  if (!gate) return;
  const [batch, queries, heads] = gate.rows.dims;
  const factors = toNumbers(gate.rows);
  const dim = out.length / Math.max(1, batch * queries * heads);
  for (let row = 0; row < batch * heads * queries; row++) {
    const query = row % queries;
    const head = Math.floor(row / queries) % heads;
    const entry = Math.floor(row / queries / heads);
    const factor = factors[(entry * queries + query) * heads + head];
    for (let i = row * dim; i < (row + 1) * dim; i++) out[i] = factor === 0 ? 0 : times(out[i], factor);
  }
  if (gate.withoutLse) lse.fill(-Infinity);
}
