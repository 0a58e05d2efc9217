// `npm run bench:peers`: tilewise beside onnxruntime-node and PyTorch, same shapes, same run, samples taken in turn.
// Reader: someone who wants to know whether to switch. docs/measurements/benchmarks.md explains the method.
//   npm run bench:peers -- --filter causal     only shapes whose name matches (a regular expression)
//   npm run bench:peers -- --quick             small shapes, few samples
//   npm run bench:peers -- --filter 'documents|windows' --json bench/results/peers-masks.json
//                                              the masks of many documents and of windows per head alone, in RESULTS, too
//   npm run bench:peers -- --json out.json     default bench/results/peers.json when nothing is filtered
//   PYTHON=/path/to/python npm run bench:peers a Python with torch, if it is not python3
import { parseArgs } from 'node:util';
import { attention, setNumThreads } from 'tilewise';
import {
  feedsFor,
  headsFirstOperands,
  keyValueBytes,
  operandsFor,
  outputAsBnhd,
  peerGraphs,
  runGraph,
} from '../peers/graphs.mjs';
import { loadOnnxRuntime, openSession } from '../peers/onnxruntime.mjs';
import { patternGraphs } from '../peers/pattern-graphs.mjs';
import {
  documentsShape,
  neighborhoodShape,
  patternCall,
  patternName,
  patternWork,
  s2Shape,
  windowsShape,
} from '../peers/patterns.mjs';
import { startTorch } from '../peers/torch.mjs';
import { machineLines } from '../report/machine-lines.mjs';
import { resultFile, writeResult } from '../report/result-file.mjs';
import { describeMachine, threadCounts } from '../timing/machine.mjs';
import { interleave } from '../timing/quiet.mjs';
import { attentionFlops } from './cases.mjs';

const { values: options } = parseArgs({
  options: {
    filter: { type: 'string', default: '' },
    json: { type: 'string' },
    quick: { type: 'boolean', default: false },
  },
});
const sampling = { mustRest: true, ...(options.quick ? { samples: 3, minMs: 40 } : { samples: 5, minMs: 200 }) };
const COLD_BYTES = 512 * 2 ** 20; // decode takes turns over this many bytes of keys and values

const base = { heads: 8, kvHeads: 8, headDim: 64, dtype: 'float32', causal: false };
const square = (tokens, more) => ({ ...base, queries: tokens, keys: tokens, ...more });
const [fourHeads, twoHeads] = [4, 2].map((heads) => ({ ...base, heads, kvHeads: heads }));
const shapes = options.quick
  ? [
      square(256),
      square(256, { causal: true }),
      { ...base, queries: 1, keys: 1024 },
      s2Shape(twoHeads, 512, { blockSize: 16, localBlocks: 4, vertStride: 4 }),
      neighborhoodShape(fourHeads, [16, 16], [7, 7]),
      documentsShape(twoHeads, [64, 40, 200, 208]),
      windowsShape(base, 512, [512, 64], 16),
    ]
  : [
      ...[1024, 2048, 4096].map((n) => square(n)),
      ...[1024, 2048, 4096].map((n) => square(n, { causal: true })),
      square(2048, { dtype: 'float16' }),
      { ...base, queries: 1, keys: 16384 },
      s2Shape(twoHeads, 16384, { blockSize: 64, localBlocks: 16, vertStride: 16 }),
      neighborhoodShape(fourHeads, [64, 64], [7, 7]),
      neighborhoodShape(fourHeads, [64, 64], [13, 13]),
      documentsShape(fourHeads, [1024, 256, 64, 768, 512, 64, 1408]),
      windowsShape(base, 4096, [4096, 256, 256, 256], 64),
    ];

function nameOf(shape) {
  const { queries, keys, heads, headDim, dtype, causal, pattern } = shape;
  const kind = pattern ? patternName(shape) : queries === 1 ? 'decode' : causal ? 'causal' : 'full';
  return `${kind} ${dtype} N=${keys} H=${heads} D=${headDim}`;
}

const graphsFor = ({ pattern }) => Object.entries(pattern ? patternGraphs : peerGraphs);
const callFor = (shape) =>
  shape.pattern ? patternCall(shape) : ({ q, k, v }) => attention(q, k, v, { causal: shape.causal });

const onnxruntime = loadOnnxRuntime();
const torch = await startTorch();
const torchNote = torch ? `PyTorch ${torch.version}` : 'PyTorch: not measured: no Python with torch found';

