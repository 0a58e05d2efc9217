// `npm run bench:families`: what patterns save, each against our own dense attention and the FMA peak of the same run.
// Reader: someone who wants to know whether skipping keys pays here. docs/measurements/benchmarks.md explains the method.
//   npm run bench:families -- --filter decode   only groups whose name matches (a regular expression)
//   npm run bench:families -- --quick           small shapes, few samples: does it run at all
//   npm run bench:families -- --list            the names
//   npm run bench:families -- --json out.json   write there; an unfiltered full run writes bench/results/families.json
import { setNumThreads } from 'tilewise';
import { native } from '../../dist/native/native.js';
import { machineLines } from '../report/machine-lines.mjs';
import { resultFile, writeResult } from '../report/result-file.mjs';
import { allThreads, defaultInstructionSet, describeMachine, fmaGauge } from '../timing/machine.mjs';
import { interleave } from '../timing/quiet.mjs';
import { DTYPES, familyGroups } from './family-cases.mjs';
import { measureRecall } from './family-hip.mjs';
import { runOptions } from './options.mjs';
import { measurePredicates, predicateLengths } from './predicates.mjs';

const options = runOptions();
const sampling = options.quick ? { samples: 3, minMs: 20 } : { samples: 5, minMs: 120 };

function useSetting({ set, threads }) {
  if (!native.setInstructionSet(set)) throw new Error(`cannot run ${set} here`);
  setNumThreads(threads);
}

const toContender =
  (threads) =>
  ({ name, call, calls, samples }) => ({
    ...{ name, threads, calls, samples },
    run(count) {
      for (let i = 0; i < count; i++) call();
    },
  });

/** One row per job: its time, and what it is against the reference of the same run. */
function rowOf({ group, name, shape }, job, summary, peaks, reference) {
  const { call, calls, samples, steps = 1, name: label, ...facts } = job;
  const perStep = ({ median, min, max }) => ({ median: median / steps, min: min / steps, max: max / steps });
  const ms = perStep(summary);
  const { quiet, tried, isQuiet } = summary;
  const row = {
    group,
    name: `${label}, ${name}`,
    label,
    ...shape,
    ...facts,
    ms,
    ...(job.flops ? { gflops: job.flops / ms.median / 1e6 } : {}),
    peaks,
    ...{ quiet, tried, isQuiet },
  };
  if (!reference) return row;
  const speedup = reference.ms.median / ms.median;
  const flopRatio = job.flops && reference.flops / job.flops;
  return {
    ...row,
    speedup,
    ...(flopRatio ? { flopRatio, ofFlopRatio: speedup / flopRatio } : {}),
    isQuiet: row.isQuiet && reference.isQuiet,
  };
}

async function measureGroup(group) {
  const { shape } = group;
  useSetting(shape);
  const { reference, jobs } = group.prepare();
  const all = [...(reference ? [reference] : []), ...jobs];
  const contenders = [fmaGauge(shape.set, shape.threads), ...all.map(toContender(shape.threads))];
  const [peak, ...summaries] = await interleave(contenders, sampling);
  const peaks = { fma: peak.median };
  const first = reference && rowOf(group, reference, summaries[0], peaks);
  const rows = all.map((job, i) => rowOf(group, job, summaries[i], peaks, job === reference ? undefined : first));
  return rows;
}

function printRow(row) {
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const digits = (x) => (x < 10 ? x.toFixed(3) : x.toFixed(1));
  const { median, min, max } = row.ms;
  const cells = [
    `  ${row.label.padEnd(26)}`,
    `${digits(median)} ms (${digits(min)} .. ${digits(max)})`,
    row.gflops ? `${row.gflops.toFixed(1)} GFLOP/s, ${percent(row.gflops / row.peaks.fma)} of FMA peak` : '',
    row.speedup ? `${row.speedup.toFixed(2)}x the reference` : '',
    row.ofFlopRatio ? `${percent(row.ofFlopRatio)} of the FLOP ratio ${row.flopRatio.toFixed(2)}` : '',
    `${row.quiet}/${row.tried} quiet${row.isQuiet ? '' : ' NOISY'}`,
  ];
  console.log(cells.filter(Boolean).join('  '));
}

function printPredicate({ name, ms, plainMs, ratio, pauseMs, quiet, tried, isQuiet }) {
  const time = `${ms.median.toFixed(1)} ms (${ms.min.toFixed(1)} .. ${ms.max.toFixed(1)})`;
  const plain = `${ratio.toFixed(2)}x the plain loop's ${plainMs.median.toFixed(1)} ms`;
  const pauses = `longest pause ${pauseMs.mask.toFixed(1)} ms, in a call ${pauseMs.call.toFixed(1)} ms`;
  console.log(`  ${name}: ${time}  ${plain}  ${pauses}  ${quiet}/${tried} quiet${isQuiet ? '' : ' NOISY'}`);
}

const wanted = new RegExp(options.filter);
const groups = familyGroups({ isQuick: options.quick }).filter(({ name }) => wanted.test(name));
const recallTypes = DTYPES.filter((dtype) => wanted.test(`mass recall ${dtype}`));
const asking = { isQuick: options.quick, wanted, sampling };
if (options.list) {
  for (const { name } of groups) console.log(name);
  for (const tokens of predicateLengths(asking)) console.log(`predicate N=${tokens}`);
  for (const dtype of recallTypes) console.log(`mass recall ${dtype}`);
  process.exit(0);
}

const machine = await describeMachine({ samples: sampling.samples });
for (const line of machineLines(machine)) console.log(`# ${line}`);
const rows = [];
for (const group of groups) {
  console.log(`\n${group.name}`);
  const measured = await measureGroup(group);
  measured.forEach(printRow);
  rows.push(...measured);
}

useSetting({ set: defaultInstructionSet, threads: allThreads });
const predicates = await measurePredicates(asking);
if (predicates.length > 0) console.log('\npredicates');
predicates.forEach(printPredicate);
const recall = recallTypes.flatMap((dtype) => measureRecall({ isQuick: options.quick, dtype }));
if (recall.length > 0) console.log('\nmass recall');
for (const row of recall) {
  console.log(`  ${row.name}: ${row.recall.toFixed(3)}, the study's ${row.expected} with a noise of ${row.noise}`);
}

const file = resultFile('families.json', options);
if (file) writeResult(file, { machine, sampling, rows, predicates, recall });
