// The package as a user gets it: packed, installed without scripts and without tools, run; and built from source where no
// binary fits. Reader: someone who changes package.json, bin/ or scripts/prebuilds.mjs.

import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { root } from '../support/script.js';

const temporary = mkdtempSync(join(tmpdir(), 'tilewise-pack-'));
const project = join(temporary, 'project');
const installed = join(project, 'node_modules', 'tilewise');
const bare = join(temporary, 'bin');

/** npm's own script, run by this node whatever the PATH. */
const npm =
  process.env.npm_execpath ?? realpathSync(execFileSync('sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).trim());

/** The environment without what npm puts into it for scripts, and with nothing but node and sh on the PATH if `isBare`. */
function environment(isBare: boolean): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(npm_|TILEWISE_|NODE_OPTIONS|VITEST)/i.test(name));
  // A compiler cache, where CI has one, knows sources by their place below this folder.
  const cache = process.env.CCACHE_BASEDIR ? { CCACHE_BASEDIR: realpathSync(temporary) } : {};
  return { ...Object.fromEntries(kept), ...cache, ...(isBare ? { PATH: bare } : {}) };
}

/** Runs node on arguments in the user's project. */
function node(args: readonly string[], isBare = true) {
  return spawnSync(process.execPath, args, { cwd: project, env: environment(isBare), encoding: 'utf8' });
}

const program = `
  import { attention, Tensor, versions } from 'tilewise';
  const make = () => new Tensor('float32', new Float32Array(2 * 16 * 4 * 8).fill(0.25), [2, 16, 4, 8]);
  const { out, lse } = await attention(make(), make(), make(), { causal: true, returnLse: true });
  console.log(versions.tilewise, out.dims.join('x'), lse.dims.join('x'), out.data.every((x) => x === 0.25));
`;
const right = '0.1.0 2x16x4x8 2x4x16 true\n';

/** The names of versioned symbols that the binary takes from a system library, highest first. */
function symbolVersions(binary: string, library: string): string[] {
  const symbols = execFileSync('objdump', ['-T', binary], { encoding: 'utf8' });
  const found = symbols.matchAll(new RegExp(`\\b${library}_([0-9.]+)`, 'g'));
  const byNumber = new Intl.Collator('en', { numeric: true });
  return [...new Set([...found].map(([, version]) => version))].sort((a, b) => byNumber.compare(b, a));
}

beforeAll(() => {
  mkdirSync(project);
  mkdirSync(bare);
  for (const [name, path] of [
    ['node', process.execPath],
    ['sh', realpathSync('/bin/sh')],
  ])
    symlinkSync(path, join(bare, name));
  writeFileSync(join(project, 'package.json'), '{ "name": "project", "private": true, "type": "module" }');
  writeFileSync(join(project, 'program.mjs'), program);
  execFileSync(process.execPath, [join(root, 'scripts', 'prebuilds.mjs'), '--as-built'], {
    cwd: root,
    env: environment(false),
    stdio: 'pipe',
  });
  execFileSync(process.execPath, [npm, 'pack', '--pack-destination', temporary], {
    cwd: root,
    env: environment(false),
    stdio: 'pipe',
  });
});

afterAll(() => rmSync(temporary, { recursive: true, force: true }));

