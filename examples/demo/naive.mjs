// What one would write without a library: the loops that the demos are compared with, for speed and for being right.
// Reader: someone who wants attention and non-local means as formulas.

/** Predictions for positions begin..end-1: one softmax over all heads and the keys before a position. */
export function naiveAttention(contexts, values, begin, end) {
  const [, , heads, dim] = contexts.dims;
  const width = values.dims[3];
  const out = new Float64Array((end - begin) * width);
  for (let i = begin; i < end; i++) {
    const weights = new Float64Array(i * heads);
    for (let j = 0; j < weights.length; j++) {
      const query = (i * heads + (j % heads)) * dim;
      for (let d = 0; d < dim; d++) weights[j] += contexts.data[query + d] * contexts.data[j * dim + d];
    }
    const max = weights.reduce((a, b) => Math.max(a, b), -Infinity);
    let sum = 0;
    for (let j = 0; j < weights.length; j++) sum += weights[j] = Math.exp(weights[j] - max);
    for (let j = 0; j < weights.length; j++) {
      const value = Math.floor(j / heads) * width;
      for (let c = 0; c < width; c++) out[(i - begin) * width + c] += (weights[j] / sum) * values.data[value + c];
    }
  }
  return out;
}

/** Rows begin..end-1 of a picture, every pixel the mean of those around it, weighted by how alike the patches are. */
export function naiveNonLocalMeans({ width, height, pixels }, { search, reach, softness }, begin, end) {
  const out = new Float64Array((end - begin) * width * 3);
  const clamp = (i, length) => Math.min(length - 1, Math.max(0, i));
  const first = (i, length) => Math.min(length - search, Math.max(0, i - (search - 1) / 2)); // moved inward at edges
  const at = (y, x) => (clamp(y, height) * width + clamp(x, width)) * 3;
  for (let y = begin; y < end; y++) {
    for (let x = 0; x < width; x++) {
      const to = ((y - begin) * width + x) * 3;
      let sum = 0;
      for (let v = first(y, height), bottom = v + search; v < bottom; v++) {
        for (let u = first(x, width), right = u + search; u < right; u++) {
          let distance = 0;
          for (let dy = -reach; dy <= reach; dy++) {
            for (let dx = -reach; dx <= reach; dx++) {
              const one = at(y + dy, x + dx);
              const other = at(v + dy, u + dx);
              for (let c = 0; c < 3; c++) distance += (pixels[one + c] - pixels[other + c]) ** 2;
            }
          }
          const weight = Math.exp(-distance / softness);
          sum += weight;
          for (let c = 0; c < 3; c++) out[to + c] += weight * pixels[at(v, u) + c];
        }
      }
      for (let c = 0; c < 3; c++) out[to + c] /= sum;
    }
  }
  return out;
}
