// Runs a script in a Node of its own, for what a test cannot do to the process it runs in: exit, crash, leak, be alone.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Ended {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** What every script may use: the package, and q, k, v of a call that takes `tokens` squared. */
const prelude = `
  const importTilewise = () => import(${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)});
  const operands = (tokens, heads = 8, dim = 64) => {
    const make = () => ({ type: 'float32', data: new Float32Array(tokens * heads * dim).fill(0.5), dims: [1, tokens, heads, dim] });
    return [make(), make(), make()];
  };
`;

/** How a script is run. */
interface Surroundings {
  /** Added to the environment. */
  readonly env?: NodeJS.ProcessEnv;
  /** What `ulimit` is told before, by its letters: -v KiB of addresses, -s KiB of the stacks of threads. */
  readonly limits?: { readonly v?: number; readonly s?: number };
}

/** Runs an ES module given as text; `flags` go to Node. Fails when it hangs, for five minutes. */
export function runScript(
  source: string,
  flags: readonly string[] = [],
  { env, limits }: Surroundings = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const node = [process.execPath, ...flags, '--input-type=module', '--eval', prelude + source];
    const told = Object.entries(limits ?? {}).map(([letter, value]) => `ulimit -${letter} ${value}; `);
    const [command, ...args] = ['sh', '-c', `${told.join('')}exec "$@"`, 'sh', ...node];
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      timeout: 300_000,
      killSignal: 'SIGKILL',
    });
    const ended: Ended = { code: null, signal: null, stdout: '', stderr: '' };
    child.stdout.on('data', (text) => {
      ended.stdout += text;
    });
    child.stderr.on('data', (text) => {
      ended.stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ ...ended, code, signal }));
  });
}

/** The prelude as text, for scripts that start workers. */
export const workerPrelude = prelude;
