// Loading the package where something stands against it: bundles, permissions, the environment.
// Reader: someone whose program does not start.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { TilewiseError } from '../../dist/index.js';
import { installedAt } from '../../dist/native/load.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { root, runScript } from '../support/script.js';

const app = mkdtempSync(join(tmpdir(), 'tilewise-app-'));
mkdirSync(join(app, 'out', 'server'), { recursive: true });
writeFileSync(join(app, 'package.json'), '{ "name": "application", "version": "9.9.9" }');
afterAll(() => rmSync(app, { recursive: true }));

describe('a bundle that has tilewise inside', () => {
  const says = ['external', "serverExternalPackages: ['tilewise']", '--external:tilewise'];
  const bundles: Record<string, string | undefined> = {
    'in CommonJS has no URL': undefined,
    'is no file': 'webpack://application/node_modules/tilewise/dist/native/native.js',
    'is beside no package': pathToFileURL(join(app, 'out', 'server', 'chunks', 'bundle.mjs')).href,
    "is beside the application's package.json, whose version is not ours": pathToFileURL(
      join(app, 'out', 'server', 'bundle.mjs'),
    ).href,
  };
  for (const [what, url] of Object.entries(bundles)) {
    it(what, () => {
      expectError(
        thrownBy(() => installedAt(url)),
        { code: 'ERR_TILEWISE_NO_BINARY', says },
      );
    });
  }
});

describe('a process that may not load addons', () => {
  const load = 'importTilewise().then(() => console.log("loaded"), ({ code, message }) => console.log(code, message))';
  const told = async (...flags: string[]) => {
    const { stdout } = await runScript(load, flags);
    expect(stdout).toContain('ERR_TILEWISE_NO_BINARY');
    expect(stdout).toContain('permission');
    expect(stdout).not.toContain('from source');
    return stdout;
  };
  const isOld = process.versions.node.startsWith('20.');
  const permission = isOld ? '--experimental-permission' : '--permission';

  it('is told so with --no-addons', async () => {
    expect(await told('--no-addons')).toContain('--no-addons');
  });

  it('is told so with --permission', async () => {
    expect(await told(permission, '--allow-fs-read=*')).toContain('--allow-addons');
  });

  it('is told so when it may read our code alone', async () => {
    const own = ['dist/*', 'package.json'];
    expect(
      await told(permission, '--allow-addons', ...own.map((path) => `--allow-fs-read=${join(root, path)}`)),
    ).toContain('--allow-fs-read');
  });
});

describe('TILEWISE_NUM_THREADS', () => {
  const threads = async (asked: string, then = '') => {
    const source = `
      const { numThreads, setNumThreads } = await importTilewise();
      ${then}
      console.log(numThreads());`;
    return runScript(source, [], { env: { TILEWISE_NUM_THREADS: asked } });
  };

  it('sets the threads of a process that says nothing itself', async () => {
    expect(await threads('3')).toMatchObject({ stdout: '3\n', stderr: '' });
    expect(await threads('3', 'setNumThreads(5);')).toMatchObject({ stdout: '5\n' });
  });

  it('does not undo setNumThreads() when a worker loads the package', async () => {
    const then = `
      setNumThreads(5);
      const { Worker } = await import('node:worker_threads');
      const url = ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)};
      await new Promise((done) => new Worker(\`import(\${JSON.stringify(url)})\`, { eval: true, execArgv: [] }).on('exit', done));`;
    expect(await threads('3', then)).toMatchObject({ stdout: '5\n', stderr: '' });
  });

  it('is nothing when empty, and an error when it is no number of threads', async () => {
    expect((await threads('')).code).toBe(0);
    for (const wrong of ['0', '1025', '-1', '2.5', 'all', '0x2']) {
      const { code, stderr } = await threads(wrong);
      expect(code).toBe(1);
      expect(stderr).toContain('ERR_TILEWISE_INVALID_OPTION');
      expect(stderr).toContain('`TILEWISE_NUM_THREADS` must be a whole number from 1 to 1024');
    }
  });
});

it('an error without reasons prints none', () => {
  expect(inspect(new TilewiseError('ERR_TILEWISE_FAILED', 'no'))).not.toContain('reasons');
  expect(new TilewiseError('ERR_TILEWISE_FAILED', 'no').reasons).toBeUndefined();
  expect(new TilewiseError('ERR_TILEWISE_UNSUPPORTED', 'no', { reasons: ['a'] }).reasons).toEqual(['a']);
});
