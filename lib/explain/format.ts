// Quantised caches as explain() counts them: what a key of one is in bytes, and where they run.
// Reader: someone who asks what `format` changes in an explanation.

import type { Shape } from '../call/shape.js';
import { TilewiseTypeError } from '../check/errors.js';
import type { Pattern } from '../patterns/index.js';
import { CodePlaces } from '../stores/codes.js';
import { type FormatSettings, readFormat } from '../stores/kv-format.js';
import { checkDevice, type DeviceName } from '../tensor/devices.js';
import { bytesPer } from '../tensor/views.js';
import type { ExplainOptions, ExplainShape } from './explanation.js';

/** The device that is asked about; a cache of a `format` is on the CPU unless it is told otherwise. */
export function readDevice({ device }: ExplainOptions, { format }: ExplainShape): DeviceName {
  const given = device === undefined ? 'auto' : checkDevice('device', device);
  return format !== undefined && given === 'auto' ? 'cpu' : given;
}

/** Tokens per page of what has no codes yet: GPUs have other kernels for pages. */
export const exactPageSize = ({ format }: ExplainShape, dims: Shape): number | undefined =>
  readFormat(format, dims)?.blockTokens;

/** Bytes of a key and its value in one KV head, on average over all keys. */
export function keyBytesOf({ format }: ExplainShape, { kind }: Pattern, sizes: Shape): number {
  const { keys, headDim, valueDim, keyType } = sizes;
  const exact = (headDim + valueDim) * bytesPer(keyType);
  const settings = readFormat(format, { headDim, valueDim });
  if (!settings) return exact;
  if (kind === 'neighborhood' || kind === 'hierarchical') {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`format\` does not go with a pattern of kind '${kind}', which does not run on a cache of codes`,
    );
  }
  return keys === 0 ? exact : codedBytes(settings, sizes, exact) / keys;
}

/** Bytes of a sequence of so many tokens: newer blocks in the first tiers, and what has no codes yet exact. */
function codedBytes(format: FormatSettings, { keys, valueDim, keyType }: Shape, exact: number): number {
  const { tiers, tierBlocks, blockTokens, residual, valuesSlide } = format;
  let blocks = residual === 0 ? Math.ceil(keys / blockTokens) : Math.floor(keys / blockTokens);
  const left = Math.max(0, keys - blocks * blockTokens);
  const exactValues = valuesSlide ? Math.min(keys, residual) - left : 0;
  let bytes = left * exact + exactValues * valueDim * bytesPer(keyType);
  for (const [t, { keys: ofKeys, values }] of tiers.entries()) {
    const count = Math.min(blocks, tierBlocks[t]);
    bytes += count * (new CodePlaces(ofKeys).bytes + new CodePlaces(values).bytes);
    blocks -= count;
  }
  return bytes;
}
