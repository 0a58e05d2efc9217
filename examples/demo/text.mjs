// Next-character prediction by attention alone, with every pattern: what each costs, and what it forgets.
// Reader: someone choosing a pattern. The model is in contexts.mjs, the attention calls are in predict.mjs.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { causal, devices, explain, hierarchical, slidingWindow, stridedShards } from 'tilewise';
import { DIM, embedContexts, HEADS, oneHot, orderZeroBits, readCharacters } from './contexts.mjs';
import { naiveAttention } from './naive.mjs';
import { predict } from './predict.mjs';

const LENGTH = 32768; // characters of the text that are read
const SLICE = 8; // queries of the naive loop that everything is compared with

const patterns = [
  ['dense', causal()],
  ['window and sinks', slidingWindow({ left: 1023, causal: true, sinkTokens: 64 })],
  ['S2', stridedShards({ blockSize: 64, localBlocks: 8, vertStride: HEADS, requireFullCoverage: true })],
  ['HiP', hierarchical('default')],
];

/** The Node.js licence, which has the same passages over and over. */
function defaultFile() {
  const prefix = path.join(path.dirname(process.execPath), '..');
  const places = ['LICENSE', 'share/doc/nodejs/LICENSE', 'share/doc/node/LICENSE'].map((p) => path.join(prefix, p));
  return places.find(existsSync) ?? fileURLToPath(new URL('../../README.md', import.meta.url));
}

const row = (...cells) => console.log(cells.map((cell, i) => (i ? cell.padStart(12) : cell.padEnd(18))).join(''));

/** Arithmetic of a call, and that of looking for keys where the pattern does. */
function flopsOf(pattern, { characters, alphabetSize }) {
  const tokens = characters.length;
  const shape = { queryHeads: HEADS, kvHeads: HEADS, tokens, headDim: DIM, valueDim: alphabetSize };
  const { flops, selection } = explain(pattern, shape);
  return flops + (selection?.flops ?? 0);
}

export async function run(file = defaultFile()) {
  const whole = readFileSync(file);
  const text = readCharacters(whole.subarray(0, LENGTH));
  const { characters, alphabetSize } = text;
  const length = characters.length;
  if (length < 2) throw new RangeError(`${file} holds ${length} characters; the demo needs at least 2`);
  const extent = length < whole.length ? `the first ${length} of ${whole.length}` : length;
  console.log(`${file}: ${extent} characters, ${alphabetSize} different ones`);

  const operands = { contexts: embedContexts(characters), values: oneHot(text) };
  const orderZero = (orderZeroBits(text) / length).toFixed(3);
  console.log(`order-0: ${orderZero} bits per character, by counting how often each occurred so far\n`);

  row(`${HEADS} heads`, 'bits/char', 'guessed', 'explain()', 'measured', 'seconds');
  let dense;
  for (const [name, pattern] of patterns) {
    if (process.stdout.isTTY) process.stdout.write(`${name} ...\r`); // until its row is there
    const result = { ...(await predict(text, operands, pattern)), flops: flopsOf(pattern, text) };
    dense ??= result;
    row(
      name,
      (result.bits / length).toFixed(3),
      `${((100 * result.hits) / length).toFixed(1)} %`,
      `${(dense.flops / result.flops).toFixed(1)}x`,
      `${(dense.seconds / result.seconds).toFixed(1)}x`,
      result.seconds.toFixed(2),
    );
  }
  console.log(`
The window forgets what is far. S2's heads each see another ${HEADS}th of it, together all. HiP looks for the passages
that matter. explain() counted before anything ran how much less work that is; measured is what it saved.`);

  compareWithNaive(operands, alphabetSize, dense);
}

/** Dense attention as plain loops, for the last few characters. */
function compareWithNaive({ contexts, values }, alphabetSize, dense) {
  const length = contexts.dims[1];
  const begin = Math.max(1, length - SLICE);
  const started = performance.now();
  const naive = naiveAttention(contexts, values, begin, length);
  const share = ((length - begin) * (length + begin - 1)) / (length * (length - 1)); // of all (query, key) pairs
  const seconds = (performance.now() - started) / 1000 / share;
  const ours = dense.last.subarray(-naive.length);
  const difference = naive.reduce((max, x, i) => Math.max(max, Math.abs(x - ours[i])), 0);
  const cpu = devices().find((device) => device.name === 'cpu');
  const gflops = dense.flops / dense.seconds / 1e9;
  console.log(`
dense: ${gflops.toFixed(0)} GFLOP/s on ${cpu.threads} threads (${cpu.instructionSet}); a naive loop would take about \
${seconds.toFixed(0)} s, ${(seconds / dense.seconds).toFixed(0)}x as long
(extrapolated from the last ${naive.length / alphabetSize} characters, where the two differ by ${difference.toExponential(1)})`);
}
