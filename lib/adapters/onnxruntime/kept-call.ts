// The last call of a site, for runs whose tensors are like those of the last one: all that is left to do is to pass their memory.
// Reader: someone who asks what a short text costs. What a call is depends on types, dims and masks alone.

import type { CallMemory, RepeatedCall } from '../../ops/attention/again.js';
import type { TensorData } from '../../tensor/views.js';
import type { MaskOptions, RunMasks } from './masks/masks.js';
import type { OrtTensor } from './ort.js';
import type { SwappedSite } from './segments/cut.js';
import type { RunMemory, TensorKind } from './segments/run-memory.js';

/** The tensors that a site reads: queries, keys, values, masks. */
export const givenTo = ({ swap }: SwappedSite, tensorOf: (name: string) => OrtTensor): OrtTensor[] => [
  tensorOf(swap.q.value),
  tensorOf(swap.k.value),
  tensorOf(swap.v.value),
  ...swap.masks.map(({ value }) => tensorOf(value)),
];

/** What a call depends on of a tensor. */
export type TensorForm = Pick<OrtTensor, 'type' | 'dims'>;

export const formsOf = (tensors: readonly OrtTensor[]): TensorForm[] =>
  tensors.map(({ type, dims }) => ({ type, dims: [...dims] }));

export class KeptCall {
  readonly #call: RepeatedCall;
  readonly #forms: readonly TensorForm[];
  readonly #hiding: MaskOptions;
  readonly #output: TensorKind;

  /** @param given what the site was given, as givenTo() says @param hiding what its masks say */
  constructor(
    call: RepeatedCall,
    given: readonly OrtTensor[],
    { hiding, output }: { hiding: MaskOptions; output: TensorKind },
  ) {
    this.#call = call;
    this.#forms = formsOf(given);
    this.#hiding = hiding;
    this.#output = output;
  }

  /** The output for other tensors; undefined where the call is another one for them. */
  again(
    site: SwappedSite,
    tensorOf: (name: string) => OrtTensor,
    masks: RunMasks,
    memory: RunMemory,
  ): OrtTensor | undefined {
    const given = givenTo(site, tensorOf);
    if (!given.every((tensor, i) => isLike(tensor, this.#forms[i]))) return undefined;
    if (!masks.says(this.#hiding, given.slice(3))) return undefined;
    const out = memory.take(this.#output);
    if (this.#call.run(memoryOf([given[0], given[1], given[2], out]))) return out;
    memory.give(out);
    return undefined;
  }
}

/** Whether a tensor has a form. */
export function isLike({ type, dims }: OrtTensor, form: TensorForm): boolean {
  if (type !== form.type || dims.length !== form.dims.length) return false;
  for (let axis = 0; axis < dims.length; ++axis) if (dims[axis] !== form.dims[axis]) return false;
  return true;
}

/** The memory of tensors that are in the process's memory. */
export const memoryOf = (tensors: readonly OrtTensor[]): CallMemory =>
  tensors.map(({ data }) => data as TensorData) as unknown as CallMemory;
