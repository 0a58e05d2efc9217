// The last token of a site that keeps its keys and values, for tokens like it: what is left to do is to pass memory, to count, and
// to give presents.
// Reader: someone who asks what a token of a short text costs. What a step is depends on types, dims and masks alone.

import type { RepeatedStep } from '../../../caches/kv-again.js';
import type { AttentionOptions } from '../../../ops/attention/options.js';
import type { TensorData } from '../../../tensor/views.js';
import type { SiteCache } from '../../onnx/sites/site.js';
import { formsOf, isLike, type TensorForm } from '../kept-call.js';
import type { MaskOptions, RunMasks } from '../masks/masks.js';
import { headsFirst, type Rows } from '../operands.js';
import type { Ort, OrtTensor } from '../ort.js';
import type { SwappedSite } from '../segments/cut.js';
import type { RunMemory, TensorKind } from '../segments/run-memory.js';
import { Line, type LineForm, pastOf } from './lines.js';
import { presentsOf } from './site-presents.js';
import { placesOf, type RowView, tablesOf, turned, turnRows } from './turn.js';

type ValueOf = (name: string) => OrtTensor;

/** A token that was appended and attended from. */
interface Token {
  readonly line: Line;
  readonly form: LineForm;
  readonly rows: readonly [q: Rows, k: Rows, v: Rows];
  readonly said: AttentionOptions<unknown>;
  readonly hiding: MaskOptions;
  readonly output: { readonly kind: TensorKind; readonly tensor: OrtTensor };
}

export class KeptStep {
  readonly #step: RepeatedStep;
  readonly #forms: readonly TensorForm[];
  readonly #token: Omit<Token, 'line' | 'rows' | 'said'>;
  /** Queries and keys before they are turned. */
  readonly #views: readonly RowView[] | undefined;
  /** Memory of those that are turned. */
  readonly #turned: readonly [q: Float32Array, k: Float32Array] | undefined;

  private constructor(step: RepeatedStep, site: SwappedSite, tensorOf: ValueOf, token: Token) {
    const { form, hiding, output, rows } = token;
    this.#step = step;
    const given = givenTo(site, tensorOf);
    this.#forms = formsOf(given);
    this.#token = { form, hiding, output };
    if (!site.swap.cache?.rotary) return;
    const { swap, queryHeads, kvHeads, node } = site;
    const views = [headsFirst(given[0], swap.q, queryHeads!, node), headsFirst(given[1], swap.k, kvHeads!, node)];
    this.#views = views.map(({ data, ...view }) => view);
    const isFloats = rows[0].type === 'float32' && rows[1].type === 'float32';
    this.#turned = isFloats
      ? [new Float32Array(rows[0].data.length), new Float32Array(rows[1].data.length)]
      : undefined;
  }

  /** undefined for a token after which the next one is another call. */
  static of(site: SwappedSite, tensorOf: ValueOf, token: Token): KeptStep | undefined {
    const { line, rows, said, hiding, output } = token;
    if (site.swap.cache?.past === undefined || typeof site.swap.sinks === 'object' || isOfTokens(hiding))
      return undefined;
    const given = givenTo(site, tensorOf);
    const isTurned = site.swap.cache.rotary !== undefined;
    const whole = rows.map(({ data }, i) => (isTurned && i < 2 ? data : given[i].data));
    const step = line.cache.repeatedStep(0, rows, said, memoryOf(...whole, output.tensor.data));
    return step && new KeptStep(step, site, tensorOf, token);
  }

