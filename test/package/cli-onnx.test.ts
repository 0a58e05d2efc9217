// `tilewise onnx`: what it prints of each exporter's graph, and how it says no. With onnxruntime, --check, it is run by test/clients.
// Reader: someone who adds a column to bin/onnx/report.mjs.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { causal, explain } from '../../dist/index.js';
import { root } from '../support/script.js';

const { bin } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { bin: Record<string, string> };
const fixtures = path.join(root, 'test', 'clients', 'fixtures');
const folder = mkdtempSync(path.join(tmpdir(), 'tilewise-onnx-'));
afterAll(() => rmSync(folder, { recursive: true }));

const tilewise = (...args: string[]) =>
  spawnSync(process.execPath, [path.join(root, bin.tilewise), 'onnx', ...args], { cwd: folder, encoding: 'utf8' });

function printed(...args: string[]): string {
  const { status, stdout, stderr } = tilewise(...args);
  expect([status, stderr]).toEqual([0, '']);
  return stdout;
}

const fixture = (name: string) => path.join(fixtures, `${name}.onnx`);

describe('tilewise onnx', () => {
  it('prints a table of the attentions of a model, and what explain() says', () => {
    const said = printed(fixture('clip-sdpa-dynamo23'));
    const [table, ...rest] = said.split('\n\n').slice(1);
    expect(said.split('\n')[0]).toBe('clip-sdpa-dynamo23.onnx: 2 attentions, 2 of them swappable');
    expect(table.split('\n')).toEqual([
      'node                                 written as  heads  dim  mask    swap  tokens  scores   gain',
      'node_scaled_dot_product_attention    Attention   4      16   causal  yes   12      4.61 kB  1.00x',
      'node_scaled_dot_product_attention_1  Attention   4      16   causal  yes   12      4.61 kB  1.00x',
    ]);
    // 2 x 4 x 12 x 12 scores of four bytes.
    expect(4 * 2 * 4 * 12 * 12).toBe(4608);
    const shape = { batch: 2, queries: 12, keys: 12, queryHeads: 4, kvHeads: 4, headDim: 16 };
    const explanation = explain(causal({ align: 'top-left' }), shape);
    expect(rest.join('\n')).toContain('node_scaled_dot_product_attention and 1 more\n  pattern ');
    expect(rest.join('\n')).toContain(/speed-up.*/.exec(String(explanation))![0]);
  });

  it.each(readdirSync(fixtures).filter((name) => name.endsWith('.onnx')))(
    'has a row for each attention of %s',
    (name) => {
      const table = printed(path.join(fixtures, name)).split('\n\n')[1].split('\n').slice(1);
      expect(table).toHaveLength(2);
      // The two KV heads of Llama's are repeated in the graph, and read before that.
      const heads = name.startsWith('llama') ? '4/2' : '4';
      for (const row of table) {
        expect(row.split(/ {2,}/)[2]).toBe(heads);
        expect(row).toMatch(
          /^\S+ +(decomposed|Attention) +\S+ +16 +\w+ +yes +\d+ +[\d.]+ [kM]B +1\.00x( to 1\.\d\dx)?$/,
        );
      }
    },
  );

  it('counts with the tokens that are asked for, where a run decides: a mask may be causal', () => {
    const file = fixture('bert-eager-script17');
    const shape = { queries: 2048, keys: 2048, queryHeads: 4, kvHeads: 4, headDim: 16 };
    const most = explain(causal(), shape).idealSpeedup.average.toFixed(2);
    expect(printed('--tokens', '2k', file)).toMatch(new RegExp(`boolean +yes +2048 +67.1 MB +1.00x to ${most}x\n`));
    expect(printed(file)).toMatch(/boolean +yes +512 +4.19 MB/);
  });

  it('--json prints everything', () => {
    const { name, opset, sites, missing } = JSON.parse(printed('--json', fixture('t5-eager-script17')));
    expect([name, opset, missing]).toEqual(['t5-eager-script17.onnx', 17, []]);
    const site = {
      ...{ kind: 'decomposed', queryHeads: 4, headDim: 16, mask: 'additive', isSwappable: true },
      ...{ shape: { batch: 1, queries: 512, keys: 512 }, scoreBytes: 4 * 4 * 512 * 512, gain: { least: 1, most: 1 } },
      explanation: { pairs: { dense: 512 * 512 } },
    };
    expect(sites).toMatchObject([site, site]);
  });
});

describe('mistakes are one line and exit code 2', () => {
  it.each<[string[], string]>([
    [[], 'one model.onnx is needed'],
    [['a', 'b'], 'one model.onnx is needed'],
    [['missing.onnx'], 'ENOENT'],
    [['--wrong', 'a'], '--wrong'],
    [['--tokens', 'many', 'a'], "--tokens must be a whole number from 1, not 'many'"],
    [['--tokens', '0', 'a'], '--tokens'],
    [['--lengths', 'batch=2', 'a'], '--lengths is for --check'],
    [['--check', '--lengths', 'batch', 'a'], "--lengths must be a whole number from 0, not ''"],
    [[`${fixture('t5-eager-script17')}.json`], 'ModelProto is not readable'],
    [
      ['--check', fixture('t5-eager-script17')],
      '--check needs onnxruntime in this folder: npm install onnxruntime-node',
    ],
  ])('%j', (args, says) => {
    const { status, stdout, stderr } = tilewise(...args);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^tilewise: [^\n]+\n$/);
    expect(stderr).toContain(says);
  });
});
