// A suite whose groups hold every call against the first one: samples in turn, ratios of one run.
// Reader: someone who adds such a suite; masks.mjs, rotary.mjs, caches.mjs and models.mjs are four.
import { setNumThreads } from 'tilewise';
import { machineLines } from '../report/machine-lines.mjs';
import { resultFile, writeResult } from '../report/result-file.mjs';
import { describeMachine } from '../timing/machine.mjs';
import { interleave } from '../timing/quiet.mjs';

/**
 * @typedef {object} Contender
 * @property {string} name
 * @property {() => unknown} call
 * @property {boolean} [isAsync] a call is awaited before the next one begins
 * @property {number} [samples] wanted of it, where it is slow
 * @property {number} [most] target: at most this many times the first contender's time
 * @property {number} [flops] of a call
 * @property {number} [leastShare] next to `most`: more time is fine for a call that runs at this share of the FMA peak
 * @property {number} [mostMore] target: at most so many ms more than the first contender's time
 *
 * @typedef {object} Group
 * @property {string} name
 * @property {number} threads
 * @property {() => Contender[] | Promise<Contender[]>} prepare makes operands and calls; the first is the reference
 * @property {() => unknown} [release] lets go of them
 */

const runsOf = ({ call, isAsync }) =>
  isAsync
    ? async (count) => {
        for (let i = 0; i < count; i++) await call();
      }
    : (count) => {
        for (let i = 0; i < count; i++) call();
      };

async function measure(group, sampling, { peaks, defaultInstructionSet }) {
  setNumThreads(group.threads);
  const contenders = await group.prepare();
  const timed = contenders.map(({ name, samples, ...rest }) => {
    return { name, threads: group.threads, run: runsOf(rest), ...(samples && { samples }) };
  });
  const summaries = await interleave(timed, { ...sampling, inPairs: true });
  await group.release?.();
  const peak = peaks.find(({ threads }) => threads === group.threads)?.fma[defaultInstructionSet];
  return contenders.map(({ name, most, leastShare, mostMore, flops }, i) => {
    const { median, min, max, quiet, tried, isQuiet, ratio } = summaries[i];
    const more = i === 0 ? undefined : median - summaries[0].median;
    const row = {
      group: group.name,
      name,
      most,
      mostMore,
      ratio,
      more,
      ms: { median, min, max },
      quiet,
      tried,
      isQuiet,
    };
    if (flops === undefined || peak === undefined) return row;
    const peakMs = flops / (1e6 * peak);
    const enough = leastShare && Math.max(most, peakMs / leastShare / summaries[0].median);
    return { ...row, most: enough ?? most, leastShare, shareOfPeak: peakMs / median };
  });
}

function print({ name, ratio, most, more, mostMore, shareOfPeak, ms, quiet, tried, isQuiet }) {
  const bar = most
    ? `, at most ${most.toFixed(2)}x`
    : mostMore
      ? `, ${more.toFixed(3)} ms more, at most ${mostMore.toFixed(3)}`
      : '';
  const held = ratio ? `${ratio.toFixed(2)}x${bar}` : '';
  const share = shareOfPeak ? `  ${Math.round(100 * shareOfPeak)} % of the FMA peak` : '';
  console.log(
    `  ${name.padEnd(28)} ${ms.median.toFixed(4)} ms  ${held}${share}  ${quiet}/${tried}${isQuiet ? '' : ' NOISY'}`,
  );
}

/**
 * Measures the groups whose names the filter matches, and writes a whole run to bench/results.
 * @param {string} fileName @param {Group[]} groups
 * @param {ReturnType<typeof import('./options.mjs').runOptions>} options
 * @param {object} sampling see interleave()
 * @param {() => object} [measureMore] what the result has besides
 */
export async function runRatioSuite(fileName, groups, options, sampling, measureMore) {
  const wanted = groups.filter(({ name }) => new RegExp(options.filter).test(name));
  if (options.list) {
    for (const { name } of wanted) console.log(name);
    return;
  }
  const machine = await describeMachine({ samples: sampling.samples });
  for (const line of machineLines(machine)) console.log(`# ${line}`);
  const rows = [];
  for (const group of wanted) {
    console.log(`\n${group.name}`);
    const measured = await measure(group, sampling, machine);
    measured.forEach(print);
    rows.push(...measured);
  }
  const more = measureMore?.();
  const file = resultFile(fileName, options);
  if (file) writeResult(file, { machine, sampling, rows, ...more });
}
