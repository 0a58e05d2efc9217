// Writes the generated pages: support.md from the backends, errors.md and api.md from the docstrings, the pictures.
// Assumes a built package. Reader: someone who changed a docstring, an error, what a backend supports or explain()'s pictures.
//   npm run docs                          writes all of them
//   npm run docs -- support.md --check    that one; fails when it is not what would be written
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  blocks,
  causal,
  createBlockMaskSync,
  documents,
  explain,
  neighborhood,
  power,
  ranges,
  sampledBlocks,
  slidingWindow,
  stridedShards,
  Tensor,
} from 'tilewise';
import { listedKeys } from '../../dist/patterns/kept-keys.js';
import { keptOf } from '../../dist/selectors/top-keys.js';
import { putPage } from '../../scripts/pages.mjs';
import { activationsPicture } from './activations-picture.mjs';
import { errorsPage } from './errors.mjs';
import { factorsPicture } from './factors-picture.mjs';
import { formatsPicture } from './formats-picture.mjs';
import { gatePicture } from './gate-picture.mjs';
import { landmarkPicture } from './landmark-picture.mjs';
import { linearPicture } from './linear-picture.mjs';
import { pagesPicture } from './pages-picture.mjs';
import { rotaryPicture } from './rotary-picture.mjs';
import { selectorsPicture } from './selectors-picture.mjs';
import { supportPage } from './support.mjs';
import { tiersPicture } from './tiers-picture.mjs';

const folder = fileURLToPath(new URL('.', import.meta.url));

/** Everything that an entry point exports, by TypeDoc. Types of tilewise itself are not repeated on another's page. */
async function exportsPage(settings = {}) {
  const { Application } = await import('typedoc');
  const out = mkdtempSync(path.join(tmpdir(), 'tilewise-docs-'));
  try {
    const app = await Application.bootstrapWithPlugins({
      options: path.join(folder, 'typedoc.json'),
      out,
      ...settings,
    });
    const project = await app.convert();
    if (!project) throw new Error('TypeDoc cannot read lib/');
    await app.generateOutputs(project);
    if (app.logger.hasErrors() || app.logger.hasWarnings()) throw new Error('a docstring is at fault: see above');
    return readFileSync(path.join(out, 'README.md'), 'utf8').trimEnd();
  } finally {
    rmSync(out, { recursive: true });
  }
}

/** The picture that the README's command draws; with tiles of its own, so that every machine draws the same. */
function shardsPicture() {
  const shape = { tokens: 2048, queryHeads: 8, kvHeads: 8, headDim: 64 };
  const pattern = stridedShards({ blockSize: 64, localBlocks: 4, vertStride: 8 });
  return explain(pattern, shape, { queryTile: 64, keyTile: 64 }).toSVG();
}

/** The picture of docs/guide/blocks.md: its example's mask of four documents, by the mask's own blocks. */
function maskPicture() {
  const documentOf = (token) => Math.floor(token / 150);
  const predicate = (_batch, _head, query, key) => documentOf(query) === documentOf(key) && key <= query;
  const blockMask = createBlockMaskSync(predicate, { queries: 512, keys: 512, blockQ: 32, blockK: 32 });
  const shape = { tokens: 512, queryHeads: 8, kvHeads: 8, headDim: 64 };
  return explain(blocks({ blockMask }), shape, { queryTile: 32, keyTile: 32 }).toSVG();
}

/** The picture of docs/guide/ranges.md: its example's prompt and documents. */
function rangesPicture() {
  const [tokens, prompt] = [512, 64];
  const rows = Array.from({ length: tokens }, (_, query) => [
    [0, Math.min(prompt, query + 1)],
    [Math.max(prompt, query - (query % 150)), Math.max(prompt, query + 1)],
  ]);
  const bounds = (end) =>
    new Tensor(
      'int32',
      Int32Array.from(rows.flat(), (range) => range[end]),
      [tokens, 2],
    );
  const shape = { tokens, queryHeads: 8, kvHeads: 8, headDim: 64 };
  return explain(ranges({ begins: bounds(0), ends: bounds(1) }), shape, { queryTile: 32, keyTile: 32 }).toSVG();
}

/** The picture of sampledBlocks() in docs/guide/blocks.md: head 0 of its example. */
function samplePicture() {
  const shape = { tokens: 2048, queryHeads: 8, kvHeads: 2, headDim: 64 };
  const pattern = sampledBlocks({ block: 64, geometric: { rho: 0.8, floor: 0.05 }, seed: 1 });
  return explain(pattern, shape, { queryTile: 64, keyTile: 64 }).toSVG();
}

