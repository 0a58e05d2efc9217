// A language model without weights: "what followed when it looked like this, in a passage like this?"
// Reader: someone who asks what queries, keys and values are here. They go into attention() in predict.mjs.
// Idea: attention as kernel smoothing over the past (Nadaraya-Watson); the kernel is a match of contexts.
import { Tensor } from 'tilewise';

export const HEADS = 8; // the same model with other random vectors: what is noise in one is not in the others
const MATCH_DIM = 48; // of a head's embedding of the last few characters
const MATCH_WEIGHTS = [3, 3, 3, 2, 2, 2]; // score for agreeing in the last 1, 2, ... 6 characters, in nats, added up
const PASSAGE_DIM = 16; // of its embedding of the passage
const PASSAGE_WEIGHT = 4; // score for the same passage, in nats
const PASSAGE_LENGTH = 32; // characters after which a passage is forgotten by 1/e
const PASSAGE_GRAM = 5; // a passage is the sum of its 5-grams
export const DIM = MATCH_DIM + PASSAGE_DIM;

/** Bytes as indices into their alphabet. */
export function readCharacters(bytes) {
  const alphabet = [...new Set(bytes)];
  const indexOf = new Map(alphabet.map((byte, i) => [byte, i]));
  return { characters: Uint8Array.from(bytes, (byte) => indexOf.get(byte)), alphabetSize: alphabet.length };
}

/**
 * Embeds the context before each position: [1, positions, HEADS, DIM]. Every n-gram has a fixed pseudo-random vector of
 * +-1, orthogonal to all others but for noise, so the dot product of two contexts adds up the weights of their matches.
 * Passages change slowly, which is what lets HiP find them: neighbouring keys score alike.
 */
export function embedContexts(characters) {
  const data = new Float32Array(characters.length * HEADS * DIM);
  const gram = new Float64Array(PASSAGE_DIM);
  for (let head = 0; head < HEADS; head++) {
    const passage = new Float64Array(PASSAGE_DIM);
    for (let i = 0; i < characters.length; i++) {
      const at = (i * HEADS + head) * DIM;
      let hash = 0x811c9dc5 ^ Math.imul(head, 0x9e3779b1); // of the last n characters, by FNV-1a
      for (let n = 1; n <= MATCH_WEIGHTS.length && n <= i; n++) {
        hash = Math.imul(hash ^ characters[i - n], 0x01000193);
        addSigns(data, at, MATCH_DIM, hash, n, Math.sqrt(MATCH_WEIGHTS[n - 1] / MATCH_DIM));
        if (n === PASSAGE_GRAM) addSigns(gram.fill(0), 0, PASSAGE_DIM, hash, 0, 1);
      }
      for (let d = 0; d < PASSAGE_DIM; d++) passage[d] = passage[d] * (1 - 1 / PASSAGE_LENGTH) + gram[d];
      const size = Math.sqrt(PASSAGE_WEIGHT) / (Math.hypot(...passage) || 1);
      for (let d = 0; d < PASSAGE_DIM; d++) data[at + MATCH_DIM + d] = size * passage[d];
    }
  }
  return new Tensor('float32', data, [1, characters.length, HEADS, DIM]);
}

/** Adds `size` with pseudo-random signs to `count` numbers: one step of an integer mixer per sign. */
function addSigns(data, at, count, seed, step, size) {
  for (let d = 0, signs = seed; d < count; d++) {
    signs = Math.imul(signs ^ (signs >>> 15), 0x2c1b3c6d) + step;
    data[at + d] += signs < 0 ? -size : size;
  }
}

/** The character at each position, one-hot. Averaged, it is a distribution. All heads read the same: their stride is 0. */
export function oneHot({ characters, alphabetSize }) {
  const data = new Float32Array(characters.length * alphabetSize);
  characters.forEach((c, i) => {
    data[i * alphabetSize + c] = 1;
  });
  const strides = [data.length, alphabetSize, 0, 1];
  return new Tensor('float32', data, [1, characters.length, HEADS, alphabetSize], { strides });
}

/** Bits that an adaptive order-0 model needs: it counts the characters seen so far and nothing else. */
export function orderZeroBits({ characters, alphabetSize }) {
  const counts = new Float64Array(alphabetSize).fill(1);
  return characters.reduce((bits, c, i) => bits - Math.log2(counts[c]++ / (alphabetSize + i)), 0);
}
