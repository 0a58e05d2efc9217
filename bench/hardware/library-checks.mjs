// The conformance suite's random cases without a test runner, for a machine that has this folder's pack and nothing else.
// Reader: someone who wants to know whether the library is right on a machine that is borrowed for a minute.
//   node bench/hardware/library-checks.mjs cpu|cuda <cases per kind> <seconds>
// Prints a line of JSON per backend. In a checkout, TypeScript is translated on the way in; in the pack it has been.
import { existsSync } from 'node:fs';
import { register } from 'node:module';
import fc from 'fast-check';

const isChecked = existsSync(new URL('../../test/conformance/judge.ts', import.meta.url));
if (isChecked) register('../../test/conformance/typescript-loader.mjs', import.meta.url);
const load = (name) => import(`../../test/conformance/${name}.${isChecked ? 'ts' : 'js'}`);
const { backends, select } = await load('backends');
const { faultsOfCase } = await load('judge');
const { windowCases } = await load('sweep');
const { blockCases, neighborhoodCases, selectionCases, shardCases } = await load('pattern-sweep');

const [device, count, seconds] = process.argv.slice(2);
const kinds = {
  dense: windowCases,
  neighborhood: neighborhoodCases,
  s2: shardCases,
  blocks: blockCases,
  hip: selectionCases,
};
const chosen = backends.filter((backend) => backend.device === device);
if (chosen.length === 0) {
  console.log(`there is no '${device}' among ${backends.map(({ name }) => name).join(', ')}`);
  process.exitCode = 1;
}

const numRuns = Number(count);
const casesOf = Object.entries(kinds).map(([kind, cases]) => [kind, fc.sample(cases, { seed: 1, numRuns })]);

for (const backend of chosen) {
  select(backend);
  const end = performance.now() + (1000 * Number(seconds)) / chosen.length;
  const cases = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, 0]));
  const faults = [];
  for (let n = 0; n < numRuns && performance.now() < end; n++) {
    for (const [kind, drawn] of casesOf) {
      faults.push(...faultsOfCase(drawn[n], backend).map((fault) => `${kind}: ${fault}`));
      cases[kind]++;
    }
  }
  const row = {
    group: 'library',
    backend: backend.name,
    cases,
    faultCount: faults.length,
    faults: faults.slice(0, 5),
  };
  console.log(JSON.stringify(row));
  if (faults.length > 0) process.exitCode = 1;
}