describe('the packed tarball', () => {
  it('installs without scripts and without tools, and runs', () => {
    const tarball = readdirSync(temporary).find((name) => name.endsWith('.tgz'))!;
    const { status, stderr } = node([npm, 'install', '--ignore-scripts', '--prefer-offline', join(temporary, tarball)]);
    expect(status, stderr).toBe(0);
    expect(node(['program.mjs'])).toMatchObject({ status: 0, stdout: right, stderr: '' });
  });

  it('is all there is to install, save the loader', () => {
    expect(readdirSync(join(project, 'node_modules')).filter((name) => !name.startsWith('.'))).toEqual([
      'node-gyp-build',
      'tilewise',
    ]);
  });

  it('holds the sources, the binary, types, and nothing of the workshop', () => {
    const names = readdirSync(installed);
    for (const name of [
      'dist',
      'core',
      'cpu',
      'cuda',
      'binding',
      'CMakeLists.txt',
      'prebuilds',
      'bin',
      'LICENSE',
      'CHANGELOG.md',
    ]) {
      expect(names).toContain(name);
    }
    for (const name of ['test', 'lib', 'build', 'scripts', 'node_modules']) expect(names).not.toContain(name);
  });

  it('holds every page that its README, its guides and its reference link to', () => {
    const pages = readdirSync(installed, { recursive: true, encoding: 'utf8' }).filter((name) =>
      /^(README\.md|docs\/(guide|reference)\/.*\.md)$/.test(name),
    );
    expect(pages.length).toBeGreaterThan(10);
    const links = pages.flatMap((page) =>
      [...readFileSync(join(installed, page), 'utf8').matchAll(/\]\(([^)\s#]+)[^)]*\)/g)]
        .filter(([, link]) => !/^[a-z]+:/.test(link))
        .map(([, link]) => join(dirname(page), link)),
    );
    expect(links).toContain('docs/reference/api.md');
    expect(links.filter((link) => !existsSync(join(installed, link)))).toEqual([]);
  });

  it('holds one binary, and the kernel images that were built beside it', () => {
    const folder = join(installed, 'prebuilds', `${process.platform}-${process.arch}`);
    const built = join(root, 'build', 'Release', 'kernels');
    const images = existsSync(built) ? readdirSync(built) : [];
    expect(readdirSync(folder).filter((name) => name !== 'kernels')).toEqual([expect.stringMatching(/\.node$/)]);
    expect(images.length > 0 ? readdirSync(join(folder, 'kernels')) : []).toEqual(images);
    for (const image of images) {
      expect(image).toMatch(/^\w+\.(sm|compute)_\d+a?\.fatbin$/);
      expect(readFileSync(join(folder, 'kernels', image)).equals(readFileSync(join(built, image))), image).toBe(true);
    }
  });

  it('has types that compile without Float16Array and without skipLibCheck', () => {
    writeFileSync(
      join(project, 'types.mts'),
      `import { attention, attentionSync, Tensor, type AttentionResult } from 'tilewise';
       import { fuse, type FusedSession, type Ort } from 'tilewise/onnxruntime';
       import { openSafetensors, writeSafetensors, type SafetensorsEntry } from 'tilewise/safetensors';
       class Theirs { constructor(readonly type: string, readonly data: unknown, readonly dims: readonly number[]) {} }
       const q = new Tensor('float32', new Float32Array(8), [1, 2, 1, 4]);
       const numbers: Float32Array = q.data;
       const plain: Promise<AttentionResult> = attention(q, { dtype: 'float32', data: numbers, shape: [1, 2, 1, 4] }, q);
       const theirs: Theirs = attentionSync(q, q, q, { Tensor: Theirs }).out;
       const lse: Tensor = attentionSync(q, q, q, { returnLse: true }).lse;
       const moved: Promise<Tensor<'float32'>> = q.to('cuda:1');
       const back: Promise<Float32Array> = moved.then((tensor) => tensor.getData());
       q[Symbol.dispose]();
       writeSafetensors('w.safetensors', { q }, { metadata: { of: 'q' } });
       const fused = (ort: Ort): Promise<FusedSession> => fuse(ort, 'model.onnx', { only: (site) => site.mask === 'causal' });
       const entry: SafetensorsEntry | undefined = openSafetensors('w.safetensors').entries.get('q');
       // @ts-expect-error: a misspelled device
       q.to('gpu');
       // @ts-expect-error: a misspelled option
       attentionSync(q, q, q, { casual: true });
       // @ts-expect-error: lse is there only when asked for
       attentionSync(q, q, q).lse.data;
       export { back, entry, fused, lse, plain, theirs };`,
    );
    const { status, stdout } = node([
      join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
      ...['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext', '--target', 'es2022'],
      ...[
        '--typeRoots',
        join(root, 'node_modules', '@types'),
        '--types',
        'node',
        '--skipLibCheck',
        'false',
        'types.mts',
      ],
    ]);
    expect(status, stdout).toBe(0);
  });

  it.runIf(process.platform === 'linux')(
    'asks for no newer system libraries than Debian 12 and Ubuntu 22.04 have',
    () => {
      const folder = join(installed, 'prebuilds', `${process.platform}-${process.arch}`);
      const binary = join(folder, readdirSync(folder).find((name) => name.endsWith('.node'))!);
      const atMost = (found: string, most: string) =>
        expect(
          new Intl.Collator('en', { numeric: true }).compare(found, most),
          `${found} > ${most}`,
        ).toBeLessThanOrEqual(0);
      atMost(symbolVersions(binary, 'GLIBC')[0], '2.35');
      atMost(symbolVersions(binary, 'GLIBCXX')[0], '3.4.30');
    },
  );
});

describe('where no binary fits', () => {
  const command = 'npm install --save-dev cmake-js node-addon-api && npx tilewise-build';

  it('one clear error names the command', () => {
    rmSync(join(installed, 'prebuilds'), { recursive: true });
    const { status, stderr } = node(['program.mjs']);
    expect(status).toBe(1);
    expect(stderr).toContain('ERR_TILEWISE_NO_BINARY');
    expect(stderr).toContain(`${process.platform}-${process.arch}`);
    expect(stderr).toContain(command);
  });

  it('its second half alone says what is missing', () => {
    const { status, stderr } = node([join(installed, 'bin', 'build.mjs')]);
    expect(status).toBe(1);
    expect(stderr).toContain('node-addon-api');
    expect(stderr).toContain(command);
  });

  it('the command builds from source, and the program runs', () => {
    const steps = command.split(' && ').map((step) => step.split(' ').slice(1));
    const install = node([npm, ...steps[0], '--prefer-offline'], false);
    expect(install.status, install.stderr).toBe(0);
    // Kernel images take minutes, and another test has seen to them.
    const build = node([npm, 'exec', '--', ...steps[1], '--CDTILEWISE_CUDA=OFF'], false);
    expect(build.status, build.stdout + build.stderr).toBe(0);
    expect(node(['program.mjs'])).toMatchObject({ status: 0, stdout: right, stderr: '' });
  });
});
