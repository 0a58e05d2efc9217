// Masks of a run: what a site's masks hide, as the options of attention() that are read fastest.
// Reader: someone who asks why a padded batch is fast, or slow. Masks are looked at once, however many sites read the same numbers.
// Assumes that a number from hidesFrom down hides a key wherever another key is shown; rows that see no key are exact.

import { showDims, TilewiseRangeError } from '../../../check/errors.js';
import type { AttentionOptions } from '../../../ops/attention/options.js';
import { orderAndPadding } from '../../../patterns/mask-pattern.js';
import { Tensor } from '../../../tensor/tensor.js';
import type { TensorLike } from '../../../tensor/types.js';
import { shownKeys } from '../../onnx/sites/mask-kinds.js';
import { hidesFrom, replacesFrom } from '../../onnx/sites/scores.js';
import type { SiteMask, SitePattern } from '../../onnx/sites/site.js';
import type { OrtTensor } from '../ort.js';
import { repeated, unreadable, withPattern } from '../pattern.js';
import { type CallSizes, isKeyMask, readKeyMask, type ShownBytes } from './key-masks.js';
import { KnownMasks, RunsMasks } from './known-masks.js';

/** A mask, and its value in a run. */
export type MaskOfRun = readonly [SiteMask, OrtTensor];

export type MaskOptions = Pick<
  AttentionOptions,
  'bias' | 'mask' | 'causal' | 'align' | 'keyStarts' | 'keyLengths' | 'pattern'
>;

type ShownMask = { readonly data: Uint8Array; readonly dims: readonly number[] };

/** Masks of which options say that rows without keys are 0, where the model has a mean of all values for them. */
const meant = new WeakMap<MaskOptions, ShownMask>();

/** What a session knows of masks from earlier runs. */
export class SessionMasks extends KnownMasks<MaskOptions> {}

/** What the masks of a run say. */
export class RunMasks {
  readonly #known: RunsMasks<MaskOptions>;

  /** The last one of which it was asked whether it hides or adds something. */
  #last: { readonly mask: SiteMask; readonly tensor: OrtTensor; readonly isNothing: boolean } | undefined;

  constructor(session = new SessionMasks()) {
    this.#known = new RunsMasks(session);
  }

  /** Whether options that optionsOf() gave, for the same sizes, are what these masks say, too. */
  says(options: MaskOptions, masks: readonly OrtTensor[]): boolean {
    return this.#known.says(options, masks);
  }

  /**
   * Whether a mask hides and adds nothing, as those of tokens behind a past do: they grow with each token, and are not worth
   * knowing. Other runs have theirs again, byte by byte, and calls that are kept ask for that.
   */
  #isNothing([mask, tensor]: MaskOfRun, { total, ...sizes }: CallSizes): boolean {
    const last = this.#last;
    const isKnown = last?.tensor === tensor && last.mask.as === mask.as && last.mask.isInverted === mask.isInverted;
    if (!isKnown) this.#last = { mask, tensor, isNothing: showsAll(mask, tensor) };
    if (this.#last?.isNothing) checkFits([mask, tensor], { ...sizes, keys: total ?? sizes.keys });
    return this.#last!.isNothing;
  }

  /** The mask whose rows without keys are a mean of all values; undefined where there are none. */
  blindOf(options: MaskOptions): ShownBytes | undefined {
    const mask = meant.get(options);
    return mask && { shown: mask.data, dims: mask.dims };
  }

  /**
   * The same object for masks of the same numbers.
   * @param masks in the order in which the model applies them
   * @param isCausal the site is causal by itself, or counts its keys
   * @param pattern in the place of causal order
   */
  optionsOf(masks: readonly MaskOfRun[], sizes: CallSizes, isCausal: boolean, pattern?: SitePattern): MaskOptions {
    if (masks.length === 0) return pattern ? withPattern(pattern, undefined, sizes, isCausal) : nothing;
    if (sizes.past && masks.length === 1 && !pattern && this.#isNothing(masks[0], sizes)) return nothing;
    const { batch, heads, queries, keys, past, total } = sizes;
    const said = masks.map(([{ as, isInverted, hidden }]) => `${as} ${isInverted} ${hidden}`);
    const key = `${said.join()} ${isCausal} ${batch} ${heads} ${queries} ${keys} ${past} ${total}`;
    const read = (tensors: readonly OrtTensor[]) =>
      readMasks(
        masks.map(([mask], i) => [mask, tensors[i]]),
        sizes,
        isCausal,
        pattern,
      );
    return this.#known.optionsOf(
      key,
      pattern,
      masks.map(([, tensor]) => tensor),
      read,
    );
  }
}

const nothing: MaskOptions = {};

