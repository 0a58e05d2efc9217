// The character Llama of examples/generate in float64, one token at a time, every number where the formula has it.
// Reader: someone who checks what is generated. Formulas: Llama (arXiv 2302.13971), rotary embedding (arXiv 2104.09864).

import { readFileSync } from 'node:fs';
import { fromBits } from './half.js';
import { hierarchicalRule, type SelectionOptions, select } from './hierarchical.js';
import { type Operand, rowMajor } from './operand.js';
import { turnedRow } from './rotary.js';

const file = readFileSync(new URL('../../examples/generate/chargpt.f16.safetensors', import.meta.url));
const headerEnd = 8 + file.readUInt32LE(0);
const header = JSON.parse(file.toString('utf8', 8, headerEnd));
export const characters: string[] = JSON.parse(header.__metadata__.chars);

/** Rows of a weight. */
function weight(name: string): number[][] {
  const { shape, data_offsets } = header[`${name}.weight`] as { shape: number[]; data_offsets: number[] };
  const columns = shape.at(-1)!;
  const numbers = Array.from({ length: shape.reduce((a, n) => a * n, 1) }, (_, i) =>
    fromBits('float16', file.readUInt16LE(headerEnd + data_offsets[0] + 2 * i)),
  );
  return Array.from({ length: numbers.length / columns }, (_, row) =>
    numbers.slice(row * columns, (row + 1) * columns),
  );
}

const embedding = weight('emb');
const lastNorm = weight('norm')[0];
const blocks = [0, 1, 2].map((layer) => {
  const of = (name: string) => weight(`layers.${layer}.${name}`);
  const [n1, n2] = [of('n1')[0], of('n2')[0]];
  return { n1, n2, q: of('q'), k: of('k'), v: of('v'), o: of('o'), gate: of('gate'), up: of('up'), down: of('down') };
});

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i], 0);
const times = (matrix: readonly number[][], x: readonly number[]) => matrix.map((row) => dot(row, x));
const plus = (a: readonly number[], b: readonly number[]) => a.map((x, i) => x + b[i]);
const normed = (x: readonly number[], factors: readonly number[]) =>
  x.map((value, i) => (value * factors[i]) / Math.sqrt(dot(x, x) / x.length + 1e-5));
const headsOf = (x: readonly number[]) => Array.from({ length: x.length / 32 }, (_, h) => x.slice(32 * h, 32 * h + 32));

/** Which tokens one sees: so many of the newest, itself included, and of the first, or what a selection finds. */
export interface Sight {
  readonly recentTokens: number;
  readonly sinkTokens: number;
  readonly selection?: SelectionOptions;
}

/** Rows of heads by token, as an operand [1, heads, tokens, 32]. */
function operandOf(rows: readonly (readonly number[][])[]): Operand {
  const dims = [1, rows[0].length, rows.length, 32];
  const data = Float32Array.from(rows[0].flatMap((_, head) => rows.flatMap((heads) => heads[head])));
  return { type: 'float32', data, dims, strides: rowMajor(dims), offset: 0 };
}

/** Whether a head of the newest token sees the token at a position, by its query and all keys. */
function selected(options: SelectionOptions, query: number[][], keys: number[][][]) {
  const found = select(operandOf([query]), operandOf(keys), options).selected;
  const rules = query.map((_, head) =>
    hierarchicalRule({ kind: 'hierarchical', options, selected: found }, 0, head, query.length),
  );
  return (head: number, position: number) => rules[head](0, keys.length - 1, position);
}

/** Logits after each of the tokens; by default each sees everything before it. */
export function logitsOf(
  tokens: readonly number[],
  { recentTokens, sinkTokens, selection }: Sight = { recentTokens: Number.POSITIVE_INFINITY, sinkTokens: 0 },
): number[][] {
  const kept = blocks.map(() => ({ k: [] as number[][][], v: [] as number[][][] }));
  return tokens.map((token, position) => {
    const isRecent = (_: number, key: number) => key < sinkTokens || key > position - recentTokens;
    let x: number[] = embedding[token];
    for (const [layer, block] of blocks.entries()) {
      const { k, v } = kept[layer];
      const seen = normed(x, block.n1);
      k.push(headsOf(times(block.k, seen)).map((head) => turnedRow(head, position)));
      v.push(headsOf(times(block.v, seen)));
      const queries = headsOf(times(block.q, seen)).map((head) => turnedRow(head, position));
      const isSeen = selection ? selected(selection, queries, k) : isRecent;
      const out = queries.flatMap((query, h) => {
        const weights = k.map((keys, t) => (isSeen(h, t) ? Math.exp(dot(query, keys[h >> 1]) / Math.sqrt(32)) : 0));
        const sum = weights.reduce((a, b) => a + b, 0);
        return query.map((_, d) => weights.reduce((total, w, t) => total + w * v[t][h >> 1][d], 0) / sum);
      });
      x = plus(x, times(block.o, out));
      const hidden = normed(x, block.n2);
      const up = times(block.up, hidden);
      x = plus(
        x,
        times(
          block.down,
          times(block.gate, hidden).map((g, i) => (g / (1 + Math.exp(-g))) * up[i]),
        ),
      );
    }
    return times(embedding, normed(x, lastNorm));
  });
}
