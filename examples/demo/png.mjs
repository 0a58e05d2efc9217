// Pictures as { width, height, pixels }, pixels being red, green, blue from 0 to 1; from and to PNG files.
// Reader: someone who uses demo/denoise.mjs on pictures from elsewhere.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PNG } from 'pngjs';

export function readPng(file) {
  const { width, height, data } = PNG.sync.read(readFileSync(file)); // bytes, with alpha, which is ignored
  const pixels = new Float32Array(width * height * 3);
  for (let i = 0; i < pixels.length; i++) pixels[i] = data[Math.floor(i / 3) * 4 + (i % 3)] / 255;
  return { width, height, pixels };
}

/** Makes the folder too. Numbers outside 0..1 are clipped. */
export function writePng(file, { width, height, pixels }) {
  const png = new PNG({ width, height });
  png.data.fill(255);
  for (let i = 0; i < pixels.length; i++) {
    png.data[Math.floor(i / 3) * 4 + (i % 3)] = Math.round(255 * Math.min(1, Math.max(0, pixels[i])));
  }
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, PNG.sync.write(png));
}
