// The options of attention(): what they mean, and how each is checked.
// Reader: anyone who calls attention(), and whoever adds an option. Order: names, values one by one; what they say together
// is in settings.ts, shapes are compared in problem.ts, where the tensors are.

import { refuseSignal } from '../../call/flight.js';
import { readMergedHeads } from '../../call/heads.js';
import type { CopyInputs } from '../../call/request.js';
import { checkBoolean, checkNames, checkOneOf, invalid, is, namesOf } from '../../check/validate.js';
import type { Align } from '../../patterns/align.js';
import { checkPattern, type Pattern } from '../../patterns/index.js';
import type { PerHead } from '../../patterns/per-head.js';
import { readPositions, type TokenPositions } from '../../patterns/positions.js';
import { checkExclusive, full, type WindowReach, windowPattern } from '../../patterns/window.js';
import { type PageLists, readPageLists } from '../../stores/page-lists.js';
import { type PagedKeys, readPages } from '../../stores/pages.js';
import { checkDevice, type DeviceName } from '../../tensor/devices.js';
import { type FloatArray, readFloats } from '../../tensor/floats.js';
import { type IntegerList, readIntegerList } from '../../tensor/integers.js';
import { readMask } from '../../tensor/masks.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { TensorConstructor, TensorLike } from '../../tensor/types.js';
import { floatTypes, readTensor } from '../../tensor/views.js';
import { type RotaryOptions, readRotaryOptions } from '../rotary/frequencies.js';
import { type Activation, type ActivationBias, readActivation } from './activation.js';
import { checkTogether, positionsSay, readBiasHeads, type Settings } from './settings.js';
import { readSimilarity, type Similarity } from './similarity.js';

/** Order of the axes of q, k, v and out: [batch, tokens, heads, dim] or [batch, heads, tokens, dim]. */
export type Layout = 'bnhd' | 'bhnd';

export const layouts: readonly Layout[] = ['bnhd', 'bhnd'];
const pairings = ['tile', 'interleave'] as const;

