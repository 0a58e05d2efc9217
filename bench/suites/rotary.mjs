// `npm run bench:rotary`: rotate() against a plain copy of the tensor, and against the same in JavaScript.
// Reader: someone who changes the loop. docs/measurements/benchmarks.md explains the method.
//   npm run bench:rotary -- --filter float16  only groups whose name matches (a regular expression)
//   npm run bench:rotary -- --quick           few tokens and samples: does it run at all
//   npm run bench:rotary -- --json out.json   write there; an unfiltered full run writes bench/results/rotary.json
import { rotateSync, Tensor } from 'tilewise';
import { dimsOf, randomTensor } from '../timing/inputs.mjs';
import { runOptions } from './options.mjs';
import { runRatioSuite } from './ratio-suite.mjs';

const options = runOptions();
const sampling = options.quick ? { samples: 3, minMs: 20 } : { samples: 7, minMs: 120 };
const headDim = 128;
/** Halves in plain JavaScript, with cosines and sines kept from call to call. */
function plainRotation({ data }, out, { tokens, heads }) {
  const half = headDim / 2;
  const angles = Float64Array.from({ length: tokens * half }, (_, i) => {
    return Math.floor(i / half) * 10_000 ** (-(i % half) / half);
  });
  const [cosines, sines] = [angles.map(Math.cos), angles.map(Math.sin)];
  return () => {
    for (let row = 0; row < tokens * heads; row++) {
      const [at, turn] = [row * headDim, Math.floor(row / heads) * half];
      for (let i = 0; i < half; i++) {
        const [a, b] = [data[at + i], data[at + half + i]];
        out[at + i] = a * cosines[turn + i] - b * sines[turn + i];
        out[at + half + i] = a * sines[turn + i] + b * cosines[turn + i];
      }
    }
  };
}

function callsOf(group) {
  const dims = dimsOf('bnhd', group.tokens, group.heads, headDim);
  const tensor = randomTensor(group.dtype, dims, 1);
  const out = Tensor.zeros(group.dtype, dims);
  const rotated = (more) => () => rotateSync(tensor, { out, ...more });
  return {
    'a copy': () => out.data.set(tensor.data),
    halves: rotated({}),
    'halves in place': rotated({ out: tensor }),
    neighbours: rotated({ interleaved: true }),
    ...(group.dtype === 'float32' && { 'plain JavaScript': plainRotation(tensor, out.data, group) }),
  };
}

const groups = ['float32', 'float16', 'bfloat16']
  .flatMap((dtype) => [
    { dtype, tokens: options.quick ? 256 : 4096, heads: 32 },
    { dtype, tokens: options.quick ? 256 : 4096, heads: 8 },
    { dtype, tokens: 1, heads: 32 },
  ])
  .map((group) => ({
    name: `${group.dtype} D=${headDim} N=${group.tokens} H=${group.heads}`,
    threads: 1,
    prepare: () => Object.entries(callsOf(group)).map(([name, call]) => ({ name, call })),
  }));
await runRatioSuite('rotary.json', groups, options, sampling);
