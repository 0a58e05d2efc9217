// The presents that a site gives, those of them that somebody may read. Reader: someone who looks for a present's dims.

import type { SiteCache } from '../../onnx/sites/site.js';
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
  const wanted = (
    [
      ['keys', present.k, headDim],
      ['values', present.v, valueDim],
    ] as const
  ).filter(([, { value }]) => value !== '');
  if (wanted.length === 0) return [];
  const snapshot = line.snapshot(wanted.length);
  return wanted.map(([part, { value, order }, dim]) => {
    const sizes = [batch, kvHeads, tokens, dim];
    const dims = order!.map((_, axis) => sizes[order!.indexOf(axis)]);
    return [value, presentOf(ort, snapshot, { part, type: type, order: order!, dims })];
  });
}
