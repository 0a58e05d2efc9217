// One case for every pattern and every way to say which keys there are. Reader: someone who tests a rule that goes with all of them.

import type { Case } from './case.js';

/** @param shape a case of 70 queries and 150 keys, and the rule that is tested */
export const everyPattern = (shape: Case): Case[] => [
  { ...shape, batch: 2, keyLengths: [150, 40], keyStarts: [10, 3] },
  { ...shape, cuSeqlensQ: [0, 30, 30, 70], cuSeqlensK: [0, 50, 60, 150], is3d: true },
  { ...shape, recentTokens: [9, 40], sinkTokens: [2, 0] },
  { ...shape, shards: { blockSize: 16, localBlocks: 2, vertStride: 3 } },
  { ...shape, blocks: { blockQ: 16, blockK: 32, density: 0.4, form: 'csr' } },
  {
    ...shape,
    grid: [9, 8],
    queries: 72,
    keys: 72,
    neighborhood: { kernelSize: [5, 3], stride: [1, 1], dilation: [1, 1], causal: [false, false] },
    relativeBias: true,
  },
  { ...shape, batch: 2, keyLengths: [150, 100], pages: { size: 15 } },
];
