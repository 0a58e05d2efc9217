// Noise goes into a picture, and the guide's example takes it out: in decibels, and pixel by pixel against float64.
// Reader: someone who edits the example. PSNR is 20 log10(255 / root of the mean squared error).

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import sharp from 'sharp';

const [width, height, kernelSize, sigma] = [320, 240, 13, 30];

const drawing = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
  <linearGradient id="sky" x2="0" y2="1"><stop stop-color="#3060b0"/><stop offset="1" stop-color="#e0c080"/></linearGradient>
  <rect width="100%" height="100%" fill="url(#sky)"/>
  <circle cx="210" cy="90" r="48" fill="#f5d060"/>
  <path d="M0 240 L90 120 L180 240 Z" fill="#304030"/><path d="M120 240 L240 150 L320 240 Z" fill="#607050"/>
</svg>`;

/** Normal numbers, the same in every run (Box-Muller over a linear congruential generator). */
function normal(seed) {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

const pixelsOf = async (file) => sharp(file).removeAlpha().raw().toBuffer();

function decibels(got, want) {
  const error = want.reduce((sum, value, i) => sum + (got[i] - value) ** 2, 0) / want.length;
  return 20 * Math.log10(255 / Math.sqrt(error));
}

/** A pixel of the result in float64: the mean of those around it, weighed by the distance of their colours. */
function pixelAt(noisy, x, y) {
  const colour = (column, row) => noisy.subarray(3 * (row * width + column), 3 * (row * width + column) + 3);
  const first = (at, length) => Math.min(Math.max(0, at - Math.floor(kernelSize / 2)), length - kernelSize);
  const own = colour(x, y);
  const sums = [0, 0, 0, 0];
  for (let row = first(y, height), rows = row + kernelSize; row < rows; ++row) {
    for (let column = first(x, width), columns = column + kernelSize; column < columns; ++column) {
      const other = colour(column, row);
      const distance = other.reduce((sum, value, i) => sum + (value - own[i]) ** 2, 0);
      const weight = Math.exp(-distance / (6 * sigma ** 2));
      for (const [i, value] of [...other, 1].entries()) sums[i] += weight * value;
    }
  }
  return sums.slice(0, 3).map((sum) => sum / sums[3]);
}

describe('a picture with noise', () => {
  let [picture, noisy, clean] = [];

  before(async () => {
    picture = await sharp(Buffer.from(drawing)).removeAlpha().raw().toBuffer();
    const next = normal(7);
    noisy = Uint8ClampedArray.from(picture, (value) => value + sigma * next());
    await sharp(noisy, { raw: { width, height, channels: 3 } })
      .png()
      .toFile('noisy.png');
    await import('../example.mjs');
    clean = await pixelsOf('clean.png');
  });

  it('is nearer to what was drawn by 10 dB', () => {
    const [spoiled, repaired] = [noisy, clean].map((pixels) => decibels(pixels, picture));
    assert.ok(spoiled > 18 && spoiled < 20, `${spoiled} dB`);
    assert.ok(repaired > spoiled + 10, `${repaired} dB after ${spoiled} dB`);
  });

  it('has the pixels that float64 gives, at edges as well', () => {
    for (const [x, y] of [
      [0, 0],
      [width - 1, height - 1],
      [210, 42],
      [100, 130],
    ]) {
      const got = clean.subarray(3 * (y * width + x), 3 * (y * width + x) + 3);
      for (const [i, want] of pixelAt(noisy, x, y).entries())
        assert.ok(Math.abs(got[i] - want) <= 0.51, `${x}, ${y}: ${got[i]}, ${want}`);
    }
  });
});
