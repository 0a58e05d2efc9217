// Searches the machine code of a build for shuffles, barriers and matrix instructions that only some lanes of a warp reach:
// what the sources' tests cannot see is what ptxas made of them. Needs no GPU. Reader: someone whose kernel is named.
// Usage: node scripts/machine-code.mjs [folder of cubins, build/kernel-logs]. Of sm_80 and sm_90a; other architectures have
// encodings of their own. It finds mistakes and proves nothing (machine-code/lanes.mjs says what it leaves out).
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { readCubin } from './machine-code/cubin.mjs';
import { divergenceOf } from './machine-code/divergence.mjs';
import { root } from './trees.mjs';

const folder = path.resolve(root, process.argv[2] ?? 'build/kernel-logs');
const hex = (number) => `0x${number.toString(16)}`;
let [kernels, collectives, failed] = [0, 0, 0];
const unknown = new Map();
for (const file of readdirSync(folder).filter((name) => /\.sm_(80|90a)\.cubin$/.test(name))) {
  for (const [kernel, { code }] of readCubin(readFileSync(path.join(folder, file)))) {
    const result = divergenceOf(code, file.includes('.sm_90a.'));
    kernels += 1;
    collectives += result.collectives;
    failed += result.found.length;
    for (const opcode of result.unknown) unknown.set(opcode, (unknown.get(opcode) ?? 0) + 1);
    for (const { at, name, parted } of result.found) {
      console.log(`${file}: ${kernel}: ${name} at ${hex(at)}, where only some lanes go since ${hex(parted)}`);
    }
  }
}
for (const [opcode, count] of unknown) console.log(`opcode ${hex(opcode)} is not in the table: ${count} times`);
console.log(`machine code: ${kernels} kernels, ${collectives} instructions of a whole warp, ${failed} failed`);
process.exit(kernels > 0 && failed === 0 ? 0 : 1);
