// The tables of docs/measurements/hardware.md, by name: a card's results in, Markdown out, '' without rows.
// Reader: whoever adds a table; sections.mjs says where it goes.
import { table } from '../report/tables.mjs';

const HOPPER_RATE = 4096; // bfloat16 operations per clock and multiprocessor that the data sheet's peak comes to

const round = (x) => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));
const percent = (x) => `${(100 * x).toFixed(0)} %`;
const unique = (list) => [...new Set(list)];
const ofGroup = (rows, group) => rows.filter((row) => row.group === group);

/** One line per value of `line`, one column per value of `column`. */
function pivot(rows, { line, column, columnTitle = String, cell, titles }) {
  if (rows.length === 0) return '';
  const lines = unique(rows.map((row) => JSON.stringify(line(row))));
  const columns = unique(rows.map(column)).sort((a, b) => (typeof a === 'number' ? a - b : 0));
  const at = (wanted, place) => rows.find((row) => JSON.stringify(line(row)) === wanted && column(row) === place);
  const cells = columns.map((place) => [
    columnTitle(place),
    (wanted) => (at(wanted, place) ? cell(at(wanted, place)) : ''),
  ]);
  return table(lines, [...titles.map((title, i) => [title, (wanted) => JSON.parse(wanted)[i]]), ...cells]);
}

const plain = (rows, columns) => (rows.length === 0 ? '' : table(rows, columns));
const peak = (row) => (row.name.startsWith('tf32') ? HOPPER_RATE / 2 : HOPPER_RATE);
const tensorCell = (row) => `${round(row.tflops)} (${percent(row.flopsPerClockPerSm / peak(row))})`;
const mask = (row) => (row.causal ? 'causal' : 'full');
const thousands = (n) => (n % 1024 === 0 && n >= 1024 ? `${n / 1024}k` : String(n));

function machineTable({ machine, steps, rows }) {
  const { card } = machine;
  const parts = [
    `${card.multiprocessors} multiprocessors`,
    `${card.l2MiB} MiB L2`,
    `${card.memoryGiB?.toFixed(1)} GiB`,
  ];
  const torch = rows.find((row) => row.group === 'torch');
  const busy = steps.filter((step) => step.watts).sort((a, b) => b.watts.most - a.watts.most)[0];
  const state =
    busy &&
    `${busy.watts.most} W, ${busy.clockMHz.least} to ${busy.clockMHz.most} MHz, ${busy.degreesC.most} °C in '${busy.name}'`;
  const facts = [
    ['card', [card.name, ...(card.multiprocessors ? parts : [])].join(', ')],
    ['limits', `${card.clockMHzMost} MHz, ${card.wattsMost} W`],
    ['most power drawn', state || ''],
    ['driver', card.driver ?? ''],
    ['compiler', machine.nvcc],
    ['PyTorch', torch ? `${torch.torch}, cuDNN ${torch.cudnn}` : ''],
    ['processor', `${machine.cpu}, ${machine.processors} threads${machine.hasAvx512 ? ', AVX-512' : ''}`],
    ['date, commit', `${machine.date}, ${machine.commit}`],
  ];
  return table(facts, [
    ['', ([name]) => name],
    ['', ([, fact]) => fact],
  ]);
}

function checkTable({ steps, rows }) {
  const probes = ofGroup(rows, 'attention probe, right');
  const libraries = ofGroup(rows, 'library');
  const wrong = (list) => list.filter((row) => !row.ok).length;
  const verdicts = steps
    .filter(({ name }) => /^(check|sanitizer|cpu: \w+_checks)/.test(name))
    .map((step) => [step.name, step.skipped ?? (step.rc === 0 ? 'passed' : `failed (${step.rc})`)]);
  if (probes.length > 0) {
    const worst = Math.max(...probes.map((row) => row.relative));
    verdicts.push([
      'attention probe against float64',
      `${probes.length - wrong(probes)} of ${probes.length} right, relative error at most ${worst.toExponential(1)}`,
    ]);
    verdicts.push([
      'attention probe, the same bits twice',
      `${probes.filter((row) => row.sameBits).length} of ${probes.length}`,
    ]);
  }
  for (const { backend, cases, faultCount } of libraries) {
    const count = Object.values(cases).reduce((sum, n) => sum + n, 0);
    verdicts.push([`conformance cases, ${backend}`, `${count} cases, ${faultCount} faults`]);
  }
  return plain(verdicts, [
    ['check', ([name]) => name],
    ['verdict', ([, verdict]) => verdict],
  ]);
}

