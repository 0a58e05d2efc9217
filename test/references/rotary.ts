// Rotary embedding of one row in float64, as the formula says it. Reader: someone who checks what turns keys and queries.
// Formula: RoPE (arXiv 2104.09864).

export interface Turning {
  readonly theta?: number;
  /** Leading numbers that are turned. */
  readonly dims?: number;
  readonly interleaved?: boolean;
}

/** The row of a head, turned to a position. */
export function turnedRow(row: ArrayLike<number>, position: number, turning: Turning = {}): number[] {
  const { theta = 10000, dims = row.length, interleaved = false } = turning;
  const out = Array.from(row);
  for (let i = 0; i < dims / 2; i++) {
    const angle = position * theta ** ((-2 * i) / dims);
    const [first, second] = interleaved ? [2 * i, 2 * i + 1] : [i, i + dims / 2];
    out[first] = row[first] * Math.cos(angle) - row[second] * Math.sin(angle);
    out[second] = row[first] * Math.sin(angle) + row[second] * Math.cos(angle);
  }
  return out;
}
