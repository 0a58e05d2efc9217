// Which token comes next, by its logits. Reader: someone who reads generate.mjs or serve.mjs.

/** The likeliest one: greedy decoding, always the same text. */
export const likeliest = (logits) => logits.reduce((best, logit, i) => (logit > logits[best] ? i : best), 0);

/** One drawn by its probability; a low temperature makes the likely ones likelier. */
export function drawn(logits, temperature) {
  const most = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp((logit - most) / temperature));
  let rest = Math.random() * weights.reduce((sum, weight) => sum + weight, 0);
  const token = weights.findIndex((weight) => {
    rest -= weight;
    return rest < 0;
  });
  return token < 0 ? likeliest(logits) : token;
}
