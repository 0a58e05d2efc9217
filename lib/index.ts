// The public interface: everything that `import ... from 'tilewise'` finds.
// Reader: start here.

import { installed, native } from './native/native.js';

export { type ClaOptions, claLayerMap } from './caches/cla.js';
export type { KvBits } from './caches/coded-tokens.js';
export { KvCache } from './caches/kv-cache.js';
export type { KvError, KvLayerError } from './caches/kv-error.js';
export type { KvCacheOptions, KvPoolOptions } from './caches/kv-options.js';
export { type HeldPages, KvPool, type KvSequence, OutOfPagesError } from './caches/kv-pool.js';
export type { CachePositions } from './caches/kv-rotary.js';
export type { AppendOptions } from './caches/kv-rows.js';
export type { CacheAttentionOptions, PoolAttentionOptions } from './caches/kv-told.js';
export {
  LinearState,
  type LinearStateOptions,
  type LinearStepOptions,
  type SavedLinearState,
} from './caches/linear-state.js';
export { linearAttentionStep, linearAttentionStepSync } from './caches/linear-step.js';
export {
  S2Cache,
  type S2CacheAppendOptions,
  type S2CacheAttentionOptions,
  type S2CacheOptions,
} from './caches/s2-cache.js';
export { type BlockRange, type S2Coverage, S2Layout, type S2LayoutOptions, s2Layout } from './caches/s2-layout.js';
export { type ErrorCode, TilewiseError, TilewiseRangeError, TilewiseTypeError } from './check/errors.js';
export { explain } from './explain/explain.js';
export type { ExplainOptions, ExplainShape, Explanation } from './explain/explanation.js';
export { type ExplainLinearShape, explainLinear, type LinearExplanation } from './explain/linear.js';
export {
  type ExplainCumulativeShape,
  type ExplainDeltaShape,
  explainCumulative,
  explainDelta,
} from './explain/scans.js';
export { type AttentionResult, attention, attentionSync, type ResultOf } from './ops/attention/attention.js';
export { type GaussianMixtureOptions, gaussianMixture } from './ops/attention/gaussian-mixture.js';
export type { AttentionOptions, Layout } from './ops/attention/options.js';
export { type BlockMask, type BlockMaskOptions, createBlockMask, createBlockMaskSync } from './ops/block-mask.js';
export { blockSparseAttention, blockSparseAttentionSync } from './ops/blocks.js';
export { type CombinerOptions, combinerAttention, combinerAttentionSync } from './ops/combiner.js';
export {
  type CumulativeOptions,
  type CumulativeResult,
  type CumulativeState,
  cumulativeAttention,
  cumulativeAttentionSync,
} from './ops/cumulative.js';
export { type GatedDeltaResult, gatedDelta, gatedDeltaSync } from './ops/delta/delta.js';
export type { GatedDeltaOptions } from './ops/delta/options.js';
export { type DynamicMaskOptions, dynamicMaskAttention, dynamicMaskAttentionSync } from './ops/dynamic-mask.js';
export { type HaloOptions, haloAttention, haloAttentionSync } from './ops/halo.js';
export {
  type HipOptions,
  type HipSelection,
  type HipSelectOptions,
  hipAttention,
  hipAttentionSync,
  hipSelect,
  hipSelectSync,
} from './ops/hip.js';
export { type LandmarkOptions, landmarkAttention, landmarkAttentionSync } from './ops/landmark.js';
export {
  type LightningDecayOptions,
  type LightningVariant,
  lightningDecay,
  retnetDecay,
} from './ops/linear/decays.js';
export { type LinearAttentionResult, linearAttention, linearAttentionSync } from './ops/linear/linear.js';
export type { FeatureMap, LinearAttentionOptions } from './ops/linear/options.js';
export {
  type LocalLinearResult,
  localLinearAttention,
  localLinearAttentionSync,
  parallaxAttention,
  parallaxAttentionSync,
} from './ops/local-linear/local-linear.js';
export type { LocalLinearOptions, ParallaxOptions } from './ops/local-linear/problem.js';
export { type AttentionPart, type MergeOptions, mergeAttention, mergeAttentionSync } from './ops/merge.js';
export type { CommonOptions, NamedOp, NamedOpSync } from './ops/named.js';
export { neighborhoodAttention, neighborhoodAttentionSync } from './ops/neighborhood.js';
export {
  type QuantizationAxis,
  type QuantizedKv,
  type QuantizeKvOptions,
  quantizeKv,
} from './ops/quantize-kv.js';
export type { RotaryOptions, RotaryScaling, RotaryScalings } from './ops/rotary/frequencies.js';
export type { NumberArray } from './ops/rotary/positions.js';
export { type RotateOptions, rotate, rotateSync } from './ops/rotary/rotate.js';
export { s2Attention, s2AttentionSync } from './ops/s2.js';
export {
  type BlockMeanOptions,
  blockMeanTopK,
  blockMeanTopKSync,
  type SelectedBlocks,
} from './ops/selectors/block-means.js';
export { type DeltaPageOptions, deltaPageScores, deltaPageScoresSync } from './ops/selectors/delta.js';
export {
  type LandmarkTopKOptions,
  landmarkTopK,
  landmarkTopKSync,
  type SelectedLandmarks,
} from './ops/selectors/landmarks.js';
export type { PageSelectorOptions } from './ops/selectors/pages.js';
export { questPageScores, questPageScoresSync, type SelectedPages } from './ops/selectors/quest.js';
export { type SelectedTokens, type SnapKvOptions, snapKV, snapKVSync } from './ops/selectors/snap-kv.js';
export type { SelectorOptions } from './ops/selectors/steps.js';
export {
  type SelectedSlashes,
  type VerticalSlashOptions,
  verticalSlash,
  verticalSlashSync,
} from './ops/selectors/vertical-slash.js';
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
} from './ops/sqa.js';
export type { AttentionStatsOptions, StatsOutput } from './ops/stats/options.js';
export type { AttentionStats } from './ops/stats/problem.js';
export { attentionStats, attentionStatsSync } from './ops/stats/stats.js';
export type { Align } from './patterns/align.js';
export { type AttentionSlice, attentionSlices, type SlicesPattern } from './patterns/attention-slices.js';
export type { BlockCsr, BlockIndexLists, FlexBlockMask } from './patterns/block-formats.js';
export { type BlocksOptions, type BlocksPattern, blocks } from './patterns/blocks.js';
export { type DocumentLists, type DocumentsOptions, type DocumentsPattern, documents } from './patterns/documents.js';
export {
  type HierarchicalOptions,
  type HierarchicalPattern,
  type HierarchicalPreset,
  hierarchical,
  type SelectionScope,
  type SelectionStage,
  type StagedPattern,
  type TreePattern,
} from './patterns/hierarchical.js';
export type { Pattern } from './patterns/index.js';
export { type MaskDocuments, type MaskPattern, maskPattern } from './patterns/mask-pattern.js';
export { type MoaOptions, type MoaWindows, moaWindows } from './patterns/moa-windows.js';
export {
  type NeighborhoodOptions,
  type NeighborhoodPattern,
  neighborhood,
  type PerAxis,
} from './patterns/neighborhood.js';
export type { PerHead } from './patterns/per-head.js';
export type { PositionList, TokenPositions } from './patterns/positions.js';
export { type PowerOptions, type PowerPattern, power } from './patterns/power.js';
export type { AskingProgress, MaskPredicate, PredicateAxis } from './patterns/predicate.js';
export { type RangesOptions, type RangesPattern, ranges } from './patterns/ranges.js';
export { type SampledBlocksOptions, type SampledBlocksPattern, sampledBlocks } from './patterns/sampled-blocks.js';
export { type StridedShardsOptions, type StridedShardsPattern, stridedShards } from './patterns/strided-shards.js';
export { causal, full, slidingWindow, type WindowPattern, type WindowReach } from './patterns/window.js';
export { type HipLists, HipState, type Refresh } from './selectors/hip-state.js';
export type { KeyPages, PageSummaries } from './stores/key-pages.js';
export type { KvFormat, KvGroupFormat, KvTier } from './stores/kv-format.js';
export type { PageLists } from './stores/page-lists.js';
export type { PagedKeys } from './stores/pages.js';
export {
  type DeviceInfo,
  type DeviceName,
  devices,
  type Location,
  numThreads,
  setNumThreads,
} from './tensor/devices.js';
export type { FloatArray } from './tensor/floats.js';
export type { IntegerList, IntegerTable } from './tensor/integers.js';
export type { NestedArray } from './tensor/nested.js';
export { Tensor } from './tensor/tensor.js';
export type { TypedAs } from './tensor/typed.js';
export type {
  BufferLike,
  DataType,
  DataTypes,
  ElementOf,
  Float16Data,
  FloatType,
  TensorConstructor,
  TensorLike,
} from './tensor/types.js';

const binary = native.version();

/** Versions of the package, of the native binary that was loaded, of Node-API as the binary uses it, and its compiler. */
export const versions: Readonly<{ tilewise: string; binary: string; napi: string; compiler: string }> = Object.freeze({
  tilewise: installed.version,
  binary: binary.tilewise,
  napi: String(binary.napi),
  compiler: binary.compiler,
});
