// Types of divergence.mjs. Reader: the compiler.

export declare function divergenceOf(
  code: Buffer,
  isHopper: boolean,
): { found: { at: number; name: string; parted: number }[]; collectives: number; unknown: number[] };
