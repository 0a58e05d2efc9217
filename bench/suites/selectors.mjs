// `npm run bench:selectors`: a decode step that selects pages and attends to them against dense decode, and the statistics of attention
// against their scores alone. Reader: someone who changes a selector. docs/measurements/benchmarks.md explains the method.
//   npm run bench:selectors -- --filter quest     only groups whose name matches (a regular expression)
//   npm run bench:selectors -- --quick            few tokens and samples: does it run at all
//   npm run bench:selectors -- --json out.json    write there; an unfiltered full run writes bench/results/selectors.json
import { attentionStatsSync, attentionSync, deltaPageScoresSync, KvCache, questPageScoresSync } from 'tilewise';
import { dimsOf, randomTensor } from '../timing/inputs.mjs';
import { runOptions } from './options.mjs';
import { runRatioSuite } from './ratio-suite.mjs';

const options = runOptions();
const sampling = options.quick ? { samples: 3, minMs: 20 } : { samples: 7, minMs: 120 };
const device = 'cpu';
/** Tokens that a step may read. */
const budget = 2048;

/** Decode over layers that take turns, together larger than the caches of a processor; the newest page is not full. */
function decode({ tokens, heads, kvHeads, headDim, pageSize, dtype, layers }) {
  const kept = new KvCache({ layers, kvHeads, headDim, pageSize, type: dtype, capacity: tokens, pageSummaries: true });
  const rows = randomTensor(dtype, dimsOf('bnhd', tokens, kvHeads, headDim), 1);
  for (let layer = 0; layer < layers; layer++) kept.append(layer, rows, rows);
  const q = randomTensor('float32', dimsOf('bnhd', 1, heads, headDim), 2);
  let layer = 0;
  const next = () => {
    layer = (layer + 1) % layers;
    return layer;
  };
  const pages = budget / pageSize;
  const quest = (at) => questPageScoresSync(q, kept.keyPages(at), { pages });
  return [
    { name: 'dense', call: () => kept.attentionSync(next(), q) },
    {
      name: 'quest',
      call: () => {
        const at = next();
        return kept.attentionSync(at, q, { pageLists: quest(at).lists });
      },
      most: 1 / 5,
    },
    { name: 'quest selection', call: () => quest(next()) },
    { name: 'delta selection', call: () => deltaPageScoresSync(q, kept.keyPages(next()), { pages }) },
  ];
}

/** Statistics beside a call of attention whose values have one dim: little more than its scores. */
function statistics({ queries, keys, heads, headDim }) {
  const q = randomTensor('float32', dimsOf('bnhd', queries, heads, headDim), 1);
  const k = randomTensor('float32', dimsOf('bnhd', keys, heads, headDim), 2);
  const v = randomTensor('float32', dimsOf('bnhd', keys, heads, 1), 3);
  const told = { causal: true, device };
  const stats = (name, want, most, more = {}) => ({
    name,
    call: () => attentionStatsSync(q, k, { ...told, want, ...more }),
    most,
  });
  return [
    { name: 'scores', call: () => attentionSync(q, k, v, told) },
    stats('key sums', ['keySum'], 1.3),
    stats('largest of each row', ['rowTopK'], 1.3, { rowTopK: 1 }),
    stats('vertical and slash', ['keySumOverQueries', 'diagSum']),
    stats('all sums', ['keySum', 'keyMaxOverHeads', 'blockSum', 'diagSum'], undefined, { blockSum: [64, 64] }),
  ];
}

const tokens = options.quick ? 4096 + 5 : 32_768 - 5;
const shapes = [
  { heads: 8, kvHeads: 8, headDim: 128 },
  { heads: 32, kvHeads: 8, headDim: 128 },
];
const groups = [
  ...shapes.flatMap((shape) =>
    [16, 64].map((pageSize) => {
      const sizes = { ...shape, tokens, pageSize, dtype: 'float16', layers: options.quick ? 2 : 4 };
      const name = `quest page=${pageSize} N=${tokens} H=${shape.heads}/${shape.kvHeads} D=128 f16`;
      return { name, prepare: () => decode(sizes) };
    }),
  ),
  ...[
    { queries: 1024, keys: 8192 },
    { queries: 128, keys: 32_768 },
  ].map(({ queries, keys }) => {
    const sizes = { queries: Math.min(queries, tokens), keys: Math.min(keys, tokens), heads: 1, headDim: 128 };
    return { name: `statistics Q=${sizes.queries} N=${sizes.keys} D=128`, prepare: () => statistics(sizes) };
  }),
].map((group) => ({ threads: 1, ...group }));
await runRatioSuite('selectors.json', groups, options, sampling);
