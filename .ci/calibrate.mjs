// How fast the machine is today: seconds that a fixed piece of work takes on every core at once, as builds and tests do it.
// One core alone would not show that cores share their caches or are lent to others. Reader: see steps.mjs.
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { isMainThread, Worker } from 'node:worker_threads';
import { brotliCompressSync, constants } from 'node:zlib';

/** The same letters each time; some are more frequent than others, as in sources. */
function letters(size) {
  const bytes = Buffer.alloc(size);
  let state = 1;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = 97 + (((state >>> 24) * ((state >>> 16) & 255)) >>> 13);
  }
  return bytes;
}

function compress() {
  const text = letters(1 << 20);
  const params = { [constants.BROTLI_PARAM_QUALITY]: 8 };
  for (let i = 0; i < 12; i++) brotliCompressSync(text, { params });
}

/** Seconds. */
export async function calibrate() {
  const begin = performance.now();
  const file = fileURLToPath(import.meta.url);
  const ends = Array.from(
    { length: os.availableParallelism() },
    () => new Promise((resolve, reject) => new Worker(file).on('error', reject).on('exit', resolve)),
  );
  await Promise.all(ends);
  return (performance.now() - begin) / 1000;
}

if (!isMainThread) compress();
