// A site that keeps its keys and values: new tokens are added to a line, queries see all of it, presents show it.
// Reader: someone who follows a token of a decoder. A prompt's attention reads what onnxruntime left; later tokens read the line.

import { mismatch } from '../../../call/shape.js';
import { attention, attentionSync } from '../../../ops/attention/attention.js';
import type { AttentionOptions } from '../../../ops/attention/options.js';
import type { DeviceName } from '../../../tensor/devices.js';
import { Tensor } from '../../../tensor/tensor.js';
import type { TensorLike } from '../../../tensor/types.js';
import type { Operand, SiteCache } from '../../onnx/sites/site.js';
import { atOnce } from '../attend.js';
import { fillBlind } from '../masks/blind.js';
import type { MaskOptions, RunMasks } from '../masks/masks.js';
import { headsFirst, outputOf, type Rows } from '../operands.js';
import type { Ort, OrtTensor } from '../ort.js';
import type { SwappedSite } from '../segments/cut.js';
import type { RunMemory } from '../segments/run-memory.js';
import { countsOf, type TokenCounts } from './cache-counts.js';
import { KeptStep } from './kept-step.js';
import { Line, type LineForm, pastOf } from './lines.js';
import { presentsOf } from './site-presents.js';
import { turned } from './turn.js';

type ValueOf = (name: string) => OrtTensor;

/** Runs a site on the values of a run; returns its output and presents, and the step for tokens that follow one by one. */
export async function attendCached(
  ort: Ort,
  site: SwappedSite,
  cache: SiteCache,
  tensorOf: ValueOf,
  masks: RunMasks,
  device: DeviceName | undefined,
  memory: RunMemory,
): Promise<{ values: [name: string, tensor: OrtTensor][]; kept: KeptStep | undefined }> {
  const { swap, node } = site;
  const [queryHeads, kvHeads] = [site.queryHeads!, site.kvHeads!];
  const view = (operand: Operand, heads: number) => headsFirst(tensorOf(operand.value), operand, heads, node);
  const [givenQ, givenK, v] = [view(swap.q, queryHeads), view(swap.k, kvHeads), view(swap.v, kvHeads)];
  const counts = countsOf(node, cache, givenQ, givenK, tensorOf);
  const turn = (x: Rows) => (cache.rotary ? turned(x, cache.rotary, counts.past, tensorOf, node) : x);
  const [q, k] = [turn(givenQ), turn(givenK)];
  const [batch, heads, queries, headDim] = q.dims;
  const valueDim = v.dims[3];
  const { out, tensor, kind } = outputOf(swap.out, q.type, [batch, heads, queries, valueDim], memory);
  const sizes = { batch, heads, queries, keys: counts.keys, past: counts.keys - queries, total: counts.total };
  const hiding = masks.optionsOf(masksOf(site, tensorOf), sizes, swap.causal, site.pattern);
  const said = optionsOf(site, hiding, tensorOf, out);
  const form: LineForm = {
    batch,
    kvHeads,
    headDim,
    valueDim,
    type: v.type,
    device: device === undefined || device === 'auto' ? 'cpu' : device,
  };
  const line = Line.goOn(form, pastOf(cache, tensorOf), counts.past);
  try {
    // Padding behind a shorter prompt is kept as well: presents show it.
    line.append(k, v, Array(batch).fill(k.dims[2]));
    const isSmall = 2 * batch * heads * queries * counts.keys * (headDim + valueDim) <= atOnce;
    if (counts.keys === queries) {
      await attendPrompt([q, k, v], device ? { ...said, device } : said, counts, isSmall);
    } else {
      await attendLine(line, q, said, counts.keys, isSmall);
    }
    const blind = masks.blindOf(hiding);
    if (blind) fillBlind(out, counts.keys === queries ? v : line.cache.values(0), blind);
    return {
      values: [[swap.out.value, tensor], ...presentsOf(ort, cache, line, form, counts.tokens)],
      kept:
        queries === 1 && counts.keys > 1 && isSmall && !blind
          ? KeptStep.of(site, tensorOf, { line, form, rows: [q, k, v], said, hiding, output: { kind, tensor } })
          : undefined,
    };
  } finally {
    line.release();
  }
}

