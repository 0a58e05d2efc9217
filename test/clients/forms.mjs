// Random forms of the operators: sizes, masks, attributes drawn from a seed. Reader: someone whose form no other file has.
// TILEWISE_FORMS_SEED draws others.

import process from 'node:process';
import { single } from './single.mjs';

const theirs = { domain: 'com.microsoft', opset: 17 };
const float32 = (name, ...dims) => [name, 'float32', dims];
const int32 = (name, ...dims) => [name, 'int32', dims];

/** Numbers from 0 to 1 (Mulberry32). */
function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What is drawn from. */
function dice(seed) {
  const next = random(seed);
  const whole = (low, high) => low + Math.floor(next() * (high - low + 1));
  return { whole, pick: (...all) => all[whole(0, all.length - 1)], often: (share) => next() < share };
}

/** The settings that both operators of com.microsoft have. */
const settingsOf = ({ often, pick }, heads) => ({
  num_heads: heads,
  ...(often(0.4) && { unidirectional: 1 }),
  ...(often(0.3) && { scale: { float: pick(0.1, 0.7) } }),
  ...(often(0.3) && { mask_filter_value: { float: pick(-10000, -5, -1e30) } }),
});

function multiHead(die) {
  const { whole, pick, often } = die;
  const [batch, heads, queries, keys, dim] = [whole(1, 3), whole(1, 4), whole(1, 9), whole(1, 9), pick(4, 8, 10)];
  const isHeadsFirst = often(0.3);
  const valueDim = isHeadsFirst ? dim : pick(dim, 6);
  const given = (name, width) =>
    isHeadsFirst ? float32(name, batch, heads, keys, width) : float32(name, batch, keys, heads * width);
  const masks = [
    ...[undefined, int32('lengths', batch), int32('lengths', 3 * batch + 2)],
    ...[int32('keys', batch, keys), int32('keys', batch, queries, keys)],
  ];
  const inputs = [
    ...[float32('q', batch, queries, heads * dim), given('k', dim), given('v', valueDim)],
    often(0.4) ? float32('bias', heads * (2 * dim + valueDim)) : undefined,
    pick(...masks),
    often(0.3) ? float32('added', pick(1, batch), pick(1, heads), queries, keys) : undefined,
  ];
  return single('MultiHeadAttention', inputs, settingsOf(die, heads), theirs);
}

function inside(die) {
  const { whole, pick, often } = die;
  const [batch, heads, tokens, dim, width] = [whole(1, 3), whole(1, 4), whole(1, 9), pick(4, 8, 10), whole(3, 20)];
  const valueDim = pick(dim, dim, 6);
  const columns = [dim, dim, valueDim].map((one) => one * heads);
  const total = columns[0] + columns[1] + columns[2];
  const masks = [
    ...[undefined, int32('lengths', batch), int32('lengths', 2 * batch), int32('keys', batch, 1)],
    ...[int32('keys', batch, tokens), int32('keys', batch, tokens, tokens)],
  ];
  const inputs = [
    ...[float32('x', batch, tokens, width), float32('weights', width, total), float32('bias', total), pick(...masks)],
    ...[undefined, often(0.3) ? float32('added', pick(1, batch), pick(1, heads), tokens, tokens) : undefined],
  ];
  const sizes = valueDim !== dim || often(0.3) ? { qkv_hidden_sizes: columns } : {};
  return single('Attention', inputs, { ...settingsOf(die, heads), ...sizes }, theirs);
}

function onnx({ whole, pick, often }) {
  const isCounted = often(0.3);
  // Counts of keys are at most 5, see feedOf().
  const keys = whole(isCounted ? 5 : 1, 9);
  const [batch, kvHeads, queries, dim] = [whole(1, 3), whole(1, 3), whole(1, 8), pick(4, 8, 10)];
  const heads = kvHeads * pick(1, 2);
  const isMerged = often(0.4);
  const operand = (name, of, tokens, width) =>
    isMerged ? float32(name, batch, tokens, of * width) : float32(name, batch, of, tokens, width);
  const dims = pick([], [heads], [batch, 1], [1, heads], [batch, heads]);
  const masks = [undefined, ['mask', 'bool', [...dims, queries, keys]], float32('mask', ...dims, queries, keys)];
  const inputs = [
    ...[operand('q', heads, queries, dim), operand('k', kvHeads, keys, dim), operand('v', kvHeads, keys, pick(dim, 6))],
    ...[pick(...masks), undefined, undefined, isCounted ? ['lengths', 'int64', [batch]] : undefined],
  ];
  const attributes = {
    ...(isMerged && { q_num_heads: heads, kv_num_heads: kvHeads }),
    ...(often(0.4) && { is_causal: 1 }),
    ...(often(0.3) && { scale: 0.3 }),
    ...(often(0.3) && { softcap: 0.5 }),
  };
  return single('Attention', inputs, attributes, { opset: 24 });
}

/** @returns models by name; the seed is part of the name, so that a failure says it */
export function randomForms(count = 30, seed = Number(process.env.TILEWISE_FORMS_SEED ?? 1)) {
  const makers = { 'multi-head attention': multiHead, 'projections inside': inside, attention: onnx };
  return Object.fromEntries(
    Object.entries(makers).flatMap(([name, make], kind) =>
      Array.from({ length: count }, (_, i) => [
        `${name}, form ${i} of seed ${seed}`,
        make(dice(seed + 1000 * i + kind)),
      ]),
    ),
  );
}