/** What attention() can be told. Every field is optional. */
export interface AttentionOptions<T = Tensor> {
  /** Axes of q, k, v and out: `'bnhd'` (default) or `'bhnd'`. `lse` is [batch, heads, tokens] in either. */
  layout?: Layout;
  /**
   * Heads of q when heads and dim are one axis: q is then [batch, queries, queryHeads * headDim], k [batch, keys, kvHeads *
   * headDim], v, the extra keys and `out` likewise, packed ones without the batch. Pages have an axis of heads all the same. Not
   * for grids.
   */
  queryHeads?: number;
  /** KV heads of such tensors; default `queryHeads`. */
  kvHeads?: number;
  /**
   * Which keys a query may see: `full()`, `causal()`, `slidingWindow()`, `neighborhood()`, `stridedShards()`, `blocks()`,
   * `ranges()`, `hierarchical()`. Instead of the next five options.
   */
  pattern?: Pattern;
  /** Queries see nothing after their own position. */
  causal?: boolean;
  /**
   * Newest keys that a query sees, its own included, and none after it; 0: `sinkTokens` alone, Infinity: all. An array says it
   * per KV head or per query head, and so do arrays of `window.left`, `window.right` and `sinkTokens`: see slidingWindow().
   */
  recentTokens?: PerHead;
  /** Tokens visible around a query's position, inclusive: `{ left, right }` or `[left, right]` with -1 for all. */
  window?: WindowReach;
  /** Leading keys that stay visible behind the window. */
  sinkTokens?: PerHead;
  /** Where queries are among the keys: `'bottom-right'` (default), `'top-left'` or `{ offset }`. */
  align?: Align;
  /**
   * Where queries and keys are when they are not in a row, in place of `align`: shards of a ring, gathered keys, clusters. Causal
   * order, windows, sink tokens, power() and ALiBi then count these, `{ queries, keys }`, int32 [tokens] or [batch, tokens], from
   * -2^29 to 2^29. They ascend; tokens at one position see each other. With a window or power(); not for packed sequences, pages
   * and `keyStarts`.
   */
  positions?: TokenPositions;
  /**
   * Turns q and k first, as rotate() does, for keys kept as the projection gives them: key `i` is at `i`, queries where `align` puts
   * them, or both where `positions` says; packed sequences begin at 0 each, `extraKeys` are nowhere. Turned tensors are new memory
   * of their type. Not for grids and `pages`, where KvCache and KvPool turn. RoPE (arXiv 2104.09864).
   */
  rotary?: RotaryOptions;
  /** Factor on the scores; default 1/sqrt(headDim). Not with cosine, which has `temperature`. */
  scale?: number;
  /**
   * `'cosine'` divides q and k by their lengths, max(|x|, 1e-12), in place of `'dot'` (default); v stays as it is. 4 bytes of
   * memory for each key and KV head, on a GPU for each query and head too; not with `hierarchical()`. M3 (arXiv 2503.16413).
   */
  similarity?: Similarity;
  /** With cosine: scores are divided by it, default 1; above 0. In place of `scale`. */
  temperature?: number;
  /** Scores become softcap * tanh(score / softcap), before bias and mask (Gemma 2, arXiv 2408.00118). 0: no cap. */
  softcap?: number;
  /**
   * What makes a weight of a score: `'softmax'` (default), `'sigmoid'` (arXiv 2409.04431), 1 / (1 + exp(-score)), or `'relu'`
   * (arXiv 2309.08586), max(0, score) over the number of the sequence's keys, hidden ones too. The latter two have no
   * normaliser: no `returnLse`, no `sinks`, and partial results of sigmoid add (mergeAttention() of parts without lse).
   */
  activation?: Activation;
  /**
   * With `activation: 'sigmoid'`: added to every score, default 0. A model wants the one it was trained with, usually -ln of
   * the number of tokens of training. `'neg-log-keys'` is -ln of the sequence's own number of keys, whatever is hidden of them;
   * not for parts that are merged, and a text that grows token by token changes it.
   */
  activationBias?: ActivationBias;
  /** ALiBi (arXiv 2108.12409): scores -= slope * |position - key|. [heads] or [batch, heads], float32. */
  alibiSlopes?: FloatArray;
  /**
   * Logits that join the softmax's denominator and nothing else (gpt-oss). [heads], float32. `lse` includes them, so of
   * calls whose results are merged at most one may have them; mergeAttention() takes them, too. -Infinity is no sink.
   */
  sinks?: FloatArray;
  /**
   * Multiplies the scores, after `softcap` and before anything is added; broadcasts to [batch, heads, queries, keys], of packed
   * sequences with all rows of q and k; any float type. 0 makes a score of 0, it hides no key; a hidden key stays hidden. Extra
   * keys have none. gaussianMixture() makes one.
   */
  scoreFactor?: TensorLike;
  /** Added to the scores; broadcasts to [batch, heads, queries, keys]; any float type. -Infinity hides a key. */
  bias?: TensorLike;
  /**
   * Which heads `bias` has: those of the output (`'query'`, default), or KV heads (`'kv'`), each of which serves its group:
   * it then broadcasts to [batch, kvHeads, queries, keys].
   */
  biasHeads?: 'query' | 'kv';
  /**
   * Broadcasts to [batch, heads, queries, keys]; 0 hides a key. Type bool or uint8; int32 and int64 are converted, on the
   * calling thread, and cannot be on a device.
   */
  mask?: TensorLike;
  /**
   * Hides keys of a batch entry from every query and head: [batch, keys], 0 hides; the types of `mask`. With `mask` a query
   * sees the keys that both show. With `cuSeqlensQ` and `pages`, per sequence, [sequences, keys]; not for packed keys.
   */
  keyMask?: TensorLike;
  /**
   * Extra keys: every query sees them whatever the pattern, in the same softmax (registers, a prompt's summary).
   * [batch, extras, kvHeads, headDim], with `layout: 'bhnd'` [batch, kvHeads, extras, headDim]. They have no position:
   * bias, masks and ALiBi do not concern them. Of calls whose results are merged, one may have them.
   */
  extraKeys?: TensorLike;
  /** Their values, [batch, extras, kvHeads, valueDim] likewise. */
  extraValues?: TensorLike;
  /**
   * With a neighborhood: added to the scores by distance, in steps of the dilation. float32 [heads, 2 * kernelSize - 1] with
   * one such axis per axis of the grid; index (key - query) / dilation + kernelSize - 1.
   */
  relativeBias?: FloatArray;
  /**
   * Multiplies rows of the output: [batch, queries, heads] in every layout, of a grid [batch, ...tokens, heads], packed
   * without the batch where q is; any float type. Rows with 0 are 0, and tiles of rows that all have 0 are not computed
   * (mixture of heads, arXiv 2410.11842). `lse` is that of the call without a gate: with `returnLse` all rows are computed.
   */
  gate?: TensorLike;
  /** Packed sequences: where each one's queries begin, [sequences + 1], from 0 to the number of rows of q. */
  cuSeqlensQ?: IntegerList;
  /**
   * Packed sequences: where each one's keys begin, [sequences + 1], from 0 to the number of rows of k. Not with `pages`,
   * where `keyLengths` says it.
   */
  cuSeqlensK?: IntegerList;
  /**
   * Keys in use per batch entry, [batch]; the rest is never read, and bottom-right alignment counts from here. With
   * `cuSeqlensQ` and `pages`, per sequence, [sequences].
   */
  keyLengths?: IntegerList;
  /**
   * The first key in use per batch entry, [batch], 0 to its length: left padding. Keys before it are never read; positions
   * stay the indices of keys, and `sinkTokens` count from here. Not for grids, packed sequences, `pageLists` and
   * `hierarchical()`.
   */
  keyStarts?: IntegerList;
  /**
   * Keys and values on pages, with `keyLengths`: k is [pages, pageSize, kvHeads, headDim], with `layout: 'bhnd'` [pages,
   * kvHeads, pageSize, headDim], v likewise. A sequence is a batch entry of q; or q is packed, and `cuSeqlensQ` says how many
   * queries each has, a prompt's chunk beside single tokens. Not for grids.
   */
  pages?: PagedKeys;
  /**
   * With `pages` and a window: the logical pages, indices into a row of the table, that a sequence's queries see, as far as
   * the window shows them. Per sequence a list for all heads, or an array of lists, one per KV head; each ascends and may be
   * empty. `sinkTokens` are whole pages here.
   */
  pageLists?: PageLists;
  /**
   * With more KV heads than query heads (reverse SQA, arXiv 2510.01817): output head `j` reads query head
   * `j % queryHeads` (`'tile'`) or `floor(j * queryHeads / kvHeads)` (`'interleave'`). Needed there: without it such tensors
   * are taken for two layouts mixed up. sparseQueryAttention() needs it not, its default is `'tile'`.
   */
  pairing?: 'tile' | 'interleave';
  /**
   * Also return `lse`, the natural log of each row's sum of exp(score): [batch, heads, queries], float32; of a grid
   * [batch, heads, ...tokens].
   */
  returnLse?: boolean;
  /**
   * Where to write the output: q's type, the output's shape, any strides; no memory in common with inputs. May be on a
   * device or not, wherever `q` is.
   */
  out?: TensorLike;
  /**
   * Class of the results, called as `new Tensor(type, data, dims)`; default our own, which alone can be on a device.
   */
  Tensor?: TensorConstructor<T>;
  /** Cancels an asynchronous call: it rejects with `signal.reason` once native code has let go of the memory. */
  signal?: AbortSignal;
  /**
   * Where to run: `'cpu'`, `'cuda'`, `'cuda:1'` and so on insist. `'auto'` (default) is the device that tensors are on; if
   * none is on one, the first GPU that can run the problem, or the CPU. Results are where `q` is.
   */
  device?: DeviceName;
  /**
   * Asynchronous calls: copy the inputs first, so that they may change or be transferred while the call runs. `'small'`
   * (default) copies them when they are at most 64 KiB in all. Of inputs that are not copied, and of `out`, a call that finds
   * the buffer transferred rejects with ERR_TILEWISE_INVALID_TENSOR; but memory that was transferred and then collected while
   * the call ran may end the process. Device tensors are not copied: nothing changes them but a call that has them as `out`.
   */
  copyInputs?: CopyInputs;
}