/** Whether each key is shown, and nothing is added to its score. */
function showsAll({ as, isInverted }: SiteMask, { type, data }: OrtTensor): boolean {
  if (as === 'bias' ? type !== 'float32' : as !== 'mask') return false;
  const numbers = data as Float32Array | Uint8Array;
  // Of flags that show, none is 0.
  const isZero = as === 'bias' || isInverted;
  for (let i = 0; i < numbers.length; ++i) if ((numbers[i] === 0) !== isZero) return false;
  return true;
}

function readMasks(
  masks: readonly MaskOfRun[],
  sizes: CallSizes,
  isCausal: boolean,
  pattern: SitePattern | undefined,
): MaskOptions {
  const shorter = masks.map((mask) => withinKeys(mask, sizes));
  for (const mask of shorter) if (!isKeyMask(mask[0])) checkFits(mask, sizes);
  const all = shorter.length === 1 ? shorter[0] : together(shorter, sizes);
  if (pattern) return besidePattern(all, sizes, isCausal, pattern);
  const options = readOptions(all, sizes, isCausal);
  const [{ as, hidden }] = all;
  const isMean = as === 'mask' && hidden !== Number.NEGATIVE_INFINITY;
  if (isMean && options.mask) meant.set(options, options.mask as ShownMask);
  return options;
}

/** A mask without the keys that are of no sequence. */
function withinKeys([mask, tensor]: MaskOfRun, { keys, total = keys }: CallSizes): MaskOfRun {
  const axis = tensor.dims.length - 1;
  if (total === keys || tensor.dims[axis] !== total) return [mask, tensor];
  const shown = Tensor.from(tensor as TensorLike).slice(axis, 0, keys);
  return [mask, shown.contiguous()];
}

/** Refuses a mask whose axes are neither 1 nor those of the scores, as onnxruntime does. */
function checkFits([{ value }, { dims }]: MaskOfRun, { batch, heads, queries, keys }: CallSizes): void {
  const sizes = [batch, heads, queries, keys].slice(-dims.length || 4);
  if (dims.length <= 4 && dims.every((length, axis) => length === sizes[axis] || length === 1)) return;
  const message = `The mask '${value}' has dims ${showDims(dims)}, which do not broadcast to ${showDims(sizes)}`;
  throw new TilewiseRangeError('ERR_TILEWISE_SHAPE_MISMATCH', message);
}

function readOptions([mask, tensor]: MaskOfRun, sizes: CallSizes, isCausal: boolean): MaskOptions {
  // Numbers go with causal order as they are, and weak ones do not hide.
  const isNumbers = mask.as === 'bias' ? isCausal : !(mask.hidden <= hidesFrom);
  const read = isNumbers ? undefined : shownBy(mask, tensor, sizes);
  // A row without keys is 0 here. With numbers that are finite it is a mean of values: numbers that are added weigh it, so that
  // they stay numbers; those in the place of scores do not, see blind.ts.
  const isMean = read && read.hidden !== Number.NEGATIVE_INFINITY && hasBlindRow(read, isCausal, sizes.past ?? 0);
  if (!read || (isMean && mask.as !== 'mask')) return { bias: addedBy(mask, tensor, sizes) };
  const asMask: TensorLike & OrtTensor = { type: 'bool', data: read.shown, dims: read.dims };
  // Options that say a mask go with nothing else that hides.
  const isWhole = !isCausal && !isMean && read.dims.at(-1) === sizes.keys;
  const pattern = isWhole ? orderAndPadding(asMask) : null;
  // A cache says itself where its keys end, and queries are the last of them.
  const isOfCache = !!sizes.past && pattern !== null && !!(pattern.align ?? pattern.keyLengths);
  return pattern && !isOfCache && (!pattern.causal || read.dims.at(-2) === sizes.queries)
    ? repeated(pattern, sizes)
    : { mask: asMask };
}

/** Rows that see no key are 0 beside a pattern: it hides more than the model has learnt to do without. */
function besidePattern(
  [mask, tensor]: MaskOfRun,
  sizes: CallSizes,
  isCausal: boolean,
  pattern: SitePattern,
): MaskOptions {
  const read = shownBy(mask, tensor, sizes);
  if (!read || !(read.hidden <= hidesFrom)) throw unreadable(mask.value, 'adds numbers');
  return withPattern(pattern, { ...read, name: mask.value }, sizes, isCausal);
}

/** What is shown, and the score of what is not. */
interface Shown extends ShownBytes {
  readonly hidden: number;
}

/** What a mask shows; undefined for numbers that do more than hide. */
function shownBy(mask: SiteMask, tensor: OrtTensor, sizes: CallSizes): Shown | undefined {
  if (mask.as !== 'bias') return shownByFlags(mask, tensor, sizes);
  const read = shownKeys(floatsOf(tensor));
  return read && { ...read, dims: tensor.dims };
}

