// tilewise explain: what a pattern costs on a shape. `tilewise explain neighborhood --shape 30x48x80 --kernel 18x24x24`
// prints what explain() counts. Reader: someone who adds a pattern or an option.

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { UsageError } from '../usage-error.mjs';

export const usage = `Usage: tilewise explain <pattern> <sizes> [options]

What attention with a pattern would cost, without running it: tiles visited, pairs computed, FLOPs, bytes, the ideal
speed-up over dense attention, and the device that would run it.

Sizes
  --shape 30x48x80        token axes, 1 to 3 for neighborhood; or --tokens
  --queries N --keys N    instead, for all patterns but neighborhood
  --heads 32/8            query heads / KV heads; default 1
  --dim 128               of q and k; 128/64: of q and k, and of v; default 64
  --batch N  --dtype float32|float16|bfloat16
  --page-size N           keys on pages of so many tokens
  --query-lengths 1,1,128 --key-lengths 400,20,300
                          instead of queries and keys: sequences of a ragged call; for full, causal, window, strided-shards,
                          sampled-blocks
  --key-starts 0,7,2 --key-lengths 400,20,300
                          keys in use per batch entry: left and right padding

Patterns
  full
  causal                  [--align bottom-right|top-left|N]
  window                  [--left N] [--right N] [--causal] [--sinks N] [--align ..]
  neighborhood            --kernel 18x24x24 [--stride 16x8x8] [--dilation 1] [--causal | --causal true,false,false]
  strided-shards          --block 64 --local 16 --vert 8 [--preset phi3|dkernel] [--layout-per q|kv] [--head-step N]
                          [--head-offset N] [--dense-heads N] [--homo-head] [--relative] [--align ..]
  sampled-blocks          --block 64, and --keep 0.3, --rho 0.8 [--floor 0.05] or --power 1
                          [--seed N] [--layer N] [--scope head|kv|layer] [--align ..]
  hierarchical            [--preset default|3k|5k|16k-shallow|llama-3.1|test-high] or [--stages 64:8k,8:2k [--stride-q 4,1]]
                          [--block-q N] [--sink N] [--window N]; bounds, because what it selects depends on the data

Options
  --query-tile 4x8x8      count by tiles of so many queries instead of the device's
  --key-tile 2x8x8        and so many keys
  --tiling static|dynamic where tiles of keys begin: at multiples, or where the query tile's keys begin
  --device auto|cpu|cuda|cuda:1
  --svg FILE              also write a picture of the mask and of the tiles
  --json                  print the counts as JSON
  --help`;

const text = { type: 'string' };
const flag = { type: 'boolean' };
const sizes = [
  ...['shape', 'tokens', 'queries', 'keys', 'heads', 'dim', 'batch', 'dtype'],
  ...['page-size', 'query-lengths', 'key-lengths', 'key-starts'],
];
const common = [...sizes, 'query-tile', 'key-tile', 'tiling', 'device', 'svg', 'json', 'help'];
const flags = new Set(['homo-head', 'relative', 'json', 'help']);

/** Per pattern: the options it takes beyond the common ones, and how they become a pattern. */
const patterns = {
  full: { options: [], make: ({ full }) => full() },
  causal: { options: ['align'], make: ({ causal }, o) => causal({ align: align(o.align) }) },
  window: {
    options: ['left', 'right', 'causal', 'sinks', 'align'],
    make: ({ slidingWindow }, o) =>
      slidingWindow({
        ...given({
          left: whole('left', o.left),
          right: whole('right', o.right),
          causal: o.causal === undefined ? undefined : truth('causal', o.causal),
          sinkTokens: whole('sinks', o.sinks),
          align: align(o.align),
        }),
      }),
  },
  neighborhood: {
    options: ['kernel', 'stride', 'dilation', 'causal'],
    make: ({ neighborhood }, o) =>
      neighborhood(
        given({
          kernelSize: axes('kernel', required('kernel', o.kernel)),
          stride: axes('stride', o.stride),
          dilation: axes('dilation', o.dilation),
          causal: o.causal === undefined ? undefined : unwrap(o.causal.split(',').map((one) => truth('causal', one))),
        }),
      ),
  },
  'strided-shards': {
    options: [
      ...['block', 'local', 'vert', 'preset', 'layout-per', 'head-step', 'head-offset', 'dense-heads'],
      ...['homo-head', 'relative', 'align'],
    ],
    make: ({ stridedShards }, o) =>
      stridedShards(
        given({
          blockSize: whole('block', required('block', o.block)),
          localBlocks: whole('local', required('local', o.local)),
          vertStride: whole('vert', required('vert', o.vert)),
          preset: o.preset,
          layoutPer: o['layout-per'],
          headStep: whole('head-step', o['head-step']),
          headOffset: whole('head-offset', o['head-offset']),
          numDenseHeads: whole('dense-heads', o['dense-heads']),
          homoHead: o['homo-head'],
          positions: o.relative ? 'relative' : undefined,
          align: align(o.align),
        }),
      ),
  },
  'sampled-blocks': {
    options: ['block', 'keep', 'rho', 'floor', 'power', 'seed', 'layer', 'scope', 'align'],
    make: ({ sampledBlocks }, o) => {
      const { rho, floor } = { rho: number('rho', o.rho), floor: number('floor', o.floor) };
      return sampledBlocks(
        given({
          block: whole('block', required('block', o.block)),
          keep: number('keep', o.keep),
          geometric: rho === undefined && floor === undefined ? undefined : given({ rho, floor }),
          power: number('power', o.power),
          seed: whole('seed', o.seed),
          layer: whole('layer', o.layer),
          scope: o.scope,
          align: align(o.align),
        }),
      );
    },
  },
  hierarchical: {
    options: ['preset', 'stages', 'stride-q', 'block-q', 'sink', 'window'],
    make: ({ hierarchical }, o) =>
      hierarchical(
        given({
          preset: o.preset,
          stages: o.stages === undefined ? undefined : stages(o.stages, o['stride-q']),
          blockQ: whole('block-q', o['block-q']),
          sink: whole('sink', o.sink),
          window: whole('window', o.window),
        }),
      ),
  },
};

