// Activations and gates of random cases. Reader: someone chasing a failure of a sweep.

import fc from 'fast-check';
import type { Case } from './case.js';
import { type Of, sometimes, yes } from './draw.js';

/** What makes weights of scores; mostly softmax. */
export const activations = sometimes(
  0.12,
  fc.record({
    activation: fc.constantFrom('sigmoid', 'sigmoid', 'relu'),
    activationBias: fc.constantFrom(0, -1.5, 'neg-log-keys'),
  }),
);

/** Runs of rows that are closed; half of the calls want no lse, and may leave those out. */
export const gates = sometimes(
  0.12,
  fc.record({
    run: fc.constantFrom(1, 3, 16, 64, 100),
    dtype: fc.constantFrom('float32', 'float16', 'bfloat16'),
    withoutLse: sometimes(0.5, yes),
  }),
);

/** What a case has of these, without the sinks, which only softmax has. */
export function activated<C extends Partial<Case>>(
  c: C,
  drawn: Of<typeof activations>,
): C & Pick<Case, 'activation' | 'activationBias'> {
  if (!drawn) return c;
  const { activation, activationBias } = drawn;
  return { ...c, sinks: undefined, activation, ...(activation === 'sigmoid' && { activationBias }) };
}