  /** The output and the presents for other tensors; undefined where the step is another one for them. */
  again(
    ort: Ort,
    site: SwappedSite,
    cache: SiteCache,
    tensorOf: ValueOf,
    masks: RunMasks,
    memory: RunMemory,
  ): [name: string, tensor: OrtTensor][] | undefined {
    const { form, output } = this.#token;
    const given = givenTo(site, tensorOf);
    if (!given.every((tensor, i) => isLike(tensor, this.#forms[i]))) return undefined;
    const line = Line.at(form, pastOf(cache, tensorOf)!);
    const counts = line && countsAfter(cache, line.lengths, tensorOf);
    if (!counts || !this.#isHidden(site, counts, tensorOf, masks)) return undefined;
    const [q, k] = this.#rowsOf(site.node, cache, given, line.lengths, tensorOf);
    const out = memory.take(output.kind);
    if (line.step(this.#step, memoryOf(q, k, given[2].data, out.data))) {
      return [[site.swap.out.value, out], ...presentsOf(ort, cache, line, form, counts.tokens)];
    }
    memory.give(out);
    return undefined;
  }

  /** Whether masks hide what they hid. */
  #isHidden(site: SwappedSite, { keys, total }: NextCounts, tensorOf: ValueOf, masks: RunMasks): boolean {
    const { form, hiding } = this.#token;
    const { masks: names, causal } = site.swap;
    if (names.length === 0) return true;
    const given = names.map((mask) => [mask, tensorOf(mask.value)] as const);
    const sizes = { batch: form.batch, heads: site.queryHeads!, queries: 1, keys, past: keys - 1, total };
    const now = masks.optionsOf(given, sizes, causal, site.pattern);
    return !masks.blindOf(now) && isEqual(now, hiding);
  }

  /** Memory of queries and keys. */
  #rowsOf(
    node: string,
    { rotary }: SiteCache,
    [q, k]: readonly OrtTensor[],
    past: readonly number[],
    tensorOf: ValueOf,
  ): readonly [q: unknown, k: unknown] {
    const views = this.#views;
    if (!rotary || !views) return [q.data, k.data];
    const into = this.#turned;
    if (!into) {
      const turn = ({ data }: OrtTensor, i: number): unknown =>
        turned({ ...views[i], data: data as Rows['data'] }, rotary, past, tensorOf, node).data;
      return [turn(q, 0), turn(k, 1)];
    }
    // One token of each sequence: the places of queries are those of keys.
    const tables = tablesOf(rotary, tensorOf);
    const places = placesOf(views[0], tables, rotary, past, tensorOf, node);
    turnRows(q.data as Float32Array, views[0], tables, places, into[0]);
    turnRows(k.data as Float32Array, views[1], tables, places, into[1]);
    return into;
  }
}

const givenTo = ({ swap }: SwappedSite, tensorOf: ValueOf): OrtTensor[] => [
  tensorOf(swap.q.value),
  tensorOf(swap.k.value),
  tensorOf(swap.v.value),
];

const memoryOf = (...data: unknown[]) =>
  data as unknown as readonly [q: TensorData, k: TensorData, v: TensorData, out: TensorData];

/** Whether options say something of single tokens. */
const isOfTokens = (hiding: MaskOptions): boolean => Object.values(hiding).some((value) => typeof value === 'object');

/** Whether options that say nothing of single tokens are the same. */
function isEqual(a: MaskOptions, b: MaskOptions): boolean {
  if (a === b) return true;
  const names = Object.keys(a) as (keyof MaskOptions)[];
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

/** Tokens when each sequence has one more. */
interface NextCounts {
  readonly keys: number;
  /** Keys that a mask has numbers of. */
  readonly total: number;
  /** Tokens that a present has room for. */
  readonly tokens: number;
}

/** @param lengths tokens of each sequence, which the run must go on from; undefined: it goes on from others */
function countsAfter(
  { past, counts }: SiteCache,
  lengths: readonly number[],
  tensorOf: ValueOf,
): NextCounts | undefined {
  const room = tensorOf(past!.k.value).dims[past!.k.order![2]];
  if (!counts) {
    const tokens = room + 1;
    return lengths.every((length) => length === room) ? { keys: tokens, total: tokens, tokens } : undefined;
  }
  const places = tensorOf(counts.lastPlaces).data as Int32Array;
  const total = Number((tensorOf(counts.total).data as Int32Array)[0]);
  const keys = Math.max(...lengths) + 1;
  // As long as all tokens together is a prompt.
  const isNext = places.length === lengths.length && total >= keys && total > 1 && room >= keys - 1;
  if (!isNext || lengths.some((length, entry) => places[entry] !== length)) return undefined;
  return { keys, total, tokens: Math.max(total, room) };
}
