// The conformance suite's random cases without a test runner, for a machine that has this folder's pack and no packages.
// Reader: someone who wants to know whether the library is right on a machine that is borrowed for a minute.
//   node bench/hardware/library-checks.mjs cpu|cuda <cases per kind> <seconds>
// Prints a line of JSON per backend. In a checkout, TypeScript is translated on the way in; in the pack it has been.
import { existsSync } from 'node:fs';
import { register } from 'node:module';

const isChecked = existsSync(new URL('../../test/conformance/judge.ts', import.meta.url));
if (isChecked) register('../../test/conformance/typescript-loader.mjs', import.meta.url);
const load = (name) => import(`../../test/conformance/${name}.${isChecked ? 'ts' : 'js'}`);
const { backends, select } = await load('backends');
const { faultsOfCase } = await load('judge');
const { randomCase } = await load('sweep');
const { randomBlocks, randomHip, randomNeighborhood, randomShards } = await load('pattern-sweep');

const [device, count, seconds] = process.argv.slice(2);
const kinds = {
  dense: randomCase,
  neighborhood: randomNeighborhood,
  s2: randomShards,
  blocks: randomBlocks,
  hip: randomHip,
};
const chosen = backends.filter((backend) => backend.device === device);
if (chosen.length === 0) {
  console.log(`there is no '${device}' among ${backends.map(({ name }) => name).join(', ')}`);
  process.exitCode = 1;
}

for (const backend of chosen) {
  select(backend);
  const end = performance.now() + (1000 * Number(seconds)) / chosen.length;
  const cases = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, 0]));
  const faults = [];
  for (let seed = 1; seed <= Number(count) && performance.now() < end; seed++) {
    for (const [kind, make] of Object.entries(kinds)) {
      faults.push(...faultsOfCase(make(seed), backend).map((fault) => `${kind}: ${fault}`));
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
