// Next-character prediction by attention alone: no weights, nothing learned, only "what followed when it looked like this?"
// Reader: someone meeting the API. `npm run demo [file]`; the default is the Node.js licence text.
// Idea: attention as kernel smoothing over the past (Nadaraya-Watson), with a match of the last characters as kernel.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { attention, devices, Tensor } from 'tilewise';

const DIM = 64; // of a context's embedding
const MATCH_WEIGHTS = [3, 3, 3, 2, 2, 2]; // score for agreeing in the last 1, 2, ... 6 characters, in nats, added up
const FLOOR = 0.05; // share of the prediction spread evenly over the alphabet, so that no character costs infinite bits
const CHUNK = 2048; // queries per call: only for progress, the result is the same for any number
const SLICE = 48; // queries of the naive loop that everything is compared with

function defaultFile() {
  const prefix = path.join(path.dirname(process.execPath), '..');
  const places = ['LICENSE', 'share/doc/nodejs/LICENSE', 'share/doc/node/LICENSE'].map((p) => path.join(prefix, p));
  return places.find(existsSync) ?? fileURLToPath(new URL('../README.md', import.meta.url));
}

/** The text as indices into its alphabet. A character is a byte. */
function readText(file) {
  const bytes = readFileSync(file);
  const alphabet = [...new Set(bytes)];
  const indexOf = new Map(alphabet.map((byte, i) => [byte, i]));
  return { characters: Uint8Array.from(bytes, (byte) => indexOf.get(byte)), alphabetSize: alphabet.length };
}

/**
 * Embeds the context before each position: [1, positions, 1, DIM]. Every n-gram has a fixed pseudo-random vector of
 * +-1, orthogonal to all others but for noise, so the dot product of two contexts adds up the weights of their matches.
 */
function embedContexts(characters) {
  const data = new Float32Array(characters.length * DIM);
  for (let i = 0; i < characters.length; i++) {
    let hash = 0x811c9dc5; // of the last n characters, by FNV-1a
    for (let n = 1; n <= MATCH_WEIGHTS.length && n <= i; n++) {
      hash = Math.imul(hash ^ characters[i - n], 0x01000193);
      const size = Math.sqrt(MATCH_WEIGHTS[n - 1] / DIM);
      let signs = hash;
      for (let d = 0; d < DIM; d++) {
        signs = Math.imul(signs ^ (signs >>> 15), 0x2c1b3c6d) + n; // one step of an integer mixer per sign
        data[i * DIM + d] += signs < 0 ? -size : size;
      }
    }
  }
  return new Tensor('float32', data, [1, characters.length, 1, DIM]);
}

/** The character at each position, one-hot: [1, positions, 1, alphabet]. Averaged, it is a distribution. */
function oneHot(characters, alphabetSize) {
  const data = new Float32Array(characters.length * alphabetSize);
  characters.forEach((c, i) => {
    data[i * alphabetSize + c] = 1;
  });
  return new Tensor('float32', data, [1, characters.length, 1, alphabetSize]);
}

/** Bits that an adaptive order-0 model needs: it counts the characters seen so far and nothing else. */
function orderZeroBits(characters, alphabetSize) {
  const counts = new Float64Array(alphabetSize).fill(1);
  return characters.reduce((bits, c, i) => bits - Math.log2(counts[c]++ / (alphabetSize + i)), 0);
}

/** Attention as plain loops, for queries begin..end-1, each over the keys before it. */
function naiveAttention(contexts, values, width, begin, end) {
  const out = new Float64Array((end - begin) * width);
  for (let i = begin; i < end; i++) {
    const weights = new Float64Array(i);
    for (let j = 0; j < i; j++) {
      for (let d = 0; d < DIM; d++) weights[j] += contexts[i * DIM + d] * contexts[j * DIM + d];
    }
    const max = weights.reduce((a, b) => Math.max(a, b), -Infinity);
    let sum = 0;
    for (let j = 0; j < i; j++) sum += weights[j] = Math.exp(weights[j] - max);
    for (let j = 0; j < i; j++) {
      for (let c = 0; c < width; c++) out[(i - begin) * width + c] += (weights[j] / sum) * values[j * width + c];
    }
  }
  return out;
}

