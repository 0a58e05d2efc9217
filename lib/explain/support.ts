// Support: whether a device could run a call, even one that this machine does not have.
// Reader: docs/reference/support.mjs, which prints docs/reference/support.md from it. Not part of the public interface.

import { attentionOp } from '../native/fields.js';
import { native } from '../native/native.js';
import { appendReasons } from '../ops/append.js';
import { type AttentionOptions, readOptions } from '../ops/attention/options.js';
import { prepare, readOperands } from '../ops/attention/problem.js';
import { knownIndex, type Location } from '../tensor/devices.js';
import type { TensorLike } from '../tensor/types.js';
import { floatTypes, readTensor } from '../tensor/views.js';

/** Devices that this build knows how to use, one of each kind. */
export const builtFor = (): Location[] =>
  native.backends().flatMap(({ name }) => (name.includes(':') ? [] : [name as Location]));

/** Every reason why a device could not run attention(q, k, v, options). */
export function reasonsAgainst(
  device: Location,
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options: AttentionOptions = {},
): string[] {
  const index = knownIndex(device);
  const settings = readOptions('attention()', options);
  const operands = readOperands(q, k, v, undefined, settings);
  const { request, selection } = prepare(operands, settings, {}, false, { candidates: [index], results: 0 });
  return [...(selection?.reasons(index) ?? []), ...attentionOp.supports(index, request)];
}

/** The same of append() of a cache: the rows k and v [tokens, heads, dim] to the first slots of pages. */
export function reasonsAgainstAppend(
  device: Location,
  k: TensorLike,
  v: TensorLike,
  keyPages: TensorLike,
  valuePages: TensorLike,
): string[] {
  const read = (name: string, tensor: TensorLike) => readTensor(name, tensor, floatTypes);
  const keys = { name: 'k', from: read('k', k), to: read('keyPages', keyPages) };
  const values = { name: 'v', from: read('v', v), to: read('valuePages', valuePages) };
  return appendReasons(
    knownIndex(device),
    keys,
    values,
    Int32Array.from({ length: keys.from.dims[0] }, (_, i) => i),
  );
}
