// sampledBlocks() as its docstring says it, in whole numbers: Philox 4x32-10 by BigInt, a draw for each pair of blocks.
// Reader: someone who changes what is drawn. Philox's own answers, Random123's, are in sampled-blocks.test.ts.

/** What says how probable a block is, as a caller writes it. */
export interface Rule {
  readonly keep?: number | readonly number[];
  readonly geometric?: { readonly rho: number; readonly floor?: number };
  readonly power?: number;
}

/** Probabilities by distance in blocks, as the documents state them. */
export function piOf({ keep, geometric, power }: Rule): (distance: number) => number {
  if (geometric) return (d) => Math.max(geometric.floor ?? 0, geometric.rho ** d);
  if (power !== undefined) return (d) => (1 + d) ** -power;
  const table = typeof keep === 'number' ? [keep] : keep!;
  return (d) => (d === 0 ? 1 : table[Math.min(d, table.length - 1)]);
}

export type Words = readonly [bigint, bigint, bigint, bigint];

const word = (x: bigint): bigint => BigInt.asUintN(32, x);

/** 128 bits of a counter and a key. */
export function philox(counter: Words, key: readonly [bigint, bigint]): Words {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; ++round) {
    const [even, odd] = [0xd2511f53n * c0, 0xcd9e8d57n * c2];
    [c0, c1, c2, c3] = [(odd >> 32n) ^ c1 ^ k0, word(odd), (even >> 32n) ^ c3 ^ k1, word(even)];
    [k0, k1] = [word(k0 + 0x9e3779b9n), word(k1 + 0xbb67ae85n)];
  }
  return [c0, c1, c2, c3];
}

export interface Draw {
  readonly seed: number;
  readonly layer: number;
  readonly head: number;
  readonly queryBlock: number;
  readonly keyBlock: number;
}

/** Whether a block of queries keeps a block of keys. */
export function isKept({ seed, layer, head, queryBlock, keyBlock }: Draw, pi: (distance: number) => number): boolean {
  if (keyBlock > queryBlock) return false;
  if (keyBlock === queryBlock) return true;
  const counter = [Math.floor(keyBlock / 4), queryBlock, head, layer].map(BigInt) as unknown as Words;
  const bits = philox(counter, [word(BigInt(seed)), BigInt(seed) >> 32n])[keyBlock % 4];
  return Number(bits) < pi(queryBlock - keyBlock) * 2 ** 32;
}
