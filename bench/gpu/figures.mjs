// What the rows of versus.py say about a case when they are put side by side: our time, others', and the bounds it is held against.
// Reader: someone who doubts a ratio.

const wordsOf = (line) => Object.fromEntries(line.split(' ').map((word) => word.split('=')));

/** A case with its defaults, as bench/gpu/case.cc has them. */
function shapeOf(line) {
  const words = wordsOf(line);
  const number = (name, otherwise) => Number(words[name] ?? otherwise);
  const keys = number('keys', 8192);
  const dim = number('dim', 128);
  const heads = number('heads', Math.max(1, Math.floor(2048 / dim)));
  return {
    pattern: words.pattern ?? 'full',
    dtype: words.dtype ?? 'bfloat16',
    keys,
    queries: number('queries', keys),
    dim,
    heads,
    kvHeads: number('kvHeads', heads),
    batch: number('batch', Math.max(1, Math.floor(16384 / keys))),
  };
}

const groupOf = ({ pattern, queries, keys }) =>
  pattern === 'hip'
    ? 'hip'
    : queries < keys
      ? 'decode'
      : pattern === 'full' || pattern === 'causal'
        ? 'dense'
        : 'family';

/**
 * @param {{rows: object[], steps: object[]}} result of versus.py
 * @returns {object[]} a figure per case that we ran. `ratio`: the best other's time over ours; `speedup`: over our own dense
 *   attention of the same shape, `bound`: what the pairs that tiles compute would allow; `ofCopy`: share of a copy's GB/s
 */
export function figuresOf({ rows, steps }) {
  const copy = rows.find((row) => row.group === 'torch copy');
  const ours = rows.filter((row) => row.group === 'tilewise');
  const shapes = new Map(ours.map((row) => [row.case, shapeOf(row.case)]));
  const denseOf = (shape) => {
    const pattern = shape.pattern === 'neighborhood' ? 'full' : 'causal';
    const wanted = JSON.stringify({ ...shape, pattern });
    return ours.find((row) => JSON.stringify(shapes.get(row.case)) === wanted);
  };
  return ours.map((row) => {
    const shape = shapes.get(row.case);
    const group = groupOf(shape);
    const others = rows.filter((other) => other.case === row.case && other.group.startsWith('torch') && other.ms);
    const best = others.reduce((a, b) => (a && a.ms <= b.ms ? a : b), undefined);
    const dense = group === 'family' || group === 'hip' ? denseOf(shape) : undefined;
    const speedup = dense && dense.ms / row.ms;
    const bound = dense?.computedPairs && row.computedPairs ? dense.computedPairs / row.computedPairs : undefined;
    return {
      ...row,
      ...shape,
      group,
      name: row.case,
      others: Object.fromEntries(others.map((other) => [other.backend ?? 'flex', other.ms])),
      ratio: best && best.ms / row.ms,
      flashRatio: others.find((other) => other.backend === 'flash')?.ms / row.ms || undefined,
      speedup,
      bound,
      ofBound: bound && speedup / bound,
      ofCopy: copy && group === 'decode' ? row.keyGbps / copy.gbps : undefined,
      state: steps.find((step) => step.name === row.case),
    };
  });
}

/** The ceilings of the run: the matrix product at its beginning and end, the copy. */
export function ceilingsOf({ rows }) {
  const of = (group) => rows.filter((row) => row.group === group);
  return { products: of('torch matmul').map((row) => row.tflops), copy: of('torch copy')[0]?.gbps };
}
