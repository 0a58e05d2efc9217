// The documents say what is so: links lead somewhere, examples run and print what their comments say, generated pages are
// what their scripts would write. Reader: someone who edits a page.

import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (page: string): string => readFileSync(path.join(root, page), 'utf8');
const under = (folder: string): string[] =>
  readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
    .map((name) => path.posix.join(folder, name.replaceAll(path.sep, '/')));
const guides = under('docs/guide');
const rooms = ['bench', 'docs', 'emulator', 'test'].filter((room) => existsSync(path.join(root, room)));
const pages = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...rooms.flatMap(under)];

/** The anchor that GitHub gives a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');

function anchorsOf(page: string): Set<string> {
  const text = read(page).replace(/```[\s\S]*?```/g, '');
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading));
  const named = [...text.matchAll(/<a id="([^"]+)">/g)].map(([, id]) => id);
  return new Set([...headings, ...named]);
}

describe('links', () => {
  // TypeDoc answers for the links inside its own pages.
  const printed = ['api', 'safetensors', 'onnxruntime'].map((name) => `docs/reference/${name}.md`);
  for (const page of pages.filter((name) => !printed.includes(name))) {
    it(`${page} links to files and headings that exist`, () => {
      const dead = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, link]) => link)
        .filter((link) => !/^[a-z]+:/.test(link))
        .filter((link) => {
          const [file, anchor] = link.split('#');
          const target = file ? path.posix.join(path.posix.dirname(page), file) : page;
          return !existsSync(path.join(root, target)) || (anchor && !anchorsOf(target).has(anchor));
        });
      expect(dead).toEqual([]);
    });
  }
});

describe('paths', () => {
  // A path with a placeholder, `<name>` or `*`, names no file.
  const named = /`((?:core|cpu|cuda|emulator|binding|lib|test|bench|scripts|bin|cmake|docs|examples)\/[\w-][\w./-]*)`/g;
  for (const page of pages) {
    it(`${page} names files and folders that exist`, () => {
      const missing = [...read(page).matchAll(named)]
        .map(([, name]) => name)
        .filter((name) => !existsSync(path.join(root, name)));
      expect(missing).toEqual([]);
    });
  }
});

describe('examples', () => {
  for (const page of guides) {
    const examples = [...read(page).matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code);
    const whole = examples.filter((code) => code.startsWith('import '));
    if (whole.length === 0) continue;
    it(`${page}: each example that begins with its import runs and prints what its comments say`, () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'tilewise-docs-'));
      try {
        mkdirSync(path.join(folder, 'node_modules'));
        symlinkSync(root, path.join(folder, 'node_modules', 'tilewise'), 'junction');
        for (const code of whole) {
          writeFileSync(path.join(folder, 'example.mjs'), code);
          const printed = execFileSync(process.execPath, ['example.mjs'], { cwd: folder, encoding: 'utf8' });
          const comments = [...code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map(([, said]) => said);
          expect(printed.trim().split('\n')).toEqual(comments);
        }
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  }
});

describe('generated pages', () => {
  const check = (script: string): string => {
    const { status, stderr } = spawnSync(process.execPath, [path.join(root, script), '--check'], {
      encoding: 'utf8',
    });
    return status === 0 ? '' : stderr;
  };

  it('docs/reference and the picture are what the code and its docstrings say', () => {
    expect(check('docs/reference/generate.mjs')).toBe('');
  });

  it("RESULTS.md, targets.md and the README's ratios are what bench/results says", () => {
    expect(check('bench/report/report.mjs')).toBe('');
  });
});