const given = (options) => Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
const unwrap = (list) => (list.length === 1 ? list[0] : list);

function required(name, value) {
  if (value === undefined) throw new UsageError(`--${name} is missing`);
  return value;
}

/** A whole number, 'k' and 'M' standing for 1024 and 1024 * 1024. */
function whole(name, value) {
  if (value === undefined) return undefined;
  const match = /^(-?\d+)(k|m)?$/i.exec(value);
  if (!match) throw new UsageError(`--${name} must be a whole number, not '${value}'`);
  return Number(match[1]) * { undefined: 1, k: 1024, m: 1024 * 1024 }[match[2]?.toLowerCase()];
}

function number(name, value) {
  if (value === undefined) return undefined;
  if (value.trim() === '' || Number.isNaN(Number(value)))
    throw new UsageError(`--${name} must be a number, not '${value}'`);
  return Number(value);
}

/** 30x48x80, or one number. */
const axes = (name, value) =>
  value === undefined ? undefined : unwrap(value.split(/[x,]/).map((one) => whole(name, one)));

/** 32/8: two numbers, or one for both. */
function pair(name, value) {
  if (value === undefined) return [];
  const [first, second = first, ...rest] = value.split('/').map((one) => whole(name, one));
  if (rest.length > 0) throw new UsageError(`--${name} must be one number or two as in 32/8, not '${value}'`);
  return [first, second];
}

function truth(name, value) {
  if (value === 'true' || value === 'yes' || value === '1') return true;
  if (value === 'false' || value === 'no' || value === '0') return false;
  throw new UsageError(`--${name} must be true or false, not '${value}'`);
}

const align = (value) =>
  value === undefined || Number.isNaN(Number(value)) ? value : { offset: whole('align', value) };

/** 64:8k,8:2k: chunk and keys kept, per stage. */
function stages(value, strides) {
  const strideQ = strides?.split(',').map((one) => whole('stride-q', one)) ?? [];
  return value.split(',').map((stage, i) => {
    const [chunk, keep, ...rest] = stage.split(':').map((one) => whole('stages', one));
    if (keep === undefined || rest.length > 0) {
      throw new UsageError(`--stages must be chunk:keep pairs as in 64:8k,8:2k, not '${value}'`);
    }
    return { chunk, keep, strideQ: strideQ[i] ?? strideQ.at(-1) ?? 1 };
  });
}

/** The options of a pattern from its arguments. `--causal` alone means true. */
function read(name, argv) {
  const { options } = patterns[name];
  const words = argv.flatMap((word, i) => {
    const next = argv[i + 1];
    return word === '--causal' && (next === undefined || next.startsWith('--')) ? ['--causal=true'] : [word];
  });
  try {
    const known = Object.fromEntries(
      [...common, ...options].map((option) => [option, flags.has(option) ? flag : text]),
    );
    return parseArgs({ args: words, options: known, allowPositionals: false, strict: true }).values;
  } catch (error) {
    throw new UsageError(`${error.message.split('. ')[0].split('\n')[0]}; see tilewise --help`);
  }
}

/** The sizes of the call that is explained. */
function shapeOf(name, o) {
  if (o.shape !== undefined && o.tokens !== undefined) throw new UsageError('--shape and --tokens are the same thing');
  const tokens = axes('shape', o.shape ?? o.tokens);
  const [queryLengths, keyLengths, keyStarts] = ['query-lengths', 'key-lengths', 'key-starts'].map((option) =>
    o[option]?.split(',').map((one) => whole(option, one)),
  );
  if (queryLengths === undefined && tokens === undefined && (o.queries === undefined || o.keys === undefined)) {
    throw new UsageError(
      name === 'neighborhood' ? '--shape is missing' : '--shape, or --queries and --keys, are missing',
    );
  }
  const [queryHeads = 1, kvHeads = 1] = pair('heads', o.heads);
  const [headDim = 64, valueDim = 64] = pair('dim', o.dim);
  return given({
    tokens,
    queries: whole('queries', o.queries),
    keys: whole('keys', o.keys),
    batch: whole('batch', o.batch),
    queryLengths,
    keyLengths,
    keyStarts,
    pageSize: whole('page-size', o['page-size']),
    dtype: o.dtype,
    queryHeads,
    kvHeads,
    headDim,
    valueDim,
  });
}

/** Runs the command; returns what it prints. */
export async function run([name, ...rest]) {
  if (!Object.hasOwn(patterns, name ?? '')) {
    const known = Object.keys(patterns).join(', ');
    throw new UsageError(`${name === undefined ? 'a pattern is missing' : `there is no pattern '${name}'`}: ${known}`);
  }
  const o = read(name, rest);
  const tilewise = await import('../../dist/index.js');
  const pattern = patterns[name].make(tilewise, o);
  const shape = shapeOf(name, o);
  const options = given({
    queryTile: axes('query-tile', o['query-tile']),
    keyTile: axes('key-tile', o['key-tile']),
    tiling: o.tiling,
    device: o.device,
  });
  const explanation = tilewise.explain(pattern, shape, options);
  if (o.svg !== undefined) {
    try {
      writeFileSync(o.svg, explanation.toSVG());
    } catch (error) {
      throw new UsageError(`--svg: ${error.message}`);
    }
  }
  return o.json ? JSON.stringify(explanation, undefined, 2) : String(explanation);
}
