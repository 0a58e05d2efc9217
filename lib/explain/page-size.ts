// The page size of a call that is counted. Reader: someone who asks which patterns explain() counts on pages.

import { TilewiseTypeError } from '../check/errors.js';
import { checkInteger, maxTokens } from '../check/validate.js';
import type { Pattern } from '../patterns/index.js';
import type { ExplainShape } from './explanation.js';

/** Tokens per page, where keys are on pages; attention() refuses the same patterns. */
export function readPageSize({ pageSize }: ExplainShape, { kind }: Pattern): number | undefined {
  if (pageSize === undefined) return undefined;
  if (kind === 'neighborhood' || kind === 'hierarchical') {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`pageSize\` does not go with a pattern of kind '${kind}', which does not run on pages`,
    );
  }
  return checkInteger('pageSize', pageSize, 1, maxTokens);
}
