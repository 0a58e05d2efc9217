// Activations: what makes a weight of a score. Reader: someone who adds one. The rule is core/score/activation.h.

import { TilewiseTypeError } from '../../check/errors.js';
import { checkOneOf, invalid, is } from '../../check/validate.js';
import { field } from '../../native/fields.js';

/** What makes weights of scores: softmax, or a function of each score alone. */
export type Activation = 'softmax' | 'sigmoid' | 'relu';

/** What is added to every score before sigmoid; `'neg-log-keys'` is -ln of the number of keys of the sequence. */
export type ActivationBias = number | 'neg-log-keys';

/** In the order of core/score/activation.h. */
const activations: readonly Activation[] = ['softmax', 'sigmoid', 'relu'];

export interface ActivationSettings {
  readonly kind: Activation;
  readonly bias: ActivationBias;
}

/** @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION */
export function readActivation(o: { activation?: unknown; activationBias?: unknown }): ActivationSettings | undefined {
  const kind = o.activation === undefined ? 'softmax' : checkOneOf('activation', o.activation, activations);
  const bias = o.activationBias;
  if (bias !== undefined && kind !== 'sigmoid') {
    throw conflict("`activationBias` goes with `activation: 'sigmoid'`; leave it out");
  }
  if (kind === 'softmax') return undefined;
  if (bias === undefined) return { kind, bias: 0 };
  if (bias !== 'neg-log-keys' && !is.finite(bias)) {
    throw invalid('activationBias', "a finite number or 'neg-log-keys'", bias);
  }
  return { kind, bias };
}

/** Refuses what only softmax has. */
export function checkActivation(
  activation: ActivationSettings | undefined,
  { sinks, returnLse }: { readonly sinks?: unknown; readonly returnLse?: unknown },
): void {
  if (!activation) return;
  const { kind } = activation;
  if (returnLse === true) {
    throw conflict(`\`returnLse\` goes with softmax: ${kind} has no normaliser; leave it out`);
  }
  if (sinks !== undefined) {
    throw conflict(`\`sinks\` join the denominator of softmax, which ${kind} has not; leave them out`);
  }
}

export function putActivation(numbers: Float64Array, activation: ActivationSettings | undefined): void {
  if (!activation) return;
  const { kind, bias } = activation;
  numbers[field.activation] = activations.indexOf(kind);
  if (bias === 'neg-log-keys') numbers[field.isActivationBiasOfKeys] = 1;
  else numbers[field.activationBias] = bias;
}

const conflict = (message: string): Error => new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);
