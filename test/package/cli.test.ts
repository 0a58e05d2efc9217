// `tilewise explain`: what the command line prints and writes, and how it says no: one line, exit code 2.
// Reader: someone who adds an option to bin/commands/explain.mjs.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  attentionSlices,
  causal,
  documents,
  explain,
  hierarchical,
  neighborhood,
  power,
  sampledBlocks,
  slidingWindow,
  stridedShards,
} from '../../dist/index.js';
import { root } from '../support/script.js';

const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { bin: Record<string, string> };
const folder = mkdtempSync(join(tmpdir(), 'tilewise-cli-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs the command that the package installs as `tilewise`. */
function tilewise(line: string) {
  return spawnSync(process.execPath, [join(root, bin.tilewise), ...line.split(' ').filter(Boolean)], {
    cwd: folder,
    encoding: 'utf8',
  });
}

function printed(line: string): string {
  const { status, stdout, stderr } = tilewise(line);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return stdout;
}

const one = { queryHeads: 1, kvHeads: 1, headDim: 64 };
const count = (begin: number, end: number) => Array.from({ length: end - begin }, (_, i) => begin + i);

describe('tilewise explain', () => {
  it('prints what explain() says', () => {
    const shape = { tokens: [30, 48, 80], queryHeads: 1, kvHeads: 1, headDim: 64 };
    const window = neighborhood({ kernelSize: [18, 24, 24], stride: [16, 8, 8] });
    expect(printed('explain neighborhood --shape 30x48x80 --kernel 18x24x24 --stride 16x8x8')).toBe(
      `${explain(window, shape)}\n`,
    );
  });

  it('on tiles of one prints the published bound', () => {
    const text = printed(
      'explain neighborhood --shape 30x48x80 --kernel 18x24x24 --heads 24 --dim 128 --query-tile 4x8x8 --key-tile 2x8x8',
    );
    expect(text).toContain('5.24x over dense at best; 3.27x for the worst query tile (275 of 900 tiles)');
    expect(text).toContain('82368 of 432000 visited');
  });

  it.each([
    [
      'sliding-window --left 300 --causal --sinks 4 --queries 1000 --keys 1k --heads 8/2 --dim 64/32 --dtype float16 --batch 2',
      explain(slidingWindow({ left: 300, causal: true, sinkTokens: 4 }), {
        batch: 2,
        queryHeads: 8,
        kvHeads: 2,
        queries: 1000,
        keys: 1024,
        headDim: 64,
        valueDim: 32,
        dtype: 'float16',
      }),
    ],
    [
      'sliding-window --recent all,256 --sinks 4,0,16,0 --shape 1k --heads 4/2',
      explain(slidingWindow({ recentTokens: [Number.POSITIVE_INFINITY, 256], sinkTokens: [4, 0, 16, 0] }), {
        ...{ queryHeads: 4, kvHeads: 2, tokens: 1024, headDim: 64 },
      }),
    ],
    [
      'documents --lengths 100,250,162 --causal --shared --prefix 8 --heads 4/2',
      explain(documents({ lengths: [100, 250, 162], causal: true, shared: true, prefix: 8 }), {
        ...{ queryHeads: 4, kvHeads: 2, tokens: 512, headDim: 64 },
      }),
    ],
    [
      'documents --lengths 100,412/512 --block-causal 64 --left 99 --right 30 --global-tokens 2 --last-sees-all',
      explain(
        documents({
          ...{ lengths: [[100, 412], [512]], blockCausal: 64, window: { left: 99, right: 30 } },
          ...{ globalTokens: 2, lastSeesAll: true },
        }),
        { ...one, batch: 2, tokens: 512 },
      ),
    ],
    [
      'attention-slices --slice causal,0:100,0:100 --slice full,100:300,0:100 --slice bicausal,100:300,100:350',
      explain(
        attentionSlices([
          { q: [0, 100], k: [0, 100], kind: 'causal' },
          { q: [100, 300], k: [0, 100], kind: 'full' },
          { q: [100, 300], k: [100, 350], kind: 'bicausal' },
        ]),
        { ...one, queries: 300, keys: 350 },
      ),
    ],
    [
      'attention-slices --slice invcausal,0:1k,0:100 --queries 2k --keys 100',
      explain(attentionSlices([{ q: [0, 1024], k: [0, 100], kind: 'invcausal' }]), {
        ...{ ...one, queries: 2048, keys: 100 },
      }),
    ],
    ['power --shape 8k', explain(power(), { ...one, tokens: 8192 })],
    [
      'power --block 64 --window 3 --sink-blocks 0 --queries 128 --keys 4k --align top-left',
      explain(power({ block: 64, window: 3, sinkBlocks: 0, align: 'top-left' }), { ...one, queries: 128, keys: 4096 }),
    ],
    [
      'causal --query-positions 0:64,448:512 --key-positions 64:128,400,401',
      explain(causal(), {
        ...{ ...one, queries: 128, keys: 66 },
        positions: { queries: [...count(0, 64), ...count(448, 512)], keys: [...count(64, 128), 400, 401] },
      }),
    ],
    [
      'power --block 16 --query-positions 96:128 --key-positions 0:128 --queries 32 --keys 128',
      explain(power({ block: 16 }), {
        ...{ ...one, queries: 32, keys: 128 },
        positions: { queries: count(96, 128), keys: count(0, 128) },
      }),
    ],
    [
      'causal --query-lengths 1,1,128 --key-lengths 400,20,1k --heads 8/2 --page-size 16',
      explain(causal(), {
        queryLengths: Int32Array.of(1, 1, 128),
        keyLengths: Int32Array.of(400, 20, 1024),
        pageSize: 16,
        queryHeads: 8,
        kvHeads: 2,
        headDim: 64,
      }),
    ],
    [
      'neighborhood --tokens 12x10 --kernel 3 --dilation 2x1 --causal true,false --tiling dynamic --device cpu',
      explain(
        neighborhood({ kernelSize: 3, dilation: [2, 1], causal: [true, false] }),
        { queryHeads: 1, kvHeads: 1, tokens: [12, 10], headDim: 64 },
        { tiling: 'dynamic', device: 'cpu' },
      ),
    ],
    [
      'strided-shards --block 64 --local 16 --vert 8 --preset phi3 --shape 8k --heads 32/8 --dim 128',
      explain(stridedShards({ blockSize: 64, localBlocks: 16, vertStride: 8, preset: 'phi3' }), {
        queryHeads: 32,
        kvHeads: 8,
        tokens: 8192,
        headDim: 128,
      }),
    ],
    [
      'sampled-blocks --block 64 --rho 0.8 --floor 0.05 --seed 3 --shape 4k --heads 8/2',
      explain(sampledBlocks({ block: 64, geometric: { rho: 0.8, floor: 0.05 }, seed: 3 }), {
        queryHeads: 8,
        kvHeads: 2,
        tokens: 4096,
        headDim: 64,
      }),
    ],
    [
      'sampled-blocks --block 64 --keep 0.3 --scope layer --layer 2 --unbiased --shape 4k',
      explain(sampledBlocks({ block: 64, keep: 0.3, scope: 'layer', layer: 2, unbiased: true }), {
        queryHeads: 1,
        kvHeads: 1,
        tokens: 4096,
        headDim: 64,
      }),
    ],
    [
      'hierarchical --preset 3k --shape 16k',
      explain(hierarchical('3k'), { queryHeads: 1, kvHeads: 1, tokens: 16_384, headDim: 64 }),
    ],
    [
      'hierarchical --stages 64:4k,8:512 --stride-q 4,1 --sink 16 --window 256 --shape 16k',
      explain(
        hierarchical({
          stages: [
            { chunk: 64, keep: 4096, strideQ: 4 },
            { chunk: 8, keep: 512, strideQ: 1 },
          ],
          sink: 16,
          window: 256,
        }),
        { queryHeads: 1, kvHeads: 1, tokens: 16_384, headDim: 64 },
      ),
    ],
    [
      'causal --queries 3 --keys 100 --batch 2 --key-starts 0,60 --key-lengths 100,90',
      explain(causal(), {
        ...{ queryHeads: 1, kvHeads: 1, queries: 3, keys: 100, headDim: 64, batch: 2 },
        ...{ keyStarts: [0, 60], keyLengths: [100, 90] },
      }),
    ],
  ])('takes %s', (line, expected) => {
    expect(printed(`explain ${line}`)).toBe(`${expected}\n`);
    expect(JSON.parse(printed(`explain ${line} --json`))).toEqual(JSON.parse(JSON.stringify(expected)));
  });

  it('takes full, and causal with a place for the queries', () => {
    expect(printed('explain full --shape 10')).toContain('100 visible of 100 computed');
    expect(printed('explain causal --queries 2 --keys 6 --align top-left')).toContain('3 visible of');
    expect(printed('explain causal --queries 2 --keys 6 --align 1')).toContain('5 visible of');
  });

  it("takes names as the API spells them, and 'window'", () => {
    const text = printed('explain sliding-window --recent 8 --shape 64');
    expect(text).toContain('slidingWindow, left 7, right 0');
    for (const name of ['slidingWindow', 'window']) {
      expect(printed(`explain ${name} --recent 8 --shape 64`)).toBe(text);
    }
    expect(printed('explain attentionSlices --slice full,0:4,0:8')).toContain('attentionSlices; 4 queries, 8 keys');
  });

  it('draws', () => {
    const file = join(folder, 'picture.svg');
    printed(`explain causal --shape 100 --svg ${file}`);
    expect(readFileSync(file, 'utf8')).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
  });

  it('helps', () => {
    for (const line of ['', '--help', 'explain --help', 'explain documents --help']) {
      expect(printed(line)).toContain('Usage: tilewise explain');
    }
  });
});

describe('mistakes are one line and exit code 2', () => {
  it.each([
    ['explane window', "'explane'"],
    ['explain', 'a pattern is missing'],
    ['explain dilated --shape 5', "'dilated'"],
    ['explain neighborhood --kernel 3', '--shape'],
    ['explain neighborhood --shape 8x8', '--kernel is missing'],
    ['explain neighborhood --shape 8x8 --kernel 3x', "''"],
    ['explain neighborhood --shape 8x8 --kernel 9', '`kernelSize` 9'],
    ['explain neighborhood --shape 8x8 --kernel 3 --causal maybe', "'maybe'"],
    ['explain window --queries 8', '--keys'],
    ['explain window --shape 8 --tokens 8', '--tokens'],
    ['explain toString --shape 8', "'toString'"],
    ['explain sliding-window --shape 8 --recent 4,five', "'five'"],
    ['explain sliding-window --shape 8 --recent 4,5', '`recentTokens`'],
    ['explain sliding-window --shape 8 --recent 4 --left 5', '`left`'],
    ['explain documents --shape 8', '--lengths is missing'],
    ['explain documents --shape 8 --lengths 3,4', '7 tokens'],
    ['explain documents --lengths 3,x', "'x'"],
    ['explain documents --lengths 3,5 --causal --block-causal 2', '`blockCausal`'],
    ['explain attention-slices --shape 8', '--slice is missing'],
    ['explain attention-slices --slice full,0:8', "'full,0:8'"],
    ['explain attention-slices --slice full,0:8,8:0', "'8:0'"],
    ['explain attention-slices --slice half,0:8,0:8', "'half'"],
    ['explain attention-slices --slice full,0:8,0:8 --slice causal,0:8,0:8', 'overlap'],
    ['explain power --shape 8 --block 0', '`block`'],
    ['explain causal --query-positions 0:8', '--key-positions is missing'],
    ['explain causal --query-positions 0:8 --key-positions 0:8:2', "'0:8:2'"],
    ['explain causal --query-positions 0:8 --key-positions 5,4', 'ascend'],
    ['explain causal --query-positions 0:900M --key-positions 0', '--query-positions'],
    ['explain causal --query-positions 0:8 --key-positions 0:8 --align top-left', '`align`'],
    ['explain window --query-lengths 1,2', '`keyLengths`'],
    ['explain window --query-lengths 1,x --key-lengths 1,2', "'x'"],
    ['explain window --shape 8 --lefty 8', "'--lefty'"],
    ['explain window --shape 8 --left', '--left'],
    ['explain window --shape 8 --left eight', "'eight'"],
    ['explain causal --shape 8 --heads 1/2/3', '1/2/3'],
    ['explain causal --shape 8 --heads 3/2', '3 query heads'],
    ['explain causal --shape 8 --dtype int8', "'int8'"],
    ['explain causal --shape 8 --query-tile 4x4', '2 axes'],
    ['explain causal --shape 8 --device cuda', "'cuda'"],
    ['explain causal --shape 8 --svg no/such/folder/a.svg', 'no/such/folder'],
    ['explain strided-shards --shape 8 --block 4 --local 1', '--vert is missing'],
    ['explain strided-shards --shape 8 --block 4 --local 1 --vert 2 --preset phi4', "'phi4'"],
    ['explain sampled-blocks --shape 8k --keep 0.5', '--block is missing'],
    ['explain sampled-blocks --shape 8k --block 64 --keep half', "'half'"],
    ['explain sampled-blocks --shape 8k --block 64 --keep 0.5 --power 1', '`keep` and `power`'],
    ['explain hierarchical --shape 8k --stages 64', 'chunk:keep'],
    ['explain hierarchical --shape 8k --preset 4k', "'4k'"],
  ])('%s', (line, words) => {
    const { status, stdout, stderr } = tilewise(line);
    expect(stderr).toMatch(/^tilewise: [^\n]+\n$/);
    expect(stderr).toContain(words);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });
});
