// Finds a Python with torch and drives bench/peers/torch-peer.py in it.
// Reader: someone whose torch was not found. PYTHON names the interpreter; else python3 and python on the PATH.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('torch-peer.py', import.meta.url));

function findPython() {
  const candidates = process.env.PYTHON ? [process.env.PYTHON] : ['python3', 'python'];
  for (const python of candidates) {
    const probe = spawnSync(python, ['-c', 'import torch; print(torch.__version__)'], { encoding: 'utf8' });
    if (probe.status === 0) return { python, version: probe.stdout.trim() };
  }
  return null;
}

/**
 * @returns {Promise<{version: string, ask(command: object): Promise<object>, end(): Promise<void>} | null>} null when no
 *   Python with torch is found. ask() sends one command of torch-peer.py and gives its answer.
 */
export async function startTorch() {
  const found = findPython();
  if (!found) return null;
  const child = spawn(found.python, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    version: found.version,
    async ask(command) {
      child.stdin.write(`${JSON.stringify(command)}\n`);
      const { value, done } = await answers.next();
      if (done) throw new Error(`torch-peer.py ended while asked to ${command.op}`);
      return JSON.parse(value);
    },
    async end() {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}
