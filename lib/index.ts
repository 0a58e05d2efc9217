// The public interface: everything that `import ... from 'tilewise'` finds.
// Reader: start here.

import { createRequire } from 'node:module';
import { native } from './native.js';

export type { Align } from './align.js';
export { type AttentionResult, attention, attentionSync } from './attention.js';
export type { BlockCsr, BlockIndexLists, FlexBlockMask } from './block-formats.js';
export { blockSparseAttention, blockSparseAttentionSync } from './block-sparse.js';
export {
  type BlocksOptions,
  type BlocksPattern,
  blocks,
  type MaskPredicate,
} from './blocks.js';
export { type DeviceInfo, type DeviceName, devices, type Location, numThreads, setNumThreads } from './devices.js';
export { type ErrorCode, TilewiseError, TilewiseRangeError, TilewiseTypeError } from './errors.js';
export { explain } from './explain.js';
export type { ExplainOptions, ExplainShape, Explanation } from './explanation.js';
export {
  type HierarchicalOptions,
  type HierarchicalPattern,
  type HierarchicalPreset,
  hierarchical,
  type SelectionScope,
  type SelectionStage,
  type StagedPattern,
  type TreePattern,
} from './hierarchical.js';
export {
  type HipOptions,
  type HipSelection,
  type HipSelectOptions,
  hipAttention,
  hipAttentionSync,
  hipSelect,
  hipSelectSync,
} from './hip.js';
export { type HipLists, HipState, type Refresh } from './hip-state.js';
export { type AttentionPart, type MergeOptions, mergeAttention, mergeAttentionSync } from './merge.js';
export type { CommonOptions, NamedOp, NamedOpSync } from './named.js';
export { type NeighborhoodOptions, type NeighborhoodPattern, neighborhood, type PerAxis } from './neighborhood.js';
export { neighborhoodAttention, neighborhoodAttentionSync } from './neighborhood-attention.js';
export type { AttentionOptions, Layout } from './options.js';
export type { PagedKeys } from './pages.js';
export { causal, full, type Pattern, slidingWindow, type WindowPattern, type WindowReach } from './patterns.js';
export { s2Attention, s2AttentionSync } from './s2.js';
export { S2Cache, type S2CacheAttentionOptions, type S2CacheOptions } from './s2-cache.js';
export { type BlockRange, type S2Coverage, S2Layout, type S2LayoutOptions, s2Layout } from './s2-layout.js';
export {
  type SqaConfig,
  type SqaCost,
  type SqaHeads,
  type SqaOptions,
  type SqaVariant,
  sparseQueryAttention,
  sparseQueryAttentionSync,
  sqaCost,
  sqaVariant,
} from './sqa.js';
export { type StridedShardsOptions, type StridedShardsPattern, stridedShards } from './strided-shards.js';
export { Tensor } from './tensor.js';
export type { DataType, DataTypes, Float16Data, FloatType, TensorConstructor, TensorLike } from './types.js';

const { version } = createRequire(import.meta.url)('../package.json') as { version: string };
const binary = native.version();

/** Versions of the package, of the native binary that was loaded, of Node-API as the binary uses it, and its compiler. */
export const versions: Readonly<{ tilewise: string; binary: string; napi: string; compiler: string }> = Object.freeze({
  tilewise: version,
  binary: binary.tilewise,
  napi: String(binary.napi),
  compiler: binary.compiler,
});
