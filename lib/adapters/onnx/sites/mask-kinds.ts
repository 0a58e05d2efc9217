// What a mask means: its kind, from the model alone, and a mask of true and false from numbers that only hide or show.
// Reader: someone who asks why a model counts as causal. Values are read where they are constants.

import { orderAndPadding } from '../../../patterns/mask-pattern.js';
import { Tensor } from '../../../tensor/tensor.js';
import type { FloatType } from '../../../tensor/types.js';
import type { GraphView } from '../graph-view.js';
import { dimsOf } from '../shapes.js';
import type { StoredTensor } from '../tensor.js';
import { hidesFrom } from './scores.js';
import { type MaskKind, type SiteMask, type Swap, Unswappable } from './site.js';

/** Constants of more elements are not looked at: a mask of 8192 tokens. */
const maxElements = 2 ** 26;

/** Numbers added to scores that only show (0) or hide: as bytes, 1 is shown. */
export interface ShownKeys {
  readonly shown: Uint8Array;
  /** The number of what is hidden; NaN where there are several. */
  readonly hidden: number;
}

/** Numbers that are 0 or very negative, as what they show; undefined if there are others. */
export function shownKeys(numbers: Float32Array): ShownKeys | undefined {
  const shown = new Uint8Array(numbers.length);
  let hidden: number | undefined;
  for (let i = 0; i < numbers.length; ++i) {
    const number = numbers[i];
    if (number === 0) shown[i] = 1;
    else if (!(number <= hidesFrom)) return undefined;
    else hidden = hidden === undefined || hidden === number ? number : Number.NaN;
  }
  return { shown, hidden: hidden ?? Number.NEGATIVE_INFINITY };
}

/** Refuses masks of more axes than attention() takes, as far as the model says how many there are. */
export function checkRanks(view: GraphView, { masks }: Pick<Swap, 'masks'>): void {
  for (const { value, as } of masks) {
    const rank = dimsOf(view, value)?.length ?? 0;
    if (rank > (as === 'bias' || as === 'mask' ? 4 : 3)) throw new Unswappable(`its mask has rank ${rank}`);
  }
}

/** The kind of a site's masks. */
export function kindOfMask(
  view: GraphView,
  { masks, causal, keyLengths }: Pick<Swap, 'masks' | 'causal' | 'keyLengths'>,
): MaskKind {
  const kinds = new Set(masks.map((mask) => kindOf(view, mask)));
  if (keyLengths !== undefined) kinds.add('padding');
  kinds.delete('none');
  for (const kind of ['additive', 'boolean', 'causal', 'padding'] as const) {
    if (kind === 'causal' ? causal || kinds.has(kind) : kinds.has(kind)) return kind;
  }
  return 'none';
}

function kindOf(view: GraphView, mask: SiteMask): MaskKind {
  if (mask.as === 'keyMask' || mask.as === 'maskIndex') {
    if (!(mask.hidden <= hidesFrom)) return 'additive';
    return dimsOf(view, mask.value)?.length === 3 ? 'boolean' : 'padding';
  }
  const constant = view.constant(mask.value);
  if (constant && constant.size <= maxElements) return kindOfConstant(view, constant, mask);
  return mask.as === 'mask' || isOfTwoNumbers(view, mask.value) ? 'boolean' : 'additive';
}

function kindOfConstant(view: GraphView, constant: StoredTensor, mask: SiteMask): MaskKind {
  const { type, dims } = constant;
  const data = constant.data(view.folder);
  const isFloat = type === 'float32' || type === 'float16' || type === 'bfloat16';
  const shown = isFloat
    ? shownKeys(new Tensor<FloatType>(type, data as never, [data.length]).astype('float32').data)?.shown
    : type === 'bool' && (data as Uint8Array).map((value) => Number((value !== 0) !== mask.isInverted));
  if (!shown) return 'additive';
  const pattern = dims.length >= 1 && dims.length <= 4 ? orderAndPadding({ type: 'bool', data: shown, dims }) : null;
  if (!pattern) return 'boolean';
  if (pattern.causal) return 'causal';
  return pattern.keyStarts || pattern.keyLengths ? 'padding' : 'none';
}

/** Where(condition, 0, very negative): a mask that is added. Views of one are looked through. */
function isOfTwoNumbers(view: GraphView, value: string): boolean {
  let node = view.producer(value);
  while (node && ['Unsqueeze', 'Expand', 'Cast', 'Slice', 'Reshape', 'Identity'].includes(node.op)) {
    node = view.producer(node.inputs[0]);
  }
  if (node?.op !== 'Where') return false;
  const numbers = node.inputs.slice(1).map((name) => view.scalar(name));
  return numbers.includes(0) && numbers.some((number) => (number ?? 0) <= hidesFrom);
}