/** A pattern on a square of tokens, or of positions, by tiles of 32. */
function squarePicture(pattern, tokens, positions) {
  const shape = { queries: tokens, keys: tokens, queryHeads: 8, kvHeads: 8, headDim: 64, positions };
  return explain(pattern, shape, { queryTile: 32, keyTile: 32 }).toSVG();
}

/** The picture of docs/guide/documents.md: a question that three documents share. */
const documentsPicture = () =>
  squarePicture(documents({ lengths: [96, 160, 128, 128], causal: true, shared: true }), 512);

const powerPicture = () => squarePicture(power({ block: 32, window: 3 }), 1024);

/** The picture of docs/guide/positions.md: queries of process 1 of 4 and keys of process 2, in zigzag order. */
function positionsPicture() {
  const positionsOf = (rank) =>
    [rank, 7 - rank].flatMap((chunk) => Array.from({ length: 256 }, (_, i) => chunk * 256 + i));
  return squarePicture(causal(), 512, { queries: positionsOf(1), keys: positionsOf(2) });
}

const adapterPage = (name) =>
  exportsPage({
    name: `tilewise/${name}`,
    entryPoints: [path.join(folder, `../../lib/adapters/${name}/index.ts`)],
    validation: { notExported: false },
  });

/** The picture of docs/guide/windows.md: a head of each kind. */
function windowsPicture() {
  const shape = { tokens: 256, queryHeads: 2, kvHeads: 2, headDim: 64 };
  const pattern = slidingWindow({ recentTokens: [Infinity, 48], sinkTokens: 16 });
  return explain(pattern, shape, { queryTile: 16, keyTile: 16 }).toSVG();
}

/** The picture of docs/guide/dynamic-mask.md: a third of the keys, those of the largest numbers. */
function keptKeysPicture() {
  const tokens = 256;
  const kept = keptOf(
    Float32Array.from({ length: tokens }, (_, key) => Math.sin(key / 9) + Math.sin(key / 4)),
    { topKeys: 85 },
  );
  return squarePicture(listedKeys([kept], { batch: 1, kvHeads: 1, queries: tokens }, 0), tokens);
}

/** The picture of docs/guide/halo.md: an axis with a block that is cut off. */
function haloPicture() {
  const shape = { tokens: [28], queryHeads: 1, kvHeads: 1, headDim: 16 };
  const pattern = neighborhood({ kernelSize: 14, stride: 8, border: 'clip' });
  return explain(pattern, shape, { queryTile: 2, keyTile: 2 }).toSVG();
}

const markdown = (print) => async () => `<!-- Written by \`npm run docs\`. -->\n\n${await print()}\n`;
const pages = [
  ['docs/reference/support.md', markdown(supportPage)],
  ['docs/reference/errors.md', markdown(errorsPage)],
  ['docs/reference/api.md', markdown(() => exportsPage())],
  ['docs/reference/safetensors.md', markdown(() => adapterPage('safetensors'))],
  ['docs/reference/onnxruntime.md', markdown(() => adapterPage('onnxruntime'))],
  ['docs/pictures/strided-shards.svg', shardsPicture],
  ['docs/pictures/block-mask.svg', maskPicture],
  ['docs/pictures/ranges.svg', rangesPicture],
  ['docs/pictures/sampled-blocks.svg', samplePicture],
  ['docs/pictures/documents.svg', documentsPicture],
  ['docs/pictures/power.svg', powerPicture],
  ['docs/pictures/positions.svg', positionsPicture],
  ['docs/pictures/head-windows.svg', windowsPicture],
  ['docs/pictures/rotary-wavelengths.svg', rotaryPicture],
  ['docs/pictures/linear-decay.svg', linearPicture],
  ['docs/pictures/pages.svg', pagesPicture],
  ['docs/pictures/activations.svg', activationsPicture],
  ['docs/pictures/dynamic-mask.svg', keptKeysPicture],
  ['docs/pictures/gate.svg', gatePicture],
  ['docs/pictures/halo.svg', haloPicture],
  ['docs/pictures/landmarks.svg', landmarkPicture],
  ['docs/pictures/score-factors.svg', factorsPicture],
  ['docs/pictures/selectors.svg', selectorsPicture],
  ['docs/pictures/tiers.svg', tiersPicture],
  ['docs/pictures/formats.svg', formatsPicture],
];

const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
for (const [name, print] of pages) {
  if (wanted.length === 0 || wanted.includes(path.basename(name))) putPage(name, await print(), 'npm run docs');
}
