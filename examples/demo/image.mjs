// Denoises a picture by neighborhood attention, and says how well and how fast.
// Reader: someone curious what attention to a neighborhood is good for. The idea is in denoise.mjs.
import path from 'node:path';
import { devices, explain, neighborhood } from 'tilewise';
import { denoise, PATCH, REACH, SEARCH, softnessOf } from './denoise.mjs';
import { naiveNonLocalMeans } from './naive.mjs';
import { addNoise, drawPicture, psnr } from './picture.mjs';
import { readPng, writePng } from './png.mjs';

const SIGMA = 25 / 255; // of the noise: the middle one of the literature
const SLICE = 2; // rows of the naive loop, from the middle: in the generated picture two bands of denoise() meet there

export async function run(file) {
  const picture = file ? readPng(file) : drawPicture();
  const { width, height } = picture;
  const megapixels = (width * height) / 1e6;
  console.log(`${file ?? 'a generated picture (yours: npm run demo -- --image photo.png)'}: ${width} x ${height}`);

  const before = addNoise(picture, SIGMA);
  const started = performance.now();
  const after = await denoise(before, SIGMA);
  const seconds = (performance.now() - started) / 1000;
  const [noisy, clean] = [before, after].map((one) => psnr(one, picture).toFixed(1));
  console.log(
    `PSNR: ${noisy} dB with noise of ${Math.round(255 * SIGMA)}/255, ${clean} dB after neighborhood attention`,
  );
  const cpu = devices().find((device) => device.name === 'cpu');
  const ours = seconds / megapixels;
  console.log(`${ours.toFixed(2)} s per megapixel on ${cpu.threads} threads (${cpu.instructionSet})`);

  const begin = Math.floor((height - SLICE) / 2);
  const naiveStarted = performance.now();
  const options = { search: SEARCH, reach: REACH, softness: softnessOf(SIGMA) };
  const naive = naiveNonLocalMeans(before, options, begin, begin + SLICE);
  const theirs = (performance.now() - naiveStarted) / 1000 / ((SLICE * width) / 1e6);
  const difference = naive.reduce((max, c, i) => Math.max(max, Math.abs(c - after.pixels[begin * width * 3 + i])), 0);
  console.log(
    `a naive loop: ${theirs.toFixed(0)} s per megapixel, ${(theirs / ours).toFixed(0)}x as long ` +
      `(from ${SLICE} rows, where the two differ by ${difference.toExponential(1)})`,
  );
  const shape = { queryHeads: 1, kvHeads: 1, tokens: [height, width], headDim: PATCH, valueDim: 3 };
  const { pairs } = explain(neighborhood({ kernelSize: SEARCH }), shape);
  console.log(`dense attention: ${(pairs.dense / pairs.computed).toFixed(0)}x the pairs, says explain()`);

  const files = { before, after };
  for (const [name, one] of Object.entries(files)) writePng(path.join('out', `${name}.png`), one);
  console.log(
    `see ${Object.keys(files)
      .map((name) => path.join('out', `${name}.png`))
      .join(' and ')}`,
  );
}
