// tilewise explain: what a pattern costs on a shape. `tilewise explain neighborhood --shape 30x48x80 --kernel 18x24x24`
// prints what explain() counts. Reader: someone who adds a pattern or an option.

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { flags, patternNamed, repeated } from '../explain/patterns.mjs';
import { axes, given, list, pair, positions, required, whole } from '../explain/words.mjs';
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
                          instead of queries and keys: sequences of a ragged call; for full, causal, sliding-window,
                          strided-shards, sampled-blocks
  --key-starts 0,7,2 --key-lengths 400,20,300
                          keys in use per batch entry: left and right padding
  --query-positions 0:64,448:512 --key-positions 64:128,384:448
                          where tokens are, instead of queries and keys; 0:64 are 0 to 63. For full, causal, sliding-window,
                          power

Patterns
  full
  causal                  [--align bottom-right|top-left|N]
  sliding-window          [--recent N] or [--left N] [--right N] [--causal]; [--sinks N] [--align ..]
                          each a number, or one per KV head or query head as in --recent all,256
  neighborhood            --kernel 18x24x24 [--stride 16x8x8] [--dilation 1] [--causal | --causal true,false,false]
  strided-shards          --block 64 --local 16 --vert 8 [--preset phi3|dkernel] [--layout-per q|kv] [--head-step N]
                          [--head-offset N] [--dense-heads N] [--homo-head] [--relative] [--align ..]
  documents               --lengths 100,250,162 [--causal] [--block-causal N] [--prefix N] [--shared] [--last-sees-all]
                          [--global-tokens N] [--left N] [--right N]; 100,250/200,150: a list per batch entry. Without sizes
                          as many tokens as the documents have
  attention-slices        --slice causal,0:100,0:100 --slice full,100:300,0:100 ..: full, causal, invcausal or bicausal, then
                          queries and keys; 0:100 are 0 to 99. Without sizes as far as the slices reach
  power                   [--block N] [--window N] [--sink-blocks N] [--align ..]
  sampled-blocks          --block 64, and --keep 0.3, --rho 0.8 [--floor 0.05] or --power 1
                          [--seed N] [--layer N] [--scope head|kv|layer] [--unbiased] [--align ..]
  hierarchical            [--preset default|3k|5k|16k-shallow|llama-3.1|test-high] or [--stages 64:8k,8:2k [--stride-q 4,1]]
                          [--block-q N] [--sink N] [--window N]; bounds, because what it selects depends on the data
  ranges() and blocks() are long lists: explain() in a program takes them.

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
  ...['page-size', 'query-lengths', 'key-lengths', 'key-starts', 'query-positions', 'key-positions'],
];
const common = [...sizes, 'query-tile', 'key-tile', 'tiling', 'device', 'svg', 'json', 'help'];

function kindOf(option) {
  if (repeated.has(option)) return { ...text, multiple: true };
  return flags.has(option) || option === 'json' || option === 'help' ? flag : text;
}

/** The options of a pattern from its arguments. `--causal` alone means true. */
function read({ options }, argv) {
  const words = argv.flatMap((word, i) => {
    const next = argv[i + 1];
    return word === '--causal' && (next === undefined || next.startsWith('--')) ? ['--causal=true'] : [word];
  });
  try {
    const known = Object.fromEntries([...common, ...options].map((option) => [option, kindOf(option)]));
    return parseArgs({ args: words, options: known, allowPositionals: false, strict: true }).values;
  } catch (error) {
    throw new UsageError(`${error.message.split('. ')[0].split('\n')[0]}; see tilewise --help`);
  }
}

/** The sizes of the call that is explained; where the line does not say them, what its pattern or its positions say. */
function shapeOf({ name, sizes }, pattern, o) {
  if (o.shape !== undefined && o.tokens !== undefined) throw new UsageError('--shape and --tokens are the same thing');
  const [queryLengths, keyLengths, keyStarts] = ['query-lengths', 'key-lengths', 'key-starts'].map((option) =>
    list(option, o[option]),
  );
  const at = positionsOf(o);
  let told = given({
    tokens: axes('shape', o.shape ?? o.tokens),
    queries: whole('queries', o.queries),
    keys: whole('keys', o.keys),
  });
  if (Object.keys(told).length === 0)
    told = at ? { queries: at.queries.length, keys: at.keys.length } : sizes?.(pattern);
  const { tokens, queries, keys, batch } = told ?? {};
  if (queryLengths === undefined && tokens === undefined && (queries === undefined || keys === undefined)) {
    throw new UsageError(
      name === 'neighborhood' ? '--shape is missing' : '--shape, or --queries and --keys, are missing',
    );
  }
  const [queryHeads = 1, kvHeads = 1] = pair('heads', o.heads);
  const [headDim = 64, valueDim = 64] = pair('dim', o.dim);
  return given({
    tokens,
    queries,
    keys,
    batch: whole('batch', o.batch) ?? batch,
    positions: at,
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

/** Where tokens are, if the line says so. */
function positionsOf(o) {
  const [queries, keys] = [o['query-positions'], o['key-positions']];
  if (queries === undefined && keys === undefined) return undefined;
  return {
    queries: positions('query-positions', required('query-positions', queries)),
    keys: positions('key-positions', required('key-positions', keys)),
  };
}

/** Runs the command; returns what it prints. */
export async function run([name, ...rest]) {
  const known = patternNamed(name);
  const o = read(known, rest);
  const tilewise = await import('../../dist/index.js');
  const pattern = known.make(tilewise, o);
  const shape = shapeOf(known, pattern, o);
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