/** Every peer computes what we compute, or the comparison is worth nothing. */
async function checkAgreement() {
  const small = [
    square(96),
    square(96, { causal: true }),
    { ...base, queries: 1, keys: 96 },
    s2Shape(base, 192, { blockSize: 16, localBlocks: 3, vertStride: 4 }),
    neighborhoodShape(base, [11, 12], [5, 4]),
    documentsShape(base, [30, 1, 50, 15]),
    windowsShape(base, 96, [96, 20, 5, 1], 7),
  ];
  for (const shape of small) {
    const ours = operandsFor(shape);
    const { out } = await callFor(shape)(ours);
    const compare = (peer, data) => {
      const worst = out.data.reduce((max, x, i) => Math.max(max, Math.abs(x - data[i])), 0);
      // Negated, so that NaN fails too.
      if (!(worst < 1e-5)) throw new Error(`${peer} disagrees with tilewise on ${nameOf(shape)}: by ${worst}`);
    };
    for (const [peer, graphOf] of graphsFor(shape)) {
      const graph = graphOf(shape);
      if (!graph) continue;
      const session = await openSession(onnxruntime, graph.bytes, 1);
      const { y } = await runGraph(session, graph, feedsFor(graph, shape, ours, onnxruntime.Tensor));
      compare(peer, outputAsBnhd(graph, y.data, shape));
      await session.release();
    }
    if (torch) {
      const [q, k, v] = [ours.q, ours.k, ours.v].map((t) => Array.from(t.data));
      compare('PyTorch', (await torch.ask({ op: 'check', q, k, v, shape })).y);
    }
  }
}

/** Calls fn with each element in turn, over and over. */
function inTurn(list, fn) {
  let turn = 0;
  return async (calls) => {
    for (let i = 0; i < calls; i++) await fn(list[turn++ % list.length]);
  };
}

async function contendersFor(shape, threads) {
  const copies = shape.queries === 1 ? Math.max(2, Math.ceil(COLD_BYTES / keyValueBytes(shape))) : 1;
  const operands = Array.from({ length: copies }, () => operandsFor(shape));
  setNumThreads(threads);
  const { causal } = shape;
  const contenders = [{ name: 'tilewise', threads, run: inTurn(operands, callFor(shape)) }];
  if (shape.queries === 1) {
    // Peers' caches are heads-first: here is ours in that order, beside the default one.
    const turned = operands.map(headsFirstOperands);
    const run = inTurn(turned, ({ q, k, v }) => attention(q, k, v, { causal, layout: 'bhnd' }));
    contenders.push({ name: 'tilewise bhnd', threads, run });
  }
  const sessions = [];
  for (const [name, graphOf] of graphsFor(shape)) {
    const graph = graphOf(shape);
    if (!graph) continue;
    const session = await openSession(onnxruntime, graph.bytes, threads);
    const feeds = operands.map((ours) => feedsFor(graph, shape, ours, onnxruntime.Tensor));
    contenders.push({ name, threads, run: inTurn(feeds, (feed) => runGraph(session, graph, feed)) });
    sessions.push(session);
  }
  if (torch) {
    await torch.ask({ op: 'prepare', shape, threads, copies });
    contenders.push({
      name: shape.pattern ? 'PyTorch SDPA with mask' : 'PyTorch SDPA',
      threads,
      remote: (calls) => torch.ask({ op: 'run', calls }),
    });
  }
  return { contenders, release: () => Promise.all(sessions.map((s) => s.release())) };
}

async function measureShape(shape, threads) {
  const { contenders, release } = await contendersFor(shape, threads);
  // With a pattern peers take seconds per call at 16k tokens.
  const summaries = await interleave(
    contenders,
    shape.keys > 8192 && shape.pattern ? { ...sampling, samples: 3 } : sampling,
  );
  await release();
  const { flops, flopRatio } = shape.pattern ? patternWork(shape) : { flops: attentionFlops(shape) };
  return contenders.map(({ name }, i) => {
    const { median, min, max, quiet, tried, isQuiet } = summaries[i];
    return {
      name: `${nameOf(shape)} threads=${threads}`,
      ...{ ...shape, threads, contender: name, ms: { median, min, max } },
      gflops: flops / median / 1e6,
      ...(flopRatio ? { flopRatio } : {}),
      ratio: median / summaries[0].median,
      ...{ quiet, tried, isQuiet },
    };
  });
}

function printRows(rows) {
  console.log(`\n${rows[0].name}`);
  for (const { contender, ms, gflops, ratio, quiet, tried, isQuiet } of rows) {
    const time = `${ms.median.toFixed(2)} ms (${ms.min.toFixed(2)} .. ${ms.max.toFixed(2)})`.padEnd(34);
    const against = contender.startsWith('tilewise') ? '' : `tilewise is ${ratio.toFixed(2)}x as fast`;
    const noise = `${quiet}/${tried} quiet${isQuiet ? '' : ' NOISY'}`;
    console.log(`  ${contender.padEnd(28)} ${time} ${gflops.toFixed(1).padStart(7)} GFLOP/s  ${noise}  ${against}`);
  }
}

await checkAgreement();
const machine = await describeMachine({ samples: sampling.samples });
const peers = [`onnxruntime-node ${onnxruntime.env.versions.node}`, torchNote];
for (const line of [...machineLines(machine), ...peers]) console.log(`# ${line}`);
console.log('# every peer agrees with tilewise on small shapes to 1e-5');

const wanted = new RegExp(options.filter);
const rows = [];
for (const shape of shapes) {
  for (const threads of threadCounts) {
    if (!wanted.test(`${nameOf(shape)} threads=${threads}`)) continue;
    const measured = await measureShape(shape, threads);
    printRows(measured);
    rows.push(...measured);
  }
}
await torch?.end();

const file = resultFile('peers.json', options);
if (file) writeResult(file, { machine, peers, sampling, rows });
