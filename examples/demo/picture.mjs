// A picture to have one: a low sun with rings over a tiled floor. And the noise that spoils it, and by how much.
// Reader: someone without a picture at hand.

const SIZE = 512;
const SAMPLES = 3; // per pixel and axis, for smooth edges

/** Colour at x, y in 0..1. */
function colourAt(x, y) {
  const horizon = 0.6;
  if (y > horizon) {
    const depth = 0.25 / (y - horizon + 0.05); // perspective: tiles shrink towards the horizon
    const isLight = (Math.floor((x - 0.5) * depth * 8 + 64) + Math.floor(depth * 6)) % 2 === 0;
    return isLight ? [0.9, 0.84, 0.7] : [0.36, 0.22, 0.18];
  }
  const distance = Math.hypot(x - 0.68, y - 0.36);
  if (distance < 0.2) {
    const ring = 0.5 + 0.5 * Math.cos(distance * 150);
    return [0.97, 0.5 + 0.38 * ring, 0.12 + 0.3 * ring];
  }
  return [0.25 + 0.6 * y, 0.4 + 0.35 * y, 0.75 - 0.35 * y];
}

export function drawPicture() {
  const pixels = new Float32Array(SIZE * SIZE * 3);
  for (let y = 0, to = 0; y < SIZE; y++) {
    for (let x = 0; x < SIZE; x++, to += 3) {
      for (let sample = 0; sample < SAMPLES ** 2; sample++) {
        const [dx, dy] = [sample % SAMPLES, Math.floor(sample / SAMPLES)].map((i) => (i + 0.5) / SAMPLES);
        colourAt((x + dx) / SIZE, (y + dy) / SIZE).forEach((c, i) => {
          pixels[to + i] += c / SAMPLES ** 2;
        });
      }
    }
  }
  return { width: SIZE, height: SIZE, pixels };
}

/** Numbers in 0..1, the same every time (mulberry32). */
function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let bits = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The picture with Gaussian noise (Box-Muller), clipped to what a PNG can hold. */
export function addNoise(picture, sigma) {
  const random = seeded(1);
  const noise = () => sigma * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return { ...picture, pixels: picture.pixels.map((c) => Math.min(1, Math.max(0, c + noise()))) };
}

/** Peak signal to noise ratio, in dB: 6 more is half the error. */
export function psnr(picture, original) {
  const squares = picture.pixels.reduce((sum, c, i) => sum + (c - original.pixels[i]) ** 2, 0);
  return -10 * Math.log10(squares / picture.pixels.length);
}
