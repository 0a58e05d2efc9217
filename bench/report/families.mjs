// The part of bench/RESULTS.md that bench/suites/families.mjs measured.
// Reader: as report.mjs.
import { machineLines } from './machine-lines.mjs';
import { heading, list, NOT_MEASURED, percent, speedColumns, table } from './tables.mjs';

const [time, gflops, ofPeak, quiet] = speedColumns;
const times = (ratio) => (ratio ? `${ratio.toFixed(2)}x` : '');
const settingColumns = [
  ['set', (r) => r.set],
  ['type', (r) => r.dtype],
  ['D', (r) => r.headDim],
  ['threads', (r) => r.threads],
];
const speedupColumns = [
  ['speed-up', (r) => times(r.speedup)],
  ['FLOP ratio', (r) => times(r.flopRatio)],
  ['of it', (r) => (r.ofFlopRatio ? percent(r.ofFlopRatio, 1) : '')],
];
const visible = ['visible of computed pairs', (r) => percent(r.pairs.useful, r.pairs.computed)];
const bound = ["tiles' bound", (r) => (r.speedup ? times(r.bound) : '')];

export function patternTable(rows, ...more) {
  const pattern = [
    ['tokens', (r) => r.size],
    ['pattern', (r) => r.label],
  ];
  return table(rows, [...settingColumns, ...pattern, time, gflops, ofPeak, ...speedupColumns, ...more, visible, quiet]);
}

function blocksTable(rows) {
  return table(rows, [...settingColumns, ['keys per run', (r) => r.run], time, gflops, ofPeak, quiet]);
}

function sqaTable(rows) {
  const mask = (r) => (r.causal ? 'causal' : 'full');
  const speedup = ['speed-up over GQA', (r) => times(r.speedup)];
  return table(rows, [...settingColumns, ['mask', mask], ['heads', (r) => r.label], time, ofPeak, speedup, quiet]);
}

function hipTable(rows) {
  const phase = (r) => r.group.replace('hip ', '');
  const speedup = ['speed-up over dense', (r) => (r.kind === 'hip' ? times(r.speedup) : '')];
  const columns = [
    ['phase', phase],
    ['keys', (r) => r.size],
    ['heads', (r) => r.heads],
    ['', (r) => r.label],
  ];
  return table(rows, [...settingColumns, ...columns, time, ofPeak, speedup, quiet]);
}

function predicateTable(rows) {
  const ms = (value) => value.toFixed(1);
  return table(rows, [
    ['tokens', (r) => r.tokens],
    time,
    ["plain loop's ms", (r) => ms(r.plainMs.median)],
    ['times the plain loop', (r) => times(r.ratio)],
    ['longest pause, ms', (r) => ms(r.pauseMs.mask)],
    ['in a call, ms', (r) => ms(r.pauseMs.call)],
    quiet,
  ]);
}

function recallTable(rows) {
  return table(rows, [
    ['keys', (r) => r.tokens],
    ['stages, chunk:keep', (r) => r.stages],
    ['type', (r) => r.dtype],
    ['queries', (r) => r.trials],
    ['mass recall', (r) => r.recall.toFixed(3)],
    ["the study's", (r) => r.expected.toFixed(2)],
  ]);
}

export function familySections(result) {
  if (!result) {
    const how = 'run `npm run bench:families`, then `npm run bench:report`';
    return [heading('Pattern families', '', `${NOT_MEASURED}: ${how}`)];
  }
  const group = (names, print) => {
    const rows = result.rows.filter((r) => names.includes(r.group));
    return rows.length ? print(rows) : '';
  };
  return [
    heading(
      'Pattern families',
      'Each group in one run: its own dense attention, the patterns and the FMA peak in turn. GFLOP/s by unmasked area.',
      list(machineLines(result.machine)),
    ),
    heading(
      'S2, sampled blocks and sliding windows',
      'Against dense causal, 2 heads.',
      group(['bands'], (rows) => patternTable(rows)),
    ),
    heading(
      'Neighborhoods',
      'Against dense without a mask.',
      group(['neighborhood'], (rows) => patternTable(rows, bound)),
    ),
    heading(
      'Random block lists',
      'Every block of 64 queries has its own random runs of keys: 512 keys of 16384, 2 heads with a list each.',
      group(['blocks'], blocksTable),
    ),
    heading(
      'Predicates',
      '`createBlockMask` of a causal predicate beside a plain loop that asks each pair once and writes the answer down; the longest time for which the event loop waits, there and in `blockSparseAttention` with every block listed, 8 heads and `predicateIgnores`.',
      result.predicates?.length ? predicateTable(result.predicates) : '',
    ),
    heading('Sparse query attention', 'Query heads / KV heads of a model of 32.', group(['sqa'], sqaTable)),
    heading(
      'Hierarchical selection',
      "Preset `'default'`, selection included. Decode: ms per step, mean over a period of refresh 16 and 8; layers take turns, so keys and values come from DRAM.",
      group(['hip prefill', 'hip decode'], hipTable),
    ),
    heading(
      'Mass recall of the selection',
      'Share of the softmax on selected keys; AR(1) keys with correlation 0.9, scores with standard deviation 4, a selection per query.',
      result.recall.length ? recallTable(result.recall) : '',
    ),
  ];
}
