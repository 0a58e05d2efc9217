// The README's four ratios: how much longer peers take than this library, worst row of each group. No row is left out of a
// group because it is bad. Reader: whoever wonders where a number of the README comes from.
import { table } from './tables.mjs';

const isOurs = (row) => row.contender.startsWith('tilewise');
const isTorch = (row) => row.contender.startsWith('PyTorch');
const isPrefill = (row) => !row.pattern && row.queries > 1 && row.dtype === 'float32';

const groups = [
  ["causal, 1k to 4k tokens, against onnxruntime's fastest operator", (r) => isPrefill(r) && r.causal && !isTorch(r)],
  ['dense and causal, 1k to 4k tokens, against PyTorch', (r) => isPrefill(r) && isTorch(r)],
  [
    "S2, 16k tokens, against onnxruntime's SparseAttention",
    (r) => r.pattern?.kind === 's2' && r.contender === 'SparseAttention',
  ],
  ['neighborhoods 7x7 and 13x13 of 64x64, against the fastest with a mask', (r) => r.pattern?.kind === 'neighborhood'],
];

/** @param {object | null} result of bench/suites/peers.mjs */
export function ratioTable(result) {
  if (!result) throw new Error('the ratios need bench/results/peers.json: npm run bench:peers');
  const { machine, peers, rows } = result;
  const worst = groups.map(([text, isMember]) => {
    const ratios = rows.filter((row) => !isOurs(row) && isMember(row)).map((row) => row.ratio);
    if (ratios.length === 0) throw new Error(`bench/results/peers.json has no row of '${text}'`);
    return [text, Math.min(...ratios)];
  });
  const columns = [
    ['', ([text]) => text],
    ["their time over tilewise's, at least", ([, ratio]) => `${(Math.floor(10 * ratio) / 10).toFixed(1)}x`],
  ];
  const software = peers.map((line) => line.replace(/,.*/, '')).join(', ');
  const source = `bench/results/peers.json of ${machine.date}, commit ${machine.commit}`;
  const intro = `float32, one and two threads of ${machine.cpu}; ${software}; ${source}:`;
  return `${intro}\n\n${table(worst, columns)}`;
}