let shownAt = 0; // seconds
function showProgress(done, total, seconds) {
  const share = (done / total) ** 2; // causal: the work grows with the square of the position
  const text = `  ${(100 * share).toFixed(0).padStart(3)} %, about ${(seconds / share - seconds).toFixed(0)} s left`;
  if (process.stderr.isTTY) {
    process.stderr.write(done < total ? `\r${text}   ` : '\r\x1b[K');
  } else if (seconds - shownAt > 5) {
    process.stderr.write(`${text}\n`);
    shownAt = seconds;
  }
}

const file = process.argv[2] ?? defaultFile();
const { characters, alphabetSize } = readText(file);
const length = characters.length;
if (length < 2) throw new RangeError(`${file} holds ${length} characters; the demo needs at least 2`);
const cpu = devices().find((device) => device.name === 'cpu');
console.log(`${file}: ${length} characters, ${alphabetSize} different ones`);

const contexts = embedContexts(characters);
const values = oneHot(characters, alphabetSize);
let bits = -Math.log2(1 / alphabetSize); // nothing comes before the first character
let hits = 0;
let last; // the last chunk's result, checked below against the naive loop
let seconds = 0;
for (let begin = 1; begin < length; begin += CHUNK) {
  const end = Math.min(length, begin + CHUNK);
  const started = performance.now();
  // Query i is the context before character i. It may look at the pairs (context, character) before it: causal, with
  // the last query (end - 1) on the last key (end - 2). slice() makes views, nothing is copied.
  const { out } = await attention(
    contexts.slice(1, begin, end),
    contexts.slice(1, 0, end - 1),
    values.slice(1, 0, end - 1),
    {
      causal: true,
      scale: 1,
    },
  );
  seconds += (performance.now() - started) / 1000;
  for (let i = begin; i < end; i++) {
    const seen = out.data.subarray((i - begin) * alphabetSize, (i - begin + 1) * alphabetSize);
    bits -= Math.log2((1 - FLOOR) * seen[characters[i]] + FLOOR / alphabetSize);
    hits += seen.indexOf(Math.max(...seen)) === characters[i];
  }
  last = { out, begin };
  showProgress(end, length, seconds);
}

const perCharacter = (total) => `${(total / length).toFixed(3)} bits per character`;
console.log(
  `attention: ${perCharacter(bits)}, its best guess is right ${((100 * hits) / length).toFixed(1)} % of the time`,
);
console.log(
  `order-0:   ${perCharacter(orderZeroBits(characters, alphabetSize))} (how often each character occurred so far)`,
);

const pairs = (length * (length - 1)) / 2;
const gflops = (2 * pairs * (DIM + alphabetSize)) / seconds / 1e9;
console.log(`${seconds.toFixed(2)} s, ${gflops.toFixed(1)} GFLOP/s on ${cpu.threads} threads (${cpu.instructionSet})`);

const sliceBegin = Math.max(last.begin, length - SLICE);
const started = performance.now();
const naive = naiveAttention(contexts.data, values.data, alphabetSize, sliceBegin, length);
const slicePairs = ((sliceBegin + length - 1) * (length - sliceBegin)) / 2;
const naiveSeconds = ((performance.now() - started) / 1000) * (pairs / slicePairs);
const ours = last.out.data.subarray((sliceBegin - last.begin) * alphabetSize);
const difference = naive.reduce((max, x, i) => Math.max(max, Math.abs(x - ours[i])), 0);
console.log(
  `a naive loop would take about ${naiveSeconds.toFixed(0)} s, ${(naiveSeconds / seconds).toFixed(0)}x as long ` +
    `(extrapolated from the last ${length - sliceBegin} characters, where the two differ by ${difference.toExponential(1)})`,
);
