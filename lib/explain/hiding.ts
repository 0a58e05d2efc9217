// What hides keys beyond the pattern in explain(): padding, masks and a gate, read as attention() reads them, and the options that
// say the same as a mask. Reader: someone who plans a call of padded sequences, or a model that brings masks.

import type { Request } from '../call/request.js';
import { mismatch, outputHeads, type Shape } from '../call/shape.js';
import { showDims, TilewiseTypeError } from '../check/errors.js';
import { slot } from '../native/fields.js';
import type { NativePlan } from '../native/native.js';
import { putGate } from '../ops/attention/gate.js';
import { broadcast, checkKeyMask, checkPadding, putBroadcast, putKeyMask } from '../ops/attention/modifiers.js';
import { checkPositions, checkTaken, type Settings } from '../ops/attention/settings.js';
import type { Pattern } from '../patterns/index.js';
import { type MaskDocuments, type MaskPattern, maskPattern } from '../patterns/mask-pattern.js';
import { readPositions } from '../patterns/positions.js';
import { readIntegerList } from '../tensor/integers.js';
import { readMask } from '../tensor/masks.js';
import type { TensorLike } from '../tensor/types.js';
import { floatTypes, type HostView, isOnHost, readTensor, sliced, type View } from '../tensor/views.js';
import type { ExplainShape } from './explanation.js';
import type { Lengths } from './ragged.js';

const names = ['keyLengths', 'keyStarts', 'mask', 'keyMask', 'gate', 'positions'] as const;

/** The same fields of a shape, read; `names` are those that were given. */
export interface Hiding extends Pick<Settings, 'keyLengths' | 'keyStarts' | 'positions'> {
  readonly mask: HostView | undefined;
  readonly keyMask: HostView | undefined;
  readonly gate: HostView | undefined;
  readonly names: readonly string[];
}

/** Refuses what attention() refuses with such a pattern. */
export function readHiding(shape: ExplainShape, pattern: Pattern, sizes: Shape): Hiding {
  const given = names.filter((name) => shape[name] !== undefined);
  checkTaken(pattern.kind, Object.fromEntries(given.map((name) => [name, shape[name]])));
  const { keyLengths, keyStarts, mask, keyMask, gate } = shape;
  const padding = {
    keyLengths: keyLengths === undefined ? undefined : readIntegerList('keyLengths', keyLengths),
    keyStarts: keyStarts === undefined ? undefined : readIntegerList('keyStarts', keyStarts),
  };
  checkPadding(padding, sizes);
  const positions = shape.positions === undefined ? undefined : readPositions(shape.positions);
  if (positions) checkPositions({ pattern, keyStarts });
  return {
    ...padding,
    mask: mask === undefined ? undefined : onHost('mask', readMask('mask', mask)),
    keyMask: keyMask === undefined ? undefined : onHost('keyMask', readMask('keyMask', keyMask)),
    gate: gate === undefined ? undefined : onHost('gate', readTensor('gate', gate, floatTypes)),
    positions,
    names: given,
  };
}

/** Masks and gates are looked at: their numbers must be here. */
function onHost(name: string, view: View): HostView {
  if (isOnHost(view)) return view;
  throw new TilewiseTypeError(
    'ERR_TILEWISE_INVALID_TENSOR',
    `\`${name}\` is on a device, and its numbers are read here: give explain() \`await ${name}.to('cpu')\``,
  );
}

/** The key masks of the sequences of a ragged call, each of one batch entry. */
export function rowsOfKeyMask(value: TensorLike, sequences: readonly Lengths[]): View[] {
  const view = onHost('keyMask', readMask('keyMask', value));
  const keys = sequences.reduce((most, lengths) => Math.max(most, lengths.keys), 0);
  checkKeyMask(view, { batch: sequences.length, keys });
  return sequences.map((lengths, s) =>
    sliced(sliced(view, 0, { begin: s, end: s + 1 }), 1, { begin: 0, end: lengths.keys }),
  );
}

/** The gates of the sequences of a ragged call, [queries of all, heads], each of one batch entry. */
export function rowsOfGate(value: TensorLike, sequences: readonly Lengths[]): View[] {
  const view = onHost('gate', readTensor('gate', value, floatTypes));
  const rows = sequences.reduce((sum, { queries }) => sum + queries, 0);
  const [tokens, heads] = view.dims;
  if (view.dims.length !== 2 || tokens !== rows) {
    throw mismatch(`\`gate\` must have dims [${rows}, heads], a row per query, not ${showDims(view.dims)}`);
  }
  let end = 0;
  return sequences.map(({ queries }) => {
    const begin = end;
    end += queries;
    const own = sliced(view, 0, { begin, end });
    return { ...own, dims: [1, queries, heads], strides: [0, ...own.strides] };
  });
}

/** Adds padding, masks and a gate to a problem without data, of so many queries along each axis of tokens. */
export function putHiding(request: Request, hiding: Hiding, shape: Shape, tokens: readonly number[]): void {
  putBroadcast(request, 'mask', hiding, shape);
  putKeyMask(request, hiding, shape);
  putGate(request, hiding.gate, shape, tokens);
  request.views[slot.keyLengths] = hiding.keyLengths;
  request.views[slot.keyStarts] = hiding.keyStarts;
}

/**
 * Options that hide what the mask hides, or what the key mask does where there is no mask. None next to a pattern that hides
 * keys: lengths would move its queries.
 */
export function simplerThan(
  { mask, keyMask, keyLengths, keyStarts, positions }: Hiding,
  pattern: Pattern,
  shape: Shape,
): MaskPattern | MaskDocuments | undefined {
  const given = mask ?? keyMask;
  const isOpen =
    pattern.kind === 'window' && [pattern.left, pattern.right].every((reach) => reach === Number.POSITIVE_INFINITY);
  if (!given || !isOpen || keyLengths || keyStarts || positions) return undefined;
  const dims = [shape.batch, outputHeads(shape), shape.queries, shape.keys];
  const strides = mask ? broadcast('mask', mask, dims) : [given.strides[0], 0, 0, given.strides[1]];
  return maskPattern({ ...given, dims, strides }) ?? undefined;
}

/**
 * The bounds of a selection next to masks. Which keys are selected is not known, so that all of them may be visible: only of
 * the others, the sinks and the window, what a mask hides is left out. Tiles stay those without a mask.
 * @param planOf counts the sinks and the window alone
 */
export function withoutHidden(
  plan: NativePlan,
  planOf: (hiding: Hiding) => NativePlan,
  masked: Hiding,
  unmasked: Hiding,
): NativePlan {
  const [left, all] = [planOf(masked), planOf(unmasked)];
  const useful = plan.useful - (all.useful - left.useful);
  return { ...plan, useful, interior: left.interior, unmasked: left.unmasked };
}
