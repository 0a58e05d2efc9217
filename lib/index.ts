// The public interface: everything that `import ... from 'tilewise'` finds.
// Reader: start here.

import { createRequire } from 'node:module';
import { native } from './native.js';

export { type AttentionResult, attention, attentionSync } from './attention.js';
export { type DeviceInfo, devices, numThreads, setNumThreads } from './devices.js';
export { type ErrorCode, TilewiseError, TilewiseRangeError, TilewiseTypeError } from './errors.js';
export { type ExplainShape, type Explanation, explain } from './explain.js';
export { type AttentionPart, type MergeOptions, mergeAttention, mergeAttentionSync } from './merge.js';
export type { AttentionOptions, DeviceName, Layout } from './options.js';
export {
  type Align,
  causal,
  full,
  type Pattern,
  slidingWindow,
  type WindowPattern,
  type WindowReach,
} from './patterns.js';
export {
  type DataType,
  type DataTypes,
  type Float16Data,
  type FloatType,
  Tensor,
  type TensorConstructor,
  type TensorLike,
} from './tensor.js';

const { version } = createRequire(import.meta.url)('../package.json') as { version: string };
const binary = native.version();

/** Versions of the package, of the native binary that was loaded, of Node-API as the binary uses it, and its compiler. */
export const versions: Readonly<{ tilewise: string; binary: string; napi: string; compiler: string }> = Object.freeze({
  tilewise: version,
  binary: binary.tilewise,
  napi: String(binary.napi),
  compiler: binary.compiler,
});
