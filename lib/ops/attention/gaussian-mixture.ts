// gaussianMixture(): factors on scores that fall with the distance on a grid, a mixture of Gaussians per head.
// Reader: someone who runs a vision transformer that was trained with such a mask. Semantics: RetNet viewed through convolution
// (arXiv 2309.05375), the formula of its published code.

import { mismatch } from '../../call/shape.js';
import { showDims } from '../../check/errors.js';
import { checkInteger, checkNames, invalid, is, maxTokens, namesOf, readEach } from '../../check/validate.js';
import { maxGridRank } from '../../patterns/neighborhood.js';
import { readNumbers } from '../../tensor/nested.js';
import { Tensor } from '../../tensor/tensor.js';
import { allocate } from '../../tensor/views.js';

export interface GaussianMixtureOptions {
  /** Lengths of the axes of the grid of tokens, one to three; tokens are in the order of its rows. */
  grid: readonly number[];
  /** Weight of each Gaussian, [heads, components]. */
  alpha: readonly ArrayLike<number>[];
  /** Its width, in steps of the grid, [heads, components]. */
  sigma: readonly ArrayLike<number>[];
  /** Added to the squares of `sigma`; default 1e-5, that of the published code. */
  eps?: number;
}

const names = namesOf<GaussianMixtureOptions>({ grid: 1, alpha: 1, sigma: 1, eps: 1 });

/**
 * A Gaussian mixture mask (arXiv 2309.05375) for `scoreFactor`: between tokens at distance d on the grid, head h has
 * sum_c alpha[h, c] * exp(-d² / (2 * (sigma[h, c]² + eps))).
 * @returns float32 [1, heads, tokens, tokens]: made once for a model, memory of the square of the tokens
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_INVALID_TENSOR;
 *   ERR_TILEWISE_SHAPE_MISMATCH where `alpha` and `sigma` are not both [heads, components]
 */
export function gaussianMixture(options: GaussianMixtureOptions): Tensor<'float32'> {
  checkNames('gaussianMixture()', options, names);
  const grid = readGrid(options.grid);
  const [alpha, sigma] = [readNumbers('alpha', options.alpha), readNumbers('sigma', options.sigma)];
  const [heads, components] = alpha.dims;
  if (alpha.dims.length !== 2 || sigma.dims.length !== 2 || sigma.dims.some((n, axis) => n !== alpha.dims[axis])) {
    throw mismatch(
      `\`alpha\` and \`sigma\` must both have dims [heads, components], not ${showDims(alpha.dims)} and ${showDims(sigma.dims)}`,
    );
  }
  const { eps = 1e-5 } = options;
  if (!is.finite(eps) || eps < 0) throw invalid('eps', 'a finite number, 0 or more', eps);
  const weights = finiteNumbers('alpha', alpha.data);
  const widths = finiteNumbers('sigma', sigma.data).map((width) => 2 * (width * width + eps));
  const flat = widths.indexOf(0);
  if (flat >= 0) throw invalid('eps', 'above 0 where an entry of `sigma` is 0', eps);

  const tokens = grid.reduce((a, n) => a * n, 1);
  const factors = allocate('float32', heads * tokens * tokens);
  const apart = apartOf(grid, tokens);
  const byDistance = new Float32Array(tokens);
  for (let head = 0; head < heads; ++head) {
    for (let far = 0; far < tokens; ++far) {
      let sum = 0;
      for (let c = head * components; c < (head + 1) * components; ++c) {
        sum += weights[c] * Math.exp(-apart.squares[far] / widths[c]);
      }
      byDistance[far] = sum;
    }
    const first = head * tokens * tokens;
    for (let q = 0; q < tokens; ++q) {
      for (let k = 0; k < tokens; ++k) factors[first + q * tokens + k] = byDistance[apart.between(q, k)];
    }
  }
  return new Tensor('float32', factors, [1, heads, tokens, tokens]);
}

function readGrid(grid: unknown): number[] {
  if (!Array.isArray(grid) || grid.length === 0 || grid.length > maxGridRank) {
    throw invalid('grid', `an array of one to ${maxGridRank} lengths`, grid);
  }
  return readEach(grid, (length, axis) => checkInteger(`grid[${axis}]`, length, 1, maxTokens));
}

function finiteNumbers(name: string, numbers: Float64Array): Float64Array {
  const wrong = numbers.findIndex((x) => !Number.isFinite(x));
  if (wrong >= 0) throw invalid(name, 'of finite numbers', numbers[wrong]);
  return numbers;
}

/** How far tokens are from each other: as the number of the token that is so far from the first one along every axis. */
function apartOf(grid: readonly number[], tokens: number) {
  const places = Array.from({ length: tokens }, (_, token) => {
    const place: number[] = [];
    for (let axis = grid.length - 1, rest = token; axis >= 0; rest = Math.floor(rest / grid[axis--])) {
      place.unshift(rest % grid[axis]);
    }
    return place;
  });
  return {
    squares: places.map((place) => place.reduce((sum, x) => sum + x * x, 0)),
    between: (q: number, k: number) =>
      grid.reduce((far, length, axis) => far * length + Math.abs(places[q][axis] - places[k][axis]), 0),
  };
}
