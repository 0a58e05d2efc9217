// Repeats one case of the conformance suite without the test runner, for debuggers and bisecting:
//     node test/conformance/repro.mjs '<case as JSON>' ['<backend>']
// Reader: someone with a failure in front of them. Prints what is wrong and exits with 1, or says that nothing is.

import { register } from 'node:module';

register('./typescript-loader.mjs', import.meta.url);
const { backends, select } = await import('./backends.ts');
const { faultsOfCase } = await import('./judge.ts');

const [json, name] = process.argv.slice(2);
if (json === undefined) {
  console.error(`usage: node test/conformance/repro.mjs '<case>' ['<backend>']
backends here: ${backends.map((backend) => backend.name).join(', ')}`);
  process.exit(2);
}
const c = JSON.parse(json);
const chosen = backends.filter((backend) => name === undefined || backend.name === name);
if (chosen.length === 0)
  throw new Error(`no backend '${name}' here; there are ${backends.map((b) => b.name).join(', ')}`);

for (const backend of chosen) {
  select(backend);
  const faults = faultsOfCase(c, backend);
  console.log(`${backend.name}: ${faults.length === 0 ? 'right' : faults.join('\n')}`);
  if (faults.length > 0) process.exitCode = 1;
}