function shownByFlags(mask: SiteMask, tensor: OrtTensor, sizes: CallSizes): Shown {
  const { isInverted, hidden } = mask;
  if (isKeyMask(mask)) return { ...readKeyMask(mask, tensor, sizes), hidden };
  return { shown: shownByBytes(tensor.data as Uint8Array, isInverted), hidden, dims: tensor.dims };
}

/** Bytes that are 1 where a key is shown. */
function shownByBytes(flags: Uint8Array, isInverted: boolean): Uint8Array {
  const shown = new Uint8Array(flags.length);
  const hiding = isInverted ? 1 : 0;
  for (let i = 0; i < flags.length; ++i) shown[i] = (flags[i] === 0 ? 0 : 1) ^ hiding;
  return shown;
}

const floatsOf = ({ type, data, dims }: OrtTensor): Float32Array =>
  Tensor.from({ type, data, dims } as TensorLike).astype('float32').data as Float32Array;

/** A mask as numbers that are added to scores. A score that is replaced is as good as lost in a number of that size. */
function addedBy(mask: SiteMask, tensor: OrtTensor, sizes: CallSizes): TensorLike & OrtTensor {
  if (mask.as === 'bias') return tensor as TensorLike & OrtTensor;
  const added = mask.as === 'mask' ? { ...mask, hidden: Math.min(mask.hidden, replacesFrom) } : mask;
  return numbersOf(added, tensor, sizes);
}

/** Numbers in the place of true and false: 0 where a key is shown. */
function numbersOf(
  mask: SiteMask,
  tensor: OrtTensor,
  sizes: CallSizes,
): { type: string; data: Float32Array; dims: readonly number[] } {
  if (mask.as === 'bias') return { type: 'float32', data: floatsOf(tensor), dims: tensor.dims };
  const { shown, hidden, dims } = shownByFlags(mask, tensor, sizes);
  return { type: 'float32', data: Float32Array.from(shown, (isShown) => (isShown ? 0 : hidden)), dims };
}

/** Masks one after the other, as one that is added: a sum, of which a Where replaces what it hides. */
function together(masks: readonly MaskOfRun[], sizes: CallSizes): MaskOfRun {
  const parts = masks.map(([mask, tensor]) => {
    const { data, dims } = numbersOf(mask, tensor, sizes);
    return { mask, data, dims: [...Array<number>(4 - dims.length).fill(1), ...dims] };
  });
  const dims = [0, 1, 2, 3].map((axis) => parts.map((part) => part.dims[axis]).find((length) => length !== 1) ?? 1);
  const sum = new Float32Array(dims.reduce((product, length) => product * length, 1));
  for (const { mask, data, dims: own } of parts) {
    const numbers = spread(data, own, dims);
    const isReplacing = mask.as === 'mask';
    for (let i = 0; i < sum.length; ++i) {
      if (!isReplacing) sum[i] += numbers[i];
      else if (numbers[i] !== 0) sum[i] = numbers[i];
    }
  }
  const value = masks.map(([mask]) => mask.value).join(' and ');
  return [
    { value, as: 'bias', isInverted: false, hidden: 0 },
    { type: 'float32', data: sum, dims },
  ];
}

/** Numbers of four axes, repeated along those that are 1 and longer in `to`. */
function spread(numbers: Float32Array, from: readonly number[], to: readonly number[]): Float32Array {
  const [step0, step1, step2, step3] = from.map((length, axis) =>
    length === 1 ? 0 : from.slice(axis + 1).reduce((product, inner) => product * inner, 1),
  );
  const result = new Float32Array(to.reduce((product, length) => product * length, 1));
  let at = 0;
  for (let batch = 0; batch < to[0]; ++batch) {
    for (let head = 0; head < to[1]; ++head) {
      for (let query = 0; query < to[2]; ++query) {
        const row = batch * step0 + head * step1 + query * step2;
        for (let key = 0; key < to[3]; ++key) result[at++] = numbers[row + key * step3];
      }
    }
  }
  return result;
}

/** Whether some row hides every key that causal order leaves it. */
function hasBlindRow({ shown, dims }: Shown, isCausal: boolean, past: number): boolean {
  const [queries, keys] = [dims.at(-2) ?? 1, dims.at(-1) ?? 1];
  for (let row = 0; row * keys < shown.length; ++row) {
    const end = isCausal ? Math.min(keys, (row % queries) + 1 + past) : keys;
    if (!shown.subarray(row * keys, row * keys + end).includes(1)) return true;
  }
  return false;
}
