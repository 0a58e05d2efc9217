// Predicts every character of a text from those before it, by attention with a pattern.
// Reader: someone looking for the calls. Operands are those of contexts.mjs.
import { attention, mergeAttention } from 'tilewise';

const CHUNK = 2048; // queries per call: bounds the memory of results, the result is the same for any number
const FLOOR = 0.05; // share of the prediction spread evenly over the alphabet, so that no character costs infinite bits

/** Bits that the text costs, how often the best guess was right, seconds of attention, and the last predictions. */
export async function predict({ characters, alphabetSize }, { contexts, values }, pattern) {
  const length = characters.length;
  const result = { bits: Math.log2(alphabetSize), hits: 0, seconds: 0, last: undefined }; // the first has nothing before it
  for (let begin = 1; begin < length; begin += CHUNK) {
    const end = Math.min(length, begin + CHUNK);
    const started = performance.now();
    // Query i is the context before character i. It may look at the pairs (context, character) before it: patterns align
    // the last query (end - 1) with the last key (end - 2). slice() makes views, nothing is copied.
    const { out, lse } = await attention(
      contexts.slice(1, begin, end),
      contexts.slice(1, 0, end - 1),
      values.slice(1, 0, end - 1),
      { pattern, scale: 1, returnLse: true },
    );
    // A head that found better matches counts for more: one softmax over what all heads saw.
    const heads = Array.from({ length: out.dims[2] }, (_, head) => head);
    const parts = heads.map((head) => ({ out: out.slice(2, head, head + 1), lse: lse.slice(1, head, head + 1) }));
    const predictions = (await mergeAttention(parts)).out.data;
    result.seconds += (performance.now() - started) / 1000;

    for (let i = begin; i < end; i++) {
      const seen = predictions.subarray((i - begin) * alphabetSize, (i - begin + 1) * alphabetSize);
      result.bits -= Math.log2((1 - FLOOR) * seen[characters[i]] + FLOOR / alphabetSize);
      result.hits += seen.indexOf(Math.max(...seen)) === characters[i];
    }
    result.last = predictions;
  }
  return result;
}
