// The part of bench/RESULTS.md that bench/suites/caches.mjs measured, and its targets. Reader: as report.mjs.
import { ratioSections, ratioTargets } from './ratio-rows.mjs';

/** @param {object | null} result of bench/suites/caches.mjs */
export const cacheSections = (result) =>
  ratioSections(
    result,
    'Caches',
    '*reading*: one query over what is there; pages are scattered over their pool. *step*: a token is appended, then one query sees ' +
      'all. *queries*: several at once. *ragged*: eight sequences, one of them with 128 queries. *small*: what a token costs at least. ' +
      'Batch 1, all threads; layers take turns, so that keys and values come from memory.',
    'npm run bench:caches',
  );

const microseconds = (ms) => 1000 * ms;

/** What a token costs at least, in a group of 64 keys. */
function smallTargets({ rows }) {
  const small = rows.filter(({ group }) => group.startsWith('small '));
  const timeOf = (group, name) => small.find((row) => row.group === group && row.name === name).ms.median;
  const groups = [...new Set(small.map(({ group }) => group))];
  const worst = (text, costOf) => {
    const costs = groups.map((group) => ({ group, cost: microseconds(costOf(group)) }));
    const { group, cost } = costs.reduce((a, b) => (b.cost > a.cost ? b : a));
    const measured = `${cost.toFixed(1)} µs (${group})`;
    return { text: `${text}: at most 15 µs`, measured, isMet: cost <= 15, short: Math.max(0, cost / 15 - 1) };
  };
  return [
    worst('a token at 64 keys, attentionSync', (group) => timeOf(group, 'attentionSync')),
    worst('attention() beyond attentionSync()', (group) => timeOf(group, 'attention') - timeOf(group, 'attentionSync')),
  ];
}

/** No operator of onnxruntime over the same keys is faster than ours over heads-first keys. */
function peerTargets({ rows }) {
  const peers = rows.filter(({ group, name }) => group.startsWith('reading ') && name.startsWith('onnxruntime '));
  if (peers.length === 0) return [];
  const { ratio, name, group } = peers.reduce((a, b) => (b.ratio < a.ratio ? b : a));
  return [
    {
      text: "onnxruntime's operators over heads-first keys: at least 1.0x our time",
      measured: `${ratio.toFixed(2)}x (${name}, ${group})`,
      isMet: ratio >= 1,
      short: Math.max(0, 1 - ratio),
    },
  ];
}

/** @returns {import('./targets.mjs').Target[]} */
export const cacheTargets = (result) => [...ratioTargets(result), ...peerTargets(result), ...smallTargets(result)];
