// Lists the opcodes in the PTX that nvcc makes of the kernels (build/kernel-ptx, of a release build), each of which must have
// a test: test/native/emulator/ptx. The list is committed, for machines without nvcc.
// Usage: node scripts/ptx-opcodes.mjs, when the C++ checks of the emulator say that the list is old.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './trees.mjs';

const list = path.join(root, 'test', 'native', 'emulator', 'ptx', 'opcodes_in_use.inc');
const folder = path.join(root, 'build', 'kernel-ptx');

// The first word of a statement, behind its guard; labels, directives and operands are none.
const statement = /(?:^|[;{}:])\s*(?:@!?[%\w]+\s+)?([a-z]\w*(?:(?:\.|::)\w+)*)(?=[\s;])/gm;

/** Names with all modifiers, sorted; none where there is no PTX. */
function opcodesInUse() {
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.ptx')) : [];
  const names = new Set();
  for (const file of files) {
    const text = readFileSync(path.join(folder, file), 'utf8').replaceAll(/\/\/.*$/gm, '');
    for (const [, name] of text.matchAll(statement)) names.add(name);
  }
  return [...names].sort();
}

const listed = () => [...readFileSync(list, 'utf8').matchAll(/^"(.+)",$/gm)].map(([, name]) => name);

/** Says what the list lacks and what it has too many; without PTX there is nothing to compare. */
export function isListOfOpcodesTrue() {
  const used = opcodesInUse();
  if (used.length === 0) {
    console.log('opcodes in use: no build/kernel-ptx to compare the list with');
    return true;
  }
  const known = listed();
  const wrong = [
    ...used.filter((name) => !known.includes(name)).map((name) => `${name} is not listed`),
    ...known.filter((name) => !used.includes(name)).map((name) => `${name} is not used`),
  ];
  for (const what of wrong) console.log(`opcodes in use: ${what}; node scripts/ptx-opcodes.mjs writes the list`);
  console.log(`opcodes in use: ${used.length}, as listed: ${wrong.length === 0}`);
  return wrong.length === 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const used = opcodesInUse();
  if (used.length === 0) throw new Error('build the addon with nvcc first: there is no PTX in build/kernel-ptx');
  writeFileSync(list, `// Written by scripts/ptx-opcodes.mjs.\n${used.map((name) => `"${name}",\n`).join('')}`);
  console.log(`${used.length} opcodes`);
}
