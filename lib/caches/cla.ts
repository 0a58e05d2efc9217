// CLA: layers that share the keys and values of one of them.
// Reader: someone whose model does. Idea: Cross-Layer Attention (arXiv 2405.12981).

import { checkInteger, checkNames, maxTokens, namesOf } from '../check/validate.js';

export interface ClaOptions {
  /** Layers of the model. */
  layers: number;
  /** Consecutive layers that share keys and values. */
  factor: number;
}

const names = namesOf<ClaOptions>({ layers: 1, factor: 1 });

/**
 * The layer whose keys and values each layer reads: layer - layer % factor. For the `layerMap` of a KvCache.
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION
 */
export function claLayerMap(options: ClaOptions): number[] {
  checkNames('claLayerMap()', options, names);
  const layers = checkInteger('layers', options.layers, 1, maxTokens);
  const factor = checkInteger('factor', options.factor, 1, maxTokens);
  return Array.from({ length: layers }, (_, layer) => layer - (layer % factor));
}