export const attentionNames = namesOf<AttentionOptions>({
  layout: 1,
  queryHeads: 1,
  kvHeads: 1,
  pattern: 1,
  causal: 1,
  recentTokens: 1,
  window: 1,
  sinkTokens: 1,
  align: 1,
  positions: 1,
  rotary: 1,
  scale: 1,
  similarity: 1,
  temperature: 1,
  softcap: 1,
  activation: 1,
  activationBias: 1,
  alibiSlopes: 1,
  sinks: 1,
  scoreFactor: 1,
  bias: 1,
  biasHeads: 1,
  mask: 1,
  keyMask: 1,
  extraKeys: 1,
  extraValues: 1,
  relativeBias: 1,
  gate: 1,
  cuSeqlensQ: 1,
  cuSeqlensK: 1,
  keyLengths: 1,
  keyStarts: 1,
  pages: 1,
  pageLists: 1,
  pairing: 1,
  returnLse: 1,
  out: 1,
  Tensor: 1,
  signal: 1,
  device: 1,
  copyInputs: 1,
});

/** Checks the options of attention() by name and value. `where` names the function in messages. */
export function readOptions(where: string, options: AttentionOptions<unknown>): Settings {
  checkNames(where, options, attentionNames);
  return readValues(options);
}

/** The same of a call on the calling thread. */
export function readSyncOptions(where: string, options: AttentionOptions<unknown>): Settings {
  checkNames(where, options, attentionNames);
  return readSyncValues(where, options);
}

/** readSyncOptions() where names need no check. Such a call ends before its caller could change inputs or cancel it. */
export function readSyncValues(where: string, options: AttentionOptions<unknown>): Settings {
  const settings = readValues(options, false);
  refuseSignal(where, settings.signal);
  return settings;
}