/** Tokens without a past: nothing has to be read back from pages. */
async function attendPrompt(
  [q, k, v]: readonly Rows[],
  said: AttentionOptions<unknown>,
  { fresh, keys }: TokenCounts,
  isSmall: boolean,
): Promise<void> {
  const isRagged = fresh.some((count) => count < keys);
  const options = {
    ...said,
    layout: 'bhnd' as const,
    // Sequences that are shorter end in padding: their queries are in front.
    ...((said.causal || said.window) && { align: 'top-left' as const }),
    ...(isRagged && { keyLengths: Int32Array.from(fresh) }),
  };
  if (isSmall) attentionSync(q, k, v, options);
  else await attention(q, k, v, options);
}

/** The last tokens of a line, which says itself where its keys end. */
async function attendLine(
  { cache }: Line,
  q: Rows,
  given: AttentionOptions<unknown>,
  keys: number,
  isSmall: boolean,
): Promise<void> {
  const options = given.align || given.keyStarts || given.keyLengths ? behindPast(given, keys) : given;
  if (isSmall) cache.attentionSync(0, q, options);
  else await cache.attention(0, q, options);
}

/** Options without those that a cache says itself: where queries are among keys, and where keys end. */
function behindPast(
  { align, keyStarts, keyLengths, ...said }: AttentionOptions<unknown>,
  keys: number,
): AttentionOptions<unknown> {
  if (keyLengths) throw mismatch('A mask hides the last keys of a cache, which are those of the queries');
  return keyStarts ? { ...said, keyMask: shownFrom(keyStarts as Int32Array, keys) } : said;
}

/** A mask [batch, keys] that hides the keys in front of each sequence's start. */
function shownFrom(starts: Int32Array, keys: number): TensorLike {
  const shown = new Uint8Array(starts.length * keys);
  for (const [entry, start] of starts.entries()) shown.fill(1, entry * keys + start, (entry + 1) * keys);
  return { type: 'bool', data: shown, dims: [starts.length, keys] };
}

const masksOf = ({ swap }: SwappedSite, tensorOf: ValueOf) =>
  swap.masks.map((mask) => [mask, tensorOf(mask.value)] as const);

/** What sites say of every call, whatever their masks are. */
const settled = new WeakMap<SwappedSite, AttentionOptions<unknown>>();

function settledOf(site: SwappedSite): AttentionOptions<unknown> {
  const known = settled.get(site);
  if (known) return known;
  const { causal, window, scale, softcap } = site.swap;
  const said = {
    causal,
    ...(window !== undefined && { window: { left: window - 1, right: 0 } }),
    ...(scale !== undefined && { scale }),
    ...(softcap !== 0 && { softcap }),
  };
  settled.set(site, said);
  return said;
}

/** What a site says of a call. */
function optionsOf(site: SwappedSite, masked: MaskOptions, tensorOf: ValueOf, out: TensorLike) {
  const { sinks } = site.swap;
  const said: AttentionOptions<unknown> = { ...settledOf(site), ...masked, out };
  if (sinks !== undefined) said.sinks = sinksOf(sinks, site.queryHeads!, tensorOf);
  if (!masked.pattern) return said;
  // A pattern is in the place of causal order, and of the window that is a part of it.
  const { causal, window, ...rest } = said;
  return rest;
}

const sinksOf = (sinks: { readonly value: string } | 'zero', heads: number, tensorOf: ValueOf): TensorLike =>
  sinks === 'zero'
    ? { type: 'float32', data: new Float32Array(heads), dims: [heads] }
    : Tensor.from(tensorOf(sinks.value) as TensorLike).astype('float32');
