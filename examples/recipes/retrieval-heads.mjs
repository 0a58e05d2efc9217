// Retrieval heads (arXiv 2404.15574): while a model copies a needle from its context, a head's score is the share of the copied tokens
// whose query looks most at the token that is copied.
import { attentionStats } from 'tilewise';
import { dot, random, range, row, runAlone } from './naive.mjs';

const [tokens, heads, kvHeads, dim] = [60, 8, 2, 16];
/** The needle's place, and the tokens that copy it at the end of the text. */
const [needle, copied] = [17, 12];

/** The score of each head. @param q of the tokens that are generated, the last ones of k */
export async function retrievalScores(q, k) {
  const { rowTopK } = await attentionStats(q, k, { want: ['rowTopK'], rowTopK: 1, causal: true });
  const isHit = (head, i) => rowTopK.indices.data[head * copied + i] === needle + i;
  return range(heads).map((head) => range(copied).filter((i) => isHit(head, i)).length / copied);
}

export async function recipe() {
  const [q, k] = [random(1, copied, heads, dim), random(1, tokens, kvHeads, dim)];
  // Heads look at what they copy, the later ones less often.
  for (const head of range(heads)) {
    for (const i of range(copied)) {
      if ((i * 7) % copied < head) continue;
      const key = row(k, needle + i, Math.floor((head * kvHeads) / heads));
      row(q, i, head).set(key.map((x) => 9 * x));
    }
  }
  const wanted = range(heads).map((head) => {
    const of = Math.floor((head * kvHeads) / heads);
    const hits = range(copied).filter((i) => {
      const seen = range(tokens - copied + i + 1).map((j) => dot(row(q, i, head), row(k, j, of)));
      return seen.indexOf(Math.max(...seen)) === needle + i;
    });
    return hits.length / copied;
  });
  return { scores: { out: { data: await retrievalScores(q, k) }, wanted } };
}

await runAlone(import.meta, recipe);