/**
 * readOptions() where names need no check.
 * @param mayCopy whether inputs are copied as `copyInputs` says, or never
 */
export function readValues(o: AttentionOptions<unknown>, mayCopy = true): Settings {
  if (o.pattern !== undefined) checkExclusive(o as Record<string, unknown>);
  if (o.positions !== undefined && o.align !== undefined) throw positionsSay('align');
  const copyInputs = o.copyInputs === undefined ? 'small' : checkCopyInputs(o.copyInputs);
  const settings: Settings = {
    isHeadsFirst: o.layout !== undefined && checkOneOf('layout', o.layout, layouts) === 'bhnd',
    mergedHeads: readMergedHeads(o),
    pattern: readPattern(o),
    positions: o.positions === undefined ? undefined : readPositions(o.positions),
    rotary: o.rotary === undefined ? undefined : readRotaryOptions(o.rotary),
    ...readSimilarity(o),
    softcap: o.softcap === undefined ? 0 : checkSoftcap(o.softcap),
    activation: readActivation(o),
    alibiSlopes: o.alibiSlopes === undefined ? undefined : readFloats('alibiSlopes', o.alibiSlopes),
    sinks: o.sinks === undefined ? undefined : readFloats('sinks', o.sinks),
    scoreFactor: o.scoreFactor === undefined ? undefined : readTensor('scoreFactor', o.scoreFactor, floatTypes),
    bias: o.bias === undefined ? undefined : readTensor('bias', o.bias, floatTypes),
    isBiasOfKvHeads: readBiasHeads(o),
    mask: o.mask === undefined ? undefined : readMask('mask', o.mask),
    keyMask: o.keyMask === undefined ? undefined : readMask('keyMask', o.keyMask),
    extraKeys: o.extraKeys === undefined ? undefined : readTensor('extraKeys', o.extraKeys, floatTypes),
    extraValues: o.extraValues === undefined ? undefined : readTensor('extraValues', o.extraValues, floatTypes),
    relativeBias: o.relativeBias === undefined ? undefined : readFloats('relativeBias', o.relativeBias),
    gate: o.gate === undefined ? undefined : readTensor('gate', o.gate, floatTypes),
    cuSeqlensQ: o.cuSeqlensQ === undefined ? undefined : readIntegerList('cuSeqlensQ', o.cuSeqlensQ),
    cuSeqlensK: o.cuSeqlensK === undefined ? undefined : readIntegerList('cuSeqlensK', o.cuSeqlensK),
    keyLengths: o.keyLengths === undefined ? undefined : readIntegerList('keyLengths', o.keyLengths),
    keyStarts: o.keyStarts === undefined ? undefined : readIntegerList('keyStarts', o.keyStarts),
    pages: o.pages === undefined ? undefined : readPages(o.pages),
    pageLists: o.pageLists === undefined ? undefined : readPageLists(o.pageLists),
    pairing: o.pairing === undefined ? undefined : checkOneOf('pairing', o.pairing, pairings),
    returnLse: o.returnLse !== undefined && checkBoolean('returnLse', o.returnLse),
    out: o.out === undefined ? undefined : readTensor('out', o.out, floatTypes),
    Tensor: o.Tensor === undefined ? undefined : checkConstructor('Tensor', o.Tensor),
    signal: o.signal === undefined ? undefined : checkSignal('signal', o.signal),
    device: o.device === undefined ? 'auto' : checkDevice('device', o.device),
    copyInputs: mayCopy && copyInputs,
  };
  checkTogether(settings);
  return settings;
}

function readPattern(o: AttentionOptions<unknown>): Pattern {
  if (o.pattern !== undefined) return checkPattern(o.pattern);
  const isOpen = [o.causal, o.recentTokens, o.window, o.sinkTokens, o.align].every((one) => one === undefined);
  return isOpen ? full() : windowPattern(o);
}

function checkSoftcap(value: unknown): number {
  if (!is.finite(value) || value < 0 || (value > 0 && Math.fround(value) === 0)) {
    throw invalid('softcap', 'a finite number above 0, or 0 for no cap', value);
  }
  return value;
}

export function checkConstructor(name: string, value: unknown): TensorConstructor<object> {
  if (!is.constructible(value)) throw invalid(name, 'a class that takes (type, data, dims)', value);
  return value as TensorConstructor<object>;
}

export function checkCopyInputs(value: unknown): CopyInputs {
  if (value === 'small' || is.boolean(value)) return value;
  throw invalid('copyInputs', "'small', true or false", value);
}

export function checkSignal(name: string, value: unknown): AbortSignal {
  if (!is.signal(value)) throw invalid(name, 'an AbortSignal', value);
  return value;
}
