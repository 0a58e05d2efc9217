// Similarity: the product of a query and a key, or the cosine of the angle between them. Reader: someone who asks what
// `similarity` and `temperature` accept. The rule is core/score/cosine.h.

import { TilewiseTypeError } from '../../check/errors.js';
import { checkOneOf, invalid, is } from '../../check/validate.js';

/** What a score is made of: q·k, or q·k of q and k that are divided by their lengths. */
export type Similarity = 'dot' | 'cosine';

const similarities: readonly Similarity[] = ['dot', 'cosine'];

export interface SimilaritySettings {
  readonly isCosine: boolean;
  /** The factor on the scores; undefined: the default of the call. */
  readonly scale: number | undefined;
}

/** @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION */
export function readSimilarity(o: {
  similarity?: unknown;
  temperature?: unknown;
  scale?: unknown;
}): SimilaritySettings {
  const isCosine = o.similarity !== undefined && checkOneOf('similarity', o.similarity, similarities) === 'cosine';
  const { temperature, scale } = o;
  if (!isCosine) {
    if (temperature !== undefined) {
      throw conflict("`temperature` goes with `similarity: 'cosine'`; otherwise say `scale`, which is 1 / temperature");
    }
    if (scale !== undefined && !is.finite(scale)) throw invalid('scale', 'a finite number', scale);
    return { isCosine, scale };
  }
  if (scale !== undefined) {
    throw conflict(
      "`scale` does not go with `similarity: 'cosine'`: `temperature` says the factor, which is 1 / temperature",
    );
  }
  if (temperature === undefined) return { isCosine, scale: 1 };
  if (!is.finite(temperature) || temperature <= 0 || !is.finite(Math.fround(1 / temperature))) {
    throw invalid('temperature', 'a finite number above 0', temperature);
  }
  return { isCosine, scale: 1 / temperature };
}

/** Refuses what looks at products. */
export function checkSimilarity(isCosine: boolean, { pattern }: { readonly pattern: { readonly kind: string } }): void {
  if (isCosine && pattern.kind === 'hierarchical') {
    throw conflict("`similarity: 'cosine'` does not go with hierarchical(), which selects keys by q·k; leave it out");
  }
}

const conflict = (message: string): Error => new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);
