// The native addon: its surface as TypeScript sees it, and the only place that has it loaded.
// Reader: someone who changes binding/. Fields and views cross in the order that binding/requests states; op.ts looks names
// up, so that the order is written down in one language only.

import { type Installed, installedAt, loadAddon } from './load.js';
import type { DocumentRules, NativeRanges, PositionRules, SliceRules } from './ranges.js';

/** A handle of device memory: opaque, counted by native code. */
export interface NativeMemory {
  readonly handle?: never;
}

/** Absent operands cross as undefined. */
export type NativeViews = (ArrayBufferView | NativeMemory | undefined)[];

/** Undefined when the call ran; every reason why not when the backend cannot run the problem. */
export type Refusal = string[] | undefined;

/** A call in flight: resolves to false when it was cancelled; either way native code is done with the memory. */
export interface Flight {
  readonly id: number;
  readonly done: Promise<boolean>;
}

/** A plan's counts, over all heads and batch entries unless they say otherwise; the fields of core/plan/plan.h. */
export interface NativePlan {
  /** Per axis of a grid; of a sequence the first alone, in rows: tokens times headsPerTile. */
  queryTile: number[];
  keyTile: number[];
  headsPerTile: number;
  /** Keys that are left out together where masks hide them; 0: none are. */
  maskKeys: number;
  /** Columns of query tiles: one per head, or per headsPerTile heads, and batch entry. */
  maps: number;
  queryTiles: number;
  /** Of one query tile. */
  keyTiles: number;
  visited: number;
  interior: number;
  /** By one query tile. */
  mostVisited: number;
  computed: number;
  unmasked: number;
  useful: number;
  /** Once per KV head. */
  keysTouched: number;
  variesByHead: boolean;
  worstHead: number;
  worstHeadVisited: number;
  worstHeadQueryTiles: number;
  worstHeadComputed: number;
  worstHeadUseful: number;
  /** Why these tiles; empty when the caller asked for them. */
  why: string;
  /** Every reason why the backend cannot run the problem. */
  reasons: string[];
}

/** Lists of block starts, [sequence][head][list]; the fields of core/pattern/sampled_blocks.h. */
export interface NativeSample {
  readonly blockQueries: number;
  readonly begins: Int32Array;
  readonly counts: Int32Array;
  readonly starts: Int32Array;
  /** What is added to the scores of an entry's keys; absent where that is 0 for all. */
  readonly addends?: Float32Array;
}

/** Nanoseconds since threads began, of all together; 0 where the system does not say. */
export interface NativeRunTimes {
  readonly ran: number;
  /** For a processor. */
  readonly waited: number;
}

export interface NativeBackend {
  name: string;
  isAvailable: boolean;
  reason: string;
  /** Of a backend that is not available. */
  code?: string;
  /** What the device calls itself; may be empty. */
  description: string;
  /** Of device memory, by all threads of this process. */
  bytesInUse: number;
}

/** Names of the fields and views of every request, and then, again and again, of every part or stage. */
export interface NativeOp {
  readonly fields: readonly string[];
  readonly views: readonly string[];
  readonly itemFields: readonly string[];
  readonly itemViews: readonly string[];
}

/** core/op/linear.h's LinearPasses, and why the device would refuse the call. */
export interface NativePasses {
  readonly chunk: number;
  readonly groups: number;
  readonly isSplit: boolean;
  readonly bytes: number;
  readonly reasons: string[];
}

export interface Native {
  /** By name: what the numbers and views of an operation are called, in order. */
  readonly ops: Readonly<Record<string, NativeOp>>;
  readonly dataTypes: readonly string[];
  /** Every reason why a backend, available or not, could not run a call. */
  supports(op: string, numbers: Float64Array, views: NativeViews): string[];
  run(op: string, numbers: Float64Array, views: NativeViews): Refusal;
  /** Undefined: so brief a call that it has run at once. */
  submit(op: string, numbers: Float64Array, views: NativeViews): Flight | string[] | undefined;
  cancel(id: number): void;
  /** `[device, bytes]`; not cleared. */
  allocate(numbers: Float64Array): NativeMemory;
  /** Another handle of the same memory, which lives until all have been released or collected. */
  share(memory: NativeMemory): NativeMemory;
  release(memory: NativeMemory): void;
  /** Between a whole typed array and device memory from `byte` on. */
  upload(memory: NativeMemory, data: ArrayBufferView, byte: number): Flight;
  uploadSync(memory: NativeMemory, data: ArrayBufferView, byte: number): void;
  download(memory: NativeMemory, data: ArrayBufferView, byte: number): Flight;
  downloadSync(memory: NativeMemory, data: ArrayBufferView, byte: number): void;
  /** Tells the collector of bytes that it does not see, taken or freed (below 0): it runs sooner. Device memory tells of itself. */
  tellCollector(bytes: number): void;
  /** Asks the system for huge pages where the memory of a typed array has not been touched yet; it may refuse. */
  preferHugePages(view: ArrayBufferView): void;
  /** Where the memory of a typed array is: equal for arrays over the same memory, whatever their buffers. */
  addressOf(view: ArrayBufferView): number;
  /** `tiles`: [isDynamic, 3 axes of a query tile, 3 of a key tile], 0 where the backend may choose. */
  explain(numbers: Float64Array, views: NativeViews, tiles: Float64Array): NativePlan;
  /**
   * What ranges of queries see, as [range, begin, end, isInterior] of every run of keys. `boxes`: [head, begin, end] of
   * every range; of a grid [dilation group, axis, begin, end, begin, end...] in places of that axis. With `tiles`, as in
   * explain(), the tiles of keys that each range visits as a query tile.
   */
  sights(numbers: Float64Array, views: NativeViews, boxes: Float64Array, tiles?: Float64Array): Int32Array;
  /**
   * Of one head and batch entry of a selection, at most: products of a query and a key, and keys that a query sees between
   * sinks and window. No views; of the stages all fields.
   */
  selectionBounds(numbers: Float64Array): { dots: number; kept: number };
  /** How a device divides linear attention; numbers of the op `linear`. */
  linearPasses(numbers: Float64Array): NativePasses;
  /** The same of the ops `delta` and `cumulative`. */
  deltaPasses(numbers: Float64Array): NativePasses;
  cumulativePasses(numbers: Float64Array): NativePasses;
  /**
   * The block lists that a rule draws: `numbers` are those of binding/requests/sampling.cc, `lengths` [queries, keys] of every
   * sequence, `table` probabilities by distance.
   */
  sampledBlocks(numbers: Float64Array, lengths: Int32Array, table: Float64Array | undefined): NativeSample;
  documentRanges(rules: DocumentRules): NativeRanges;
  positionRanges(rules: PositionRules): NativeRanges;
  /** Or where two slices of one list overlap: [list, slice, slice, query, key]. */
  sliceRanges(rules: SliceRules): NativeRanges | { overlap: Int32Array };
  backends(): NativeBackend[];
  numThreads(): number;
  setNumThreads(threads: number): void;
  /** The same, unless this process has set it already. */
  setNumThreadsOnce(threads: number): void;
  /** Of the CPU's own threads. */
  runTimes(): NativeRunTimes;
  instructionSets(): string[];
  instructionSet(): string;
  /** False when the processor or the build does not have it. */
  setInstructionSet(name: string): boolean;
  version(): { tilewise: string; napi: number; compiler: string };
}

/** This package. */
export const installed: Installed = installedAt(import.meta.url);

/** The addon of this thread. */
export const native = loadAddon(installed) as Native;

/** Number of an element type in native code. */
export const dataTypeCode = (type: string): number => native.dataTypes.indexOf(type);
