// `npm run bench:masks`: masks and biases as exporters write them, against the call that says the same without.
// Reader: someone whose model carries its causal rule or its padding in a mask. docs/measurements/benchmarks.md explains
// the method.
//   npm run bench:masks -- --filter decode   only groups whose name matches (a regular expression)
//   npm run bench:masks -- --quick           small shapes, few samples: does it run at all
//   npm run bench:masks -- --json out.json   write there; an unfiltered full run writes bench/results/masks.json
import { setNumThreads } from 'tilewise';
import { machineLines } from '../report/machine-lines.mjs';
import { resultFile, writeResult } from '../report/result-file.mjs';
import { describeMachine } from '../timing/machine.mjs';
import { interleave } from '../timing/quiet.mjs';
import { callsOf, maskGroups } from './mask-cases.mjs';
import { runOptions } from './options.mjs';

const options = runOptions();
const sampling = options.quick ? { samples: 3, minMs: 20 } : { samples: 7, minMs: 120 };
const wanted = new RegExp(options.filter);
const groups = maskGroups({ isQuick: options.quick }).filter(({ name }) => wanted.test(name));
if (options.list) {
  for (const { name } of groups) console.log(name);
  process.exit(0);
}

async function measure(group) {
  const calls = callsOf(group);
  const contenders = group.contenders.map(({ name }, i) => ({
    name,
    threads: 1,
    run(count) {
      for (let j = 0; j < count; j++) calls[i]();
    },
  }));
  const summaries = await interleave(contenders, sampling);
  return group.contenders.map(({ name, most }, i) => {
    const { median, min, max, quiet, tried, isQuiet } = summaries[i];
    const ratio = i === 0 ? undefined : median / summaries[0].median;
    return { group: group.name, name, most, ratio, ms: { median, min, max }, quiet, tried, isQuiet };
  });
}

setNumThreads(1);
const machine = await describeMachine({ samples: sampling.samples });
for (const line of machineLines(machine)) console.log(`# ${line}`);
const rows = [];
for (const group of groups) {
  console.log(`\n${group.name}`);
  for (const row of await measure(group)) {
    const { name, ratio, most, ms, quiet, tried, isQuiet } = row;
    const held = ratio ? `${ratio.toFixed(2)}x${most ? `, at most ${most}x` : ''}` : '';
    console.log(
      `  ${name.padEnd(24)} ${ms.median.toFixed(2)} ms  ${held}  ${quiet}/${tried}${isQuiet ? '' : ' NOISY'}`,
    );
    rows.push(row);
  }
}
const file = resultFile('masks.json', options);
if (file) writeResult(file, { machine, sampling, rows });
