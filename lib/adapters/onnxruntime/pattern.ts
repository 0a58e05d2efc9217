// A pattern in the place of a model's causal order: a window for a model that was exported without one.
// Reader: someone who passes `pattern` to fuse(). Padding goes on hiding; positions are those that the model's own mask has.

import { isDeepStrictEqual } from 'node:util';
import { TilewiseError } from '../../check/errors.js';
import { invalid } from '../../check/validate.js';
import type { AttentionOptions } from '../../ops/attention/options.js';
import type { Align } from '../../patterns/align.js';
import { checkPattern } from '../../patterns/index.js';
import { type MaskPattern, orderAndPadding } from '../../patterns/mask-pattern.js';
import { mostOf } from '../../patterns/per-head.js';
import type { SitePattern } from '../onnx/sites/site.js';
import type { CallSizes, ShownBytes } from './masks/key-masks.js';

type PatternOptions = Pick<AttentionOptions, 'pattern' | 'mask' | 'keyStarts' | 'keyLengths'>;

/** Checks what `pattern` gave for a site. */
export function checkSitePattern(value: unknown): SitePattern {
  const pattern = checkPattern(value);
  if (pattern.kind === 'window' || pattern.kind === 'stridedShards' || pattern.kind === 'blocks') return pattern;
  const why = {
    neighborhood: 'tokens of a grid',
    ranges: 'ranges of its own keys',
    sampledBlocks: 'blocks that it draws',
    documents: 'documents of its own tokens',
    slices: 'slices of its own keys',
    power: 'blocks counted from key 0',
    hierarchical: 'keys that it selects',
  }[pattern.kind];
  throw invalid('pattern', `for a site what slidingWindow(), stridedShards() or blocks() return, not ${why}`, value);
}

/**
 * What a pattern and a mask hide together.
 * @param read the mask; undefined: there is none
 * @param isCausal the operator is causal by itself
 * @throws {TilewiseError} ERR_TILEWISE_UNSUPPORTED
 */
export function withPattern(
  pattern: SitePattern,
  read: (ShownBytes & { readonly name: string }) | undefined,
  sizes: CallSizes,
  isCausal: boolean,
): PatternOptions {
  const { queries, keys, past = 0 } = sizes;
  // Without a mask that says otherwise, fewer queries than keys are the last ones, and so are those behind a past.
  const place: Align = (isCausal && past === 0) || queries === keys ? 'top-left' : 'bottom-right';
  if (!read) return { pattern: aligned(pattern, place) };
  const mask = { type: 'bool', data: read.shown, dims: read.dims };
  const said = read.dims.at(-1) === keys ? orderAndPadding(mask) : null;
  if (said && (!said.causal || read.dims.at(-2) === queries)) {
    const { causal, align = 'bottom-right', ...padding } = repeated(said, sizes);
    return { pattern: aligned(pattern, causal ? align : place), ...padding };
  }
  if (showsLater(pattern)) throw unreadable(read.name, 'hides more than causal order and padding');
  // Whatever the mask is, a key has to be shown by both: nothing that causal order hides is shown by the pattern.
  return { pattern: aligned(pattern, place), mask };
}

const alignedOnes = new WeakMap<SitePattern, SitePattern[]>();

/** A pattern at another place among the keys: the same object for all calls, so that lists are made and checked once. */
function aligned(pattern: SitePattern, align: Align): SitePattern {
  if (isDeepStrictEqual(pattern.align, align)) return pattern;
  const known = alignedOnes.get(pattern) ?? [];
  const found = known.find((one) => isDeepStrictEqual(one.align, align));
  if (found) return found;
  const made = checkSitePattern({ ...pattern, align });
  // An offset moves with every token that is generated.
  alignedOnes.set(pattern, [made, ...known].slice(0, 4));
  return made;
}

/** The error for a mask of which a run shows that a pattern cannot take the place of a part of it. */
export function unreadable(name: string, why: string): TilewiseError {
  const message = `The mask '${name}' ${why}, so that \`pattern\` cannot take the place of its causal part: leave this site to onnxruntime with \`only\``;
  return new TilewiseError('ERR_TILEWISE_UNSUPPORTED', message, { reasons: [message] });
}

/** Whether a pattern may show keys behind a query's position. */
function showsLater(pattern: SitePattern): boolean {
  if (pattern.kind === 'window') return mostOf(pattern.right) > 0;
  return pattern.kind === 'blocks' ? !pattern.causal : pattern.positions === 'relative';
}

/** Lengths of a mask for one batch entry, for every entry. */
export function repeated(said: MaskPattern, { batch }: CallSizes): MaskPattern {
  const forAll = (lengths: Int32Array | undefined) =>
    lengths && lengths.length < batch ? new Int32Array(batch).fill(lengths[0]) : lengths;
  const [keyStarts, keyLengths] = [forAll(said.keyStarts), forAll(said.keyLengths)];
  return { ...said, ...(keyStarts && { keyStarts }), ...(keyLengths && { keyLengths }) };
}
