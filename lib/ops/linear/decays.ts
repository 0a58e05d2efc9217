// Decays per head that published models use. Reader: someone who runs one of them: linearAttention() takes any numbers.

import { checkInteger, checkNames, checkOneOf, maxTokens, namesOf } from '../../check/validate.js';

/** Whose rule lightningDecay() follows. */
export type LightningVariant = 'opennlplab' | 'fla';

/** What lightningDecay() must be told. */
export interface LightningDecayOptions {
  /** Heads of a layer. */
  heads: number;
  /** The layer, from 0 to layers - 1. */
  layer: number;
  layers: number;
  /**
   * `'opennlplab'`: -slope * (1 - layer / (layers - 1) + 1e-5) with ALiBi's slope of the head, as TransNormerLLM has it.
   * `'fla'`: -(8 / heads) * (1 - layer / layers) * head, as flash-linear-attention has it; head 0 does not decay.
   */
  variant: LightningVariant;
}

const variants = ['opennlplab', 'fla'] as const;
const lightningNames = namesOf<LightningDecayOptions>({ heads: 1, layer: 1, layers: 1, variant: 1 });
const retnetNames: ReadonlySet<string> = new Set(['heads']);

/** ALiBi's slope of every head (arXiv 2108.12409), which has a rule of its own for numbers that are no power of two. */
function alibiSlopesOf(heads: number): number[] {
  const power = 2 ** Math.floor(Math.log2(heads));
  const slopes = Array.from({ length: power }, (_, h) => 2 ** ((-8 * (h + 1)) / power));
  for (let h = 0; slopes.length < heads; ++h) slopes.push(2 ** ((-4 * (2 * h + 1)) / power));
  return slopes;
}

/**
 * Decays of Lightning Attention, [heads] in natural-log units per token, for linearAttention()'s `decay`. Two rules were
 * published, so `variant` must say which.
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION; a single layer has no
 *   `'opennlplab'` rule
 */
export function lightningDecay(options: LightningDecayOptions): Float32Array {
  checkNames('lightningDecay()', options, lightningNames);
  const heads = checkInteger('heads', options.heads, 1, maxTokens);
  const variant = checkOneOf('variant', options.variant, variants);
  const layers = checkInteger('layers', options.layers, variant === 'fla' ? 1 : 2, maxTokens);
  const layer = checkInteger('layer', options.layer, 0, layers - 1);
  if (variant === 'fla') {
    return Float32Array.from({ length: heads }, (_, h) => 0 - (8 / heads) * (1 - layer / layers) * h);
  }
  return Float32Array.from(alibiSlopesOf(heads), (slope) => -slope * (1 - layer / (layers - 1) + 1e-5));
}

/**
 * Decays of RetNet (arXiv 2307.08621): ln(1 - 2^(-5 - head)), [heads] in natural-log units per token.
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION
 */
export function retnetDecay(options: { heads: number }): Float32Array {
  checkNames('retnetDecay()', options, retnetNames);
  const heads = checkInteger('heads', options.heads, 1, maxTokens);
  return Float32Array.from({ length: heads }, (_, h) => Math.log1p(-(2 ** (-5 - h))));
}
