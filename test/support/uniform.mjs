// Seeded random numbers of tests and benchmarks: mulberry32 (Tommy Ettinger, in the public domain).
// Reader: someone who makes data. JavaScript, because benchmarks and travelling folders run without a compiler.

/** Numbers in [0, 1), the same ones for a seed on every machine. */
export function uniformNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}
