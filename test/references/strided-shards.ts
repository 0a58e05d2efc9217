// S2 attention (arXiv 2407.17678): every head sees a local window of blocks and one in `vertStride` of the blocks before
// it, each head another residue class. Reader: someone who wants to know which head sees what. The predicate as the
// models' own code states it, block by block, and the conventions by which heads find their layout.

export interface StridedShards {
  kind: 'stridedShards';
  blockSize: number;
  localBlocks: number | [left: number, right: number]; // the current block included; a pair only for relative positions
  vertStride: number;
  layoutPer?: 'q' | 'kv';
  headStep?: number; // max(1, floor(vertStride / layouts))
  headOffset?: number;
  headBase?: number; // layout of the first head
  numDenseHeads?: number; // that many last layouts see everything before them
  homoHead?: boolean; // one layout for all
  positions?: 'absolute' | 'relative';
  preset?: 'phi3' | 'dkernel';
  numHeads?: number; // of the whole model, when the tensors hold a part of it
  numKvHeads?: number;
}

/** One head's layout, all numbers at hand. */
export interface ShardLayout {
  left: number;
  right: number;
  vertStride: number;
  shift: number;
  isDense: boolean;
  isRelative: boolean;
}

/** Does the query block visit the key block? */
export function visits({ left, right, vertStride, shift, isDense, isRelative }: ShardLayout, q: number, k: number) {
  if (isRelative) {
    const beyond = Math.max(0, q - k - left + 1) + Math.max(0, k - q - right + 1);
    return beyond % vertStride === 0;
  }
  if (k > q) return false;
  return isDense || q - k < left || (k + shift) % vertStride === 0;
}

/** What heads find when nothing else is said: phi3 numbers query heads from offset 1, dkernel KV heads from 0. */
function defaultsOf(preset: StridedShards['preset'], vertStride: number, heads: number, kvHeads: number) {
  const layoutPer = preset === 'phi3' ? ('q' as const) : ('kv' as const);
  // dkernel divides by the query heads even where KV heads have the layouts.
  const headStep = preset === undefined ? undefined : Math.max(1, Math.floor(vertStride / heads));
  return { layoutPer, headStep, headOffset: preset === 'phi3' ? 1 : 0, heads, kvHeads };
}

/** The layout of an output head among `heads`, which share `kvHeads`. */
export function layoutOf(pattern: StridedShards, head: number, heads: number, kvHeads: number): ShardLayout {
  const { vertStride, localBlocks, numHeads = heads, numKvHeads = kvHeads } = pattern;
  const defaults = defaultsOf(pattern.preset, vertStride, numHeads, numKvHeads);
  const layoutPer = pattern.layoutPer ?? defaults.layoutPer;
  const layouts = layoutPer === 'q' ? numHeads : numKvHeads;
  const step = pattern.headStep ?? defaults.headStep ?? Math.max(1, Math.floor(vertStride / layouts));
  const own = layoutPer === 'q' ? head : Math.floor(head / (heads / kvHeads));
  const index = pattern.homoHead ? 0 : own + (pattern.headBase ?? 0);
  const [left, right] = typeof localBlocks === 'number' ? [localBlocks, localBlocks] : localBlocks;
  return {
    left,
    right,
    vertStride,
    shift: index * step + (pattern.headOffset ?? defaults.headOffset),
    isDense: index >= layouts - (pattern.numDenseHeads ?? 0),
    isRelative: pattern.positions === 'relative',
  };
}

/** Does a head see the key from a position? Blocks are counted from position 0, wherever the queries begin. */
export function shardsRule(
  pattern: StridedShards,
  head: number,
  heads: number,
  kvHeads: number,
): (position: number, key: number) => boolean {
  const layout = layoutOf(pattern, head, heads, kvHeads);
  const block = (token: number): number => Math.floor(token / pattern.blockSize);
  return (position, key) => (layout.isRelative || key <= position) && visits(layout, block(position), block(key));
}
