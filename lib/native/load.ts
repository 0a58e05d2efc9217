// Loading: where the package's own folder is, its addon, and why an addon does not load.
// Reader: someone whose program does not start. A bundler moves this module away from the binary, or has no URL for it; a
// runtime may be told to load no addons. Each has a cure of its own, which the error names.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TilewiseError } from '../check/errors.js';

/** The package as it was installed. */
export interface Installed {
  readonly folder: string;
  readonly version: string;
}

/**
 * The package that a module of dist/native belongs to.
 * @param url the module's; bundles in CommonJS have none
 * @throws {TilewiseError} ERR_TILEWISE_NO_BINARY
 */
export function installedAt(url: string | undefined): Installed {
  try {
    const folder = join(dirname(fileURLToPath(url as string)), '..', '..');
    const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    // Beside a bundle this is the application's.
    if (name === 'tilewise') return { folder, version };
  } catch (cause) {
    if (isDenied(cause)) throw denied(cause);
  }
  throw noBinary(
    'tilewise was bundled into another file, and its native binary was not: bundlers cannot take it along.\n' +
      'Mark tilewise as external, so that it stays in node_modules:\n' +
      '  esbuild: --external:tilewise; bun build: --external tilewise\n' +
      "  Rollup, and Vite for SSR: external: ['tilewise']\n" +
      "  webpack: externals: { tilewise: 'module tilewise' }\n" +
      "  Next.js: serverExternalPackages: ['tilewise']",
  );
}

/** The addon of the package in a folder. */
export function loadAddon({ folder }: Installed): unknown {
  try {
    // Not imported: bundlers would put their own in its place, which finds nothing at run time.
    const { createRequire } = process.getBuiltinModule('node:module');
    return createRequire(join(folder, 'package.json'))('node-gyp-build')(folder);
  } catch (cause) {
    if (isDenied(cause)) throw denied(cause);
    checkReadable(folder);
    const here = `${process.platform}-${process.arch} (Node ${process.version})`;
    throw noBinary(
      `tilewise has no native binary that loads on ${here}. Build it from source (needs CMake and a C++17 compiler):\n` +
        `  npm install --save-dev cmake-js node-addon-api && npx tilewise-build\n${reason(cause)}`,
      cause,
    );
  }
}

/** The loader takes a folder that it may not read for one that is empty. */
function checkReadable(folder: string): void {
  try {
    readdirSync(join(folder, 'prebuilds'));
  } catch (cause) {
    if (isDenied(cause)) throw denied(cause);
  }
}

const denials = new Set(['ERR_DLOPEN_DISABLED', 'ERR_ACCESS_DENIED']);

/** Whether a runtime was told not to allow something: Node by code, Deno by name. */
function isDenied(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  return denials.has((error as { code?: string }).code ?? '') || error.name === 'NotCapable';
}

const denied = (cause: Error): TilewiseError =>
  noBinary(
    'tilewise is a native addon, and this process was started without permission to load it.\n' +
      'Node.js: leave out --no-addons; with --permission add --allow-addons and --allow-fs-read for its folder.\n' +
      `Deno: add --allow-ffi, --allow-read and --allow-env.\n${reason(cause)}`,
    cause,
  );

const reason = (cause: unknown): string => `Reason: ${(cause as Error).message.trim()}`;

const noBinary = (message: string, cause?: unknown): TilewiseError =>
  new TilewiseError('ERR_TILEWISE_NO_BINARY', message, { cause });
