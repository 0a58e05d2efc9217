// Runs the checks of a kernel on PTX text, and says what they noticed.
// Reader: scripts/ptx-mutants.mjs.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

// What a message of the checks says, the first that fits.
const kinds = [
  ['refused', /^.*line \d+ of the PTX: .* (?:is not known|reads a register that nothing writes)/],
  ['race', /: race, /],
  ['deadlock', /: deadlock/],
  ['time-out', /runs for ever/],
  ['other bits', /the machines differ/],
  ['fault', /block \d+ (?:thread|warp) \d+|launched with|outside every allocation/],
];

/**
 * Runs a program until it ends or its time is over.
 * @returns {Promise<{ isOk: boolean, kind?: string, message?: string, seconds: number }>}
 */
export function runCheck({ program, args }, env, seconds) {
  return new Promise((resolve, reject) => {
    const begin = performance.now();
    const child = spawn(program, args.map(String), {
      env: { ...process.env, ...env },
      timeout: Math.ceil(seconds * 1000),
      killSignal: 'SIGKILL',
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => {
        output += data;
      });
    }
    child.on('error', reject);
    child.on('close', (status, signal) => {
      const taken = (performance.now() - begin) / 1000;
      if (status === 0) return resolve({ isOk: true, seconds: taken });
      if (child.killed) return resolve({ isOk: false, kind: 'time-out', message: 'did not end', seconds: taken });
      const kind = signal ? 'crash' : (kinds.find(([, form]) => form.test(output))?.[0] ?? 'wrong values');
      const message = output.split('\n').find((line) => line && !/^(?:#|ok\b)/.test(line));
      return resolve({ isOk: false, kind, message, seconds: taken });
    });
  });
}

/** Writes a module into a folder of its own. */
export function writeModule(folder, module, lines) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, `${module}.ptx`), lines.join('\n'));
}

/** The lines of a module with some of its kernels alone: what is outside kernels stays. */
export function onlyKernels(lines, kernels) {
  const kept = [];
  let isKept = true;
  for (const line of lines) {
    const entry = /\.entry (\w+)\(/.exec(line);
    if (entry) isKept = kernels.includes(entry[1]);
    if (isKept) kept.push(line);
    if (line === '}') isKept = true;
  }
  return kept;
}

/** The texts that a program of nvcc carries. */
export const embeddedTexts = (program) => readFileSync(program, 'latin1').match(/\.version \d[^\0]*/g) ?? [];

/** The names of a module's kernels. */
export const entriesOf = (lines) => lines.flatMap((line) => /\.entry (\w+)\(/.exec(line)?.[1] ?? []);
