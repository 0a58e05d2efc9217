// Builds the fake driver (test/fake-driver), makes kernel images for it and runs programs on it.
// Reader: someone who writes a test of the CUDA runtime. Every scenario is a process of its own: a driver is loaded once.

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { root } from './script.js';

/** One for each worker of the test runner, since two may build at a time. */
const build = join(root, 'build', 'fake-driver', process.env.VITEST_POOL_ID ?? '1');
export const library = join(build, 'fake_driver.so');

/** A folder of this test file, gone when it has run. */
export const scratch = mkdtempSync(join(tmpdir(), 'tilewise-fake-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Builds the driver and the program that runs the runtime on it. */
export function buildFakeDriver(): void {
  execFileSync('cmake', ['-S', join(root, 'test', 'fake-driver'), '-B', build], { stdio: 'pipe' });
  execFileSync('cmake', ['--build', build, '--parallel', '2'], { stdio: 'pipe' });
}

/** A fatbin that says for which architecture it is and which kernels it has, as far as the fake driver looks. */
function image(architecture: string, kernels: string): Buffer {
  const [kind, number] = architecture.split('_');
  const content = Buffer.from(kernels === 'any kernel' ? kernels : `kernel ${kernels}`);
  const entry = Buffer.alloc(64);
  entry.writeUInt16LE(kind === 'compute' ? 1 : 2, 0);
  entry.writeUInt32LE(entry.length, 4);
  entry.writeBigUInt64LE(BigInt(content.length), 8);
  entry.writeUInt32LE(Number.parseInt(number, 10), 28);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(0xba55ed50, 0);
  header.writeUInt16LE(1, 4);
  header.writeUInt16LE(header.length, 6);
  header.writeBigUInt64LE(BigInt(entry.length + content.length), 8);
  return Buffer.concat([header, entry, content]);
}

export const shipped = ['sm_80', 'sm_86', 'sm_90a', 'sm_100', 'sm_120', 'compute_80'];

/** A folder with an image of each module for each architecture; what `kernels` names is in them, or 'any kernel'. */
export function makeKernels({
  architectures = shipped,
  kernels = 'touch',
  modules = ['probe'],
  folder = mkdtempSync(join(scratch, 'kernels-')),
}: {
  architectures?: readonly string[];
  kernels?: string;
  modules?: readonly string[];
  folder?: string;
} = {}): string {
  mkdirSync(folder, { recursive: true });
  for (const module of modules) {
    for (const architecture of architectures) {
      writeFileSync(join(folder, `${module}.${architecture}.fatbin`), image(architecture, kernels));
    }
  }
  return folder;
}

/** What the fake driver saw; balances are 0 when everything was given back. */
export interface Report {
  /** Bytes on GPUs. */
  memory: number;
  pinned: number;
  streams: number;
  /** Contexts pushed and not popped. */
  contexts: number;
  /** The first thing that a real driver would not have taken. */
  misuse: string;
  /** "<device> <kernel>" of every launch. */
  launches: string[];
  calls: Record<string, number>;
}

export interface Outcome {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
  report: Report;
}

/** Runs a program on the fake driver, or on `library` if that is given. `fake`: the settings that fake_driver.cc lists. */
export function runOnFake(
  command: readonly string[],
  fake: Record<string, string | number> = {},
  environment: NodeJS.ProcessEnv = {},
): Promise<Outcome> {
  const file = join(mkdtempSync(join(scratch, 'report-')), 'report.json');
  const settings = Object.entries(fake).map(([name, value]) => `${name}=${value}`);
  return new Promise((resolve, reject) => {
    const child = spawn(command[0], command.slice(1), {
      cwd: root,
      timeout: 300_000,
      killSignal: 'SIGKILL',
      env: {
        ...process.env,
        TILEWISE_LIBCUDA: library,
        TILEWISE_FAKE: settings.join(';'),
        TILEWISE_FAKE_REPORT: file,
        ...environment,
      },
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (text) => {
      stdout += text;
    });
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      let report = {} as Report;
      try {
        report = JSON.parse(readFileSync(file, 'utf8')) as Report;
      } catch {
        // The library never was one of ours, or the process was killed: its exit says so.
      }
      resolve({ code, signal, stdout, stderr, report });
    });
  });
}

export interface Device {
  name: string;
  isAvailable: boolean;
  code: string | null;
  reason: string;
}

export interface Answer {
  command: string;
  /** Of the error, empty when there was none. */
  code: string;
  message: string;
}

/** Runs commands of driver_program.cc; fails unless the program ends well and leaves nothing behind. */
export async function runCommands(
  commands: readonly string[],
  fake: Record<string, string | number> = {},
  { kernels = makeKernels(), environment = {} }: { kernels?: string; environment?: NodeJS.ProcessEnv } = {},
): Promise<{ devices: Device[]; answers: Answer[]; report: Report }> {
  const outcome = await runOnFake([join(build, 'driver_program'), kernels, ...commands], fake, environment);
  if (outcome.code !== 0)
    throw new Error(`driver_program ended with ${outcome.signal ?? outcome.code}: ${outcome.stderr}`);
  const lines = outcome.stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Device | Answer);
  return {
    devices: lines.filter((line): line is Device => 'name' in line),
    answers: lines.filter((line): line is Answer => 'command' in line),
    report: outcome.report,
  };
}
