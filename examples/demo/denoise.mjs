// Non-local means: every pixel becomes the mean of the pixels around it whose patches look alike. That is attention, with
// patches as queries and keys, colours as values, and a neighborhood of the picture as the pattern.
// Reader: someone with an image problem. Idea: Buades, Coll, Morel, "A non-local algorithm for image denoising" (2005).
import { neighborhoodAttention, Tensor } from 'tilewise';

export const SEARCH = 21; // pixels along each axis of the neighborhood
export const REACH = 1; // of a patch around its pixel: 3 x 3
export const PATCH = 3 * (2 * REACH + 1) ** 2; // numbers in a patch
const BAND = 2 ** 17; // pixels per call, about: patches take PATCH numbers each, a photo's would fill the memory

/** The denominator of exp(-distance / softness): what noise alone makes of the squared distance of patches, about. */
export const softnessOf = (sigma) => 1.2 * PATCH * sigma ** 2;

/** The patch around every pixel of rows begin..end-1, as [1, rows, width, 1, PATCH]; edges repeat. */
function patches({ width, height, pixels }, begin, end) {
  const data = new Float32Array((end - begin) * width * PATCH);
  const clamp = (i, length) => Math.min(length - 1, Math.max(0, i));
  let to = 0;
  for (let y = begin; y < end; y++) {
    for (let x = 0; x < width; x++) {
      for (let dy = -REACH; dy <= REACH; dy++) {
        for (let dx = -REACH; dx <= REACH; dx++) {
          const from = (clamp(y + dy, height) * width + clamp(x + dx, width)) * 3;
          for (let c = 0; c < 3; c++) data[to++] = pixels[from + c];
        }
      }
    }
  }
  return new Tensor('float32', data, [1, end - begin, width, 1, PATCH]);
}

/** -|patch|^2 / softness of every key, for all queries: [1, 1, 1, keys]. */
function sizes(keys, softness) {
  const data = new Float32Array(keys.data.length / PATCH);
  for (let i = 0; i < keys.data.length; i++) data[Math.floor(i / PATCH)] -= keys.data[i] ** 2 / softness;
  return new Tensor('float32', data, [1, 1, 1, data.length]);
}

/** One call. -|q - k|^2 = 2 q.k - |k|^2 - |q|^2, and the softmax does not mind the last, the same for all keys. */
async function denoiseRows(picture, softness, begin, end) {
  const { width, pixels } = picture;
  const queriesAndKeys = patches(picture, begin, end);
  const ownPixels = pixels.subarray(begin * width * 3, end * width * 3);
  const colours = new Tensor('float32', ownPixels, [1, end - begin, width, 1, 3]);
  const { out } = await neighborhoodAttention(queriesAndKeys, queriesAndKeys, colours, {
    kernelSize: SEARCH,
    scale: 2 / softness,
    bias: sizes(queriesAndKeys, softness),
  });
  return out.data;
}

/** Takes noise of standard deviation sigma out of a picture, band by band: each with the rows that its edges see. */
export async function denoise(picture, sigma) {
  const { width, height, pixels } = picture;
  if (Math.min(width, height) < SEARCH) {
    throw new RangeError(`A picture of ${width} x ${height} is too small; ${SEARCH} x ${SEARCH} would do`);
  }
  const clean = new Float32Array(pixels.length);
  const rows = Math.max(1, Math.floor(BAND / width));
  const margin = (SEARCH - 1) / 2;
  for (let begin = 0; begin < height; begin += rows) {
    const end = Math.min(height, begin + rows);
    // Windows move inward at the edges of a picture, so the first and the last of them reach further.
    const from = Math.max(0, Math.min(begin - margin, height - SEARCH));
    const to = Math.min(height, Math.max(end + margin, SEARCH));
    const band = await denoiseRows(picture, softnessOf(sigma), from, to);
    clean.set(band.subarray((begin - from) * width * 3, (end - from) * width * 3), begin * width * 3);
  }
  return { ...picture, pixels: clean };
}