export const tables = {
  machine: machineTable,
  checks: checkTable,
  wgmma: ({ rows }) =>
    pivot(
      ofGroup(rows, 'wgmma').sort((a, b) => a.n - b.n),
      {
        titles: ['N'],
        line: (row) => [row.n],
        column: (row) => `${row.name === 'A in registers' ? 'A in registers' : 'A shared'}, ${row.warpgroups}`,
        cell: tensorCell,
      },
    ),
  sustained: ({ rows }) =>
    plain(ofGroup(rows, 'wgmma, sustained'), [
      ['loop', (row) => `${row.name}, N = ${row.n}, ${row.warpgroups} warpgroups`],
      [
        'TFLOP/s: median (least .. most)',
        (row) =>
          `${round(row.tflops)} (${round((row.tflops * row.ms) / row.msMost)} .. ${round((row.tflops * row.ms) / row.msLeast)})`,
      ],
      ['clock at the end, MHz', (row) => round(row.clockMHz)],
    ]),
  mma: ({ rows }) =>
    pivot(ofGroup(rows, 'mma.sync'), {
      titles: ['instruction', 'operands', 'rows per warp'],
      line: (row) => [row.name, row.feed, row.rowsPerWarp],
      column: (row) => row.warps,
      columnTitle: (warps) => `${warps} warps`,
      cell: tensorCell,
    }),
  softmax: ({ rows }) =>
    plain(ofGroup(rows, 'softmax arithmetic, alone'), [
      ['loop', (row) => row.name],
      ['by polynomial, of 16', (row) => row.polynomialOf16],
      ['per clock and multiprocessor', (row) => round(row.perClockPerSm)],
      ['10¹² per second', (row) => round(row.operationsPerSecond / 1e12)],
    ]),
  overlap: ({ rows }) =>
    pivot(ofGroup(rows, 'softmax beside products'), {
      titles: ['D', 'warpgroups'],
      line: (row) => [row.headDim, row.warpgroups],
      column: (row) => `${row.name}${row.polynomialOf16 ? `, ${row.polynomialOf16} of 16 by polynomial` : ''}`,
      cell: (row) => `${round(row.cyclesPerRound)}`,
    }),
  memory: ({ rows }) =>
    pivot([...ofGroup(rows, 'copy'), ...ofGroup(rows, 'read')], {
      titles: ['access'],
      line: (row) => [row.group === 'copy' ? `copy, ${row.name}: read and written` : 'read'],
      column: (row) => row.from,
      cell: (row) => round(row.gbps),
    }),
  tiles: ({ rows }) =>
    pivot([...ofGroup(rows, 'tma'), ...ofGroup(rows, 'gather')], {
      titles: ['fetch', 'of'],
      line: (row) => [row.group === 'tma' ? `TMA, ${row.name}` : row.name, row.detail],
      column: (row) => row.from,
      cell: (row) => round(row.gbps),
    }),
  launches: ({ rows }) =>
    plain(ofGroup(rows, 'launch'), [
      ['launch', (row) => row.name],
      ['µs each', (row) => round(row.microseconds)],
    ]),
  probe: ({ rows }) =>
    pivot(ofGroup(rows, 'attention probe, speed'), {
      titles: ['kernel', 'D', 'mask', 'tile'],
      line: (row) => [row.name, row.headDim, mask(row), row.tile],
      column: (row) => row.keys,
      columnTitle: thousands,
      cell: (row) => round(row.tflops),
    }),
  products: ({ rows }) =>
    plain(ofGroup(rows, 'torch matmul'), [
      ['size', (row) => `${row.size}³`],
      ['type', (row) => row.dtype],
      ['TFLOP/s', (row) => round(row.tflops)],
    ]),
  sdpa: ({ rows }) =>
    pivot(ofGroup(rows, 'torch sdpa'), {
      titles: ['type', 'D', 'mask', 'backend'],
      line: (row) => [row.dtype, row.headDim, mask(row), row.backend],
      column: (row) => row.length,
      columnTitle: thousands,
      cell: (row) => round(row.tflops),
    }),
  decode: ({ rows }) =>
    pivot(ofGroup(rows, 'torch decode'), {
      titles: ['batch', 'heads', 'backend'],
      line: (row) => [row.batch, `${row.heads}/${row.kvHeads}`, row.backend],
      column: (row) => row.length,
      columnTitle: thousands,
      cell: (row) => `${round(row.gbps)} (${round(1000 * row.ms)} µs)`,
    }),
  flex: ({ rows }) =>
    plain(ofGroup(rows, 'torch flex'), [
      ['mask', (row) => row.mask],
      ['D', (row) => row.headDim],
      ['tokens', (row) => thousands(row.length)],
      ['blocks left out', (row) => `${round(row.blockSparsity)} %`],
      ['ms', (row) => row.ms.toFixed(3)],
      ['TFLOP/s of unmasked pairs', (row) => round(row.tflops)],
    ]),
  refused: ({ rows }) =>
    plain(ofGroup(rows, 'refused'), [
      [
        'what',
        (row) =>
          [row.of, row.backend, row.mask, row.headDim && `D=${row.headDim}`, row.dtype].filter(Boolean).join(', '),
      ],
      ['reason', (row) => row.reason.replaceAll('|', '\\|')],
    ]),
};
