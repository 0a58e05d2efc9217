// The presents that a site gives, those of them that somebody may read. Reader: someone who looks for a present's dims.

import type { Operand, SiteCache } from '../../onnx/sites/site.js';
import type { Ort, OrtTensor } from '../ort.js';
import type { Line, LineForm } from './lines.js';
import { presentOf } from './present.js';

/** @param tokens that they have room for */
export function presentsOf(
  ort: Ort,
  { present }: SiteCache,
  line: Line,
  { batch, kvHeads, headDim, valueDim, type }: Pick<LineForm, 'batch' | 'kvHeads' | 'headDim' | 'valueDim' | 'type'>,
  tokens: number,
): [name: string, tensor: OrtTensor][] {
  const isKeys = present.k.value !== '';
  const isValues = present.v.value !== '';
  if (!isKeys && !isValues) return [];
  const snapshot = line.snapshot(Number(isKeys) + Number(isValues));
  const made = ({ value, order }: Operand, part: 'keys' | 'values', dim: number): [string, OrtTensor] => {
    const dims = [0, 0, 0, 0];
    dims[order![0]] = batch;
    dims[order![1]] = kvHeads;
    dims[order![2]] = tokens;
    dims[order![3]] = dim;
    return [value, presentOf(ort, snapshot, { part, type, order: order!, dims })];
  };
  return [
    ...(isKeys ? [made(present.k, 'keys', headDim)] : []),
    ...(isValues ? [made(present.v, 'values', valueDim)] : []),
  ];
}
