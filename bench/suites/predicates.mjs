// What a predicate costs: createBlockMask() beside a plain loop that asks each pair once, and the longest time for which the
// event loop waits. Assumes the main thread for itself. Reader: someone who asks whether a server can take a mask_mod.

import { blockSparseAttention, createBlockMask } from 'tilewise';
import { randomTensor } from '../timing/inputs.mjs';
import { interleave, median } from '../timing/quiet.mjs';

const PAUSES = 5; // runs whose longest pauses the median is of

/** A causal mask_mod, a new function each time: answers are kept with a function. */
const causalPredicate = () => (_batch, _head, query, key) => key <= query;

/** The least that asking can cost: a loop that writes the answers down. */
function askEachPair(predicate, tokens) {
  const answers = new Uint8Array(tokens * tokens);
  for (let query = 0, at = 0; query < tokens; query++) {
    for (let key = 0; key < tokens; key++) answers[at++] = predicate(0, 0, query, key) ? 1 : 0;
  }
  return answers;
}

/** The longest time between two turns of the event loop while `run` runs, in ms. */
async function longestPause(run) {
  let isOver = false;
  let worst = 0;
  let last = performance.now();
  const look = () => {
    const now = performance.now();
    worst = Math.max(worst, now - last);
    last = now;
    if (!isOver) setImmediate(look);
  };
  setImmediate(look);
  await run();
  isOver = true;
  return worst;
}

/** Lists of every block for all heads. */
function everyBlock(tokens, block) {
  const rows = tokens / block;
  const indices = Int32Array.from({ length: rows * rows }, (_, i) => i % rows);
  return {
    blockQ: block,
    blockK: block,
    lists: {
      counts: new Int32Array(rows).fill(rows),
      indices: { type: 'int32', data: indices, dims: [rows, rows] },
    },
  };
}

/** One row per length: time against the plain loop of the same run, and the pauses of both public ways to ask. */
async function measureLength(tokens, sampling) {
  const mask = () => createBlockMask(causalPredicate(), { queries: tokens, keys: tokens });
  const [q, k, v] = [1, 2, 3].map((seed) => randomTensor('float32', [1, tokens, 8, 64], seed));
  const predicateIgnores = ['batch', 'head'];
  const attend = () =>
    blockSparseAttention(q, k, v, { ...everyBlock(tokens, 128), predicate: causalPredicate(), predicateIgnores });
  const repeat = (call) => async (calls) => {
    for (let i = 0; i < calls; i++) await call();
  };
  const contenders = [
    { name: 'plain loop', threads: 1, run: repeat(() => askEachPair(causalPredicate(), tokens)) },
    { name: 'createBlockMask', threads: 1, run: repeat(mask) },
  ];
  const [plain, ours] = await interleave(contenders, sampling);
  const pauses = { mask: [], call: [] };
  for (let i = 0; i < PAUSES; i++) {
    pauses.mask.push(await longestPause(mask));
    pauses.call.push(await longestPause(attend));
  }
  const { quiet, tried, isQuiet } = ours;
  return {
    group: 'predicates',
    name: `predicate N=${tokens}`,
    tokens,
    ms: ours,
    plainMs: plain,
    ratio: ours.median / plain.median,
    pauseMs: { mask: median(pauses.mask), call: median(pauses.call) },
    ...{ quiet, tried, isQuiet: isQuiet && plain.isQuiet },
  };
}

/** @param {{isQuick: boolean, wanted: RegExp, sampling: object}} options `wanted`: of names like 'predicate N=4096' */
export async function measurePredicates({ isQuick, wanted, sampling }) {
  const rows = [];
  for (const tokens of predicateLengths({ isQuick, wanted })) rows.push(await measureLength(tokens, sampling));
  return rows;
}

export const predicateLengths = ({ isQuick, wanted }) =>
  (isQuick ? [512] : [2048, 4096]).filter((tokens) => wanted.test(`predicate N=${tokens}`));
