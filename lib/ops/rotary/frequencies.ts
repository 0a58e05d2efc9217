// Frequencies of rotary embedding: how fast each pair of dims turns, and the rules that stretch a model's context.
// Reader: someone who ports `rope_theta` and `rope_scaling` of a model's config. RoPE (arXiv 2104.09864), linear
// interpolation (arXiv 2306.15595), YaRN, which also has the NTK rules (arXiv 2309.00071), Llama 3.1's config.

import { TilewiseRangeError } from '../../check/errors.js';
import { checkBoolean, checkInteger, checkNames, checkOneOf, invalid, is, namesOf } from '../../check/validate.js';

/** What the rules that stretch a context are told; positions are those of the longer context. */
export interface RotaryScalings {
  /** Positions divided by `factor`. */
  linear: { factor: number };
  /** `theta` raised so that the slowest pair turns `factor` times slower. */
  ntk: { factor: number };
  /** The same by the length of the text, `tokens`, once it is beyond the model's own, `original`. */
  dynamicNtk: { factor: number; original: number; tokens: number };
  /**
   * Pairs that turn less than `betaSlow` times (default 1) in `original` tokens are slowed down by `factor`, those that turn
   * more than `betaFast` times (default 32) are not, with a ramp between; turned numbers are multiplied by `attentionFactor`,
   * default 0.1 ln(factor) + 1.
   */
  yarn: { factor: number; original: number; betaFast?: number; betaSlow?: number; attentionFactor?: number };
  /** Likewise, with a ramp between `lowFreqFactor` (default 1) and `highFreqFactor` (default 4) turns. */
  llama3: { factor: number; original: number; lowFreqFactor?: number; highFreqFactor?: number };
}

/** How a model's context is stretched: a rule's name as `kind`, and what the rule is told. */
export type RotaryScaling = {
  [kind in keyof RotaryScalings]: { kind: kind } & RotaryScalings[kind];
}[keyof RotaryScalings];

/** Which dims are turned and how fast. */
export interface RotaryOptions {
  /** Base of the frequencies: pair `i` turns by theta^(-2 i / dims) a position; default 10000. */
  theta?: number;
  /** Leading dims that are turned, an even number; default all. The others stay as they are. */
  dims?: number;
  /** Pairs are dims (2 i, 2 i + 1), as in GPT-J; default (i, i + dims / 2), as in NeoX and Llama. */
  interleaved?: boolean;
  /** How the model's context is stretched. */
  scaling?: RotaryScaling;
}

/** Pairs of a head's dims, and how fast they turn. */
export interface Frequencies {
  /** Per pair: the angle of a position. */
  readonly frequencies: Float64Array;
  /** What turned numbers are multiplied by. */
  readonly attentionFactor: number;
}

type Rule<Told> = (base: Base, told: Told) => Frequencies;

/** Frequencies without scaling. */
interface Base {
  readonly theta: number;
  readonly dims: number;
  readonly frequencies: Float64Array;
}

interface Kind<Told> {
  readonly names: ReadonlySet<string>;
  readonly rule: Rule<Told>;
}

const defaultTheta = 10_000;

const frequenciesOf = (theta: number, dims: number): Float64Array =>
  Float64Array.from({ length: dims / 2 }, (_, i) => theta ** ((-2 * i) / dims));

const raised = ({ theta, dims }: Base, by: number): Frequencies => ({
  frequencies: frequenciesOf(theta * by ** (dims / (dims - 2)), dims),
  attentionFactor: 1,
});

const clamp = (x: number): number => Math.min(Math.max(x, 0), 1);

/** `share(i)` of pair `i`'s frequency stays, the rest is divided by `factor`. */
const mixed = ({ frequencies }: Base, factor: number, share: (frequency: number, i: number) => number): Float64Array =>
  frequencies.map((f, i) => f * share(f, i) + (f / factor) * (1 - share(f, i)));

const kinds: { readonly [kind in keyof RotaryScalings]: Kind<RotaryScalings[kind]> } = {
  linear: {
    names: namesOf<RotaryScalings['linear'] & { kind: string }>({ kind: 1, factor: 1 }),
    rule: ({ frequencies }, { factor }) => ({ frequencies: frequencies.map((f) => f / factor), attentionFactor: 1 }),
  },
  ntk: {
    names: namesOf<RotaryScalings['ntk'] & { kind: string }>({ kind: 1, factor: 1 }),
    rule: (base, { factor }) => raised(base, factor),
  },
  dynamicNtk: {
    names: namesOf<RotaryScalings['dynamicNtk'] & { kind: string }>({ kind: 1, factor: 1, original: 1, tokens: 1 }),
    rule: (base, { factor, original, tokens }) => raised(base, 1 + factor * Math.max(0, tokens / original - 1)),
  },
  yarn: {
    names: namesOf<RotaryScalings['yarn'] & { kind: string }>({
      kind: 1,
      factor: 1,
      original: 1,
      betaFast: 1,
      betaSlow: 1,
      attentionFactor: 1,
    }),
    rule: (base, { factor, original, betaFast = 32, betaSlow = 1, attentionFactor = yarnFactor(factor) }) => {
      if (betaSlow > betaFast) throw disordered('betaSlow', betaSlow, 'betaFast', betaFast);
      const { theta, dims } = base;
      /** The pair that turns so many times in the model's own context. */
      const pairOf = (turns: number) => (dims * Math.log(original / (2 * Math.PI * turns))) / (2 * Math.log(theta));
      const first = Math.max(Math.floor(pairOf(betaFast)), 0);
      const last = Math.min(Math.ceil(pairOf(betaSlow)), dims - 1);
      // Where both are one pair the ramp is a step.
      const share = (_: number, i: number) => 1 - clamp((i - first) / Math.max(last - first, 0.001));
      return { frequencies: mixed(base, factor, share), attentionFactor };
    },
  },
  llama3: {
    names: namesOf<RotaryScalings['llama3'] & { kind: string }>({
      kind: 1,
      factor: 1,
      original: 1,
      lowFreqFactor: 1,
      highFreqFactor: 1,
    }),
    rule: (base, { factor, original, lowFreqFactor: low = 1, highFreqFactor: high = 4 }) => {
      if (low >= high) throw disordered('lowFreqFactor', low, 'highFreqFactor', high);
      const share = (f: number) => clamp(((original * f) / (2 * Math.PI) - low) / (high - low));
      return { frequencies: mixed(base, factor, share), attentionFactor: 1 };
    },
  },
};
const kindNames = Object.keys(kinds) as (keyof RotaryScalings)[];

const yarnFactor = (factor: number): number => (factor > 1 ? 0.1 * Math.log(factor) + 1 : 1);

const names = namesOf<RotaryOptions>({ theta: 1, dims: 1, interleaved: 1, scaling: 1 });

/** Reads the option `rotary` of a call or a cache, but for what depends on the dims of a head. */
export function readRotaryOptions(value: unknown): RotaryOptions {
  checkNames('`rotary`', value, names);
  const rotary = value as RotaryOptions;
  if (rotary.interleaved !== undefined) checkBoolean('rotary.interleaved', rotary.interleaved);
  return { ...rotary };
}

/** Reads `theta`, `dims` and `scaling` for heads of so many dims: the one place that knows the rules. */
export function readFrequencies({ theta = defaultTheta, dims, scaling }: RotaryOptions, headDim: number): Frequencies {
  const turned = readDims(dims, headDim);
  if (!is.number(theta) || !Number.isFinite(theta) || theta <= 1)
    throw invalid('theta', 'a finite number above 1', theta);
  const base = { theta, dims: turned, frequencies: frequenciesOf(theta, turned) };
  return scaling === undefined ? { frequencies: base.frequencies, attentionFactor: 1 } : scaled(base, scaling);
}

/** Reads how many of a head's dims are turned. */
export function readDims(dims: unknown, headDim: number): number {
  const turned = dims === undefined ? headDim : checkInteger('dims', dims, 2, headDim);
  if (turned % 2 === 0) return turned;
  throw new TilewiseRangeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `\`dims\` must be an even number, not ${turned}: dims are turned in pairs`,
  );
}

function scaled(base: Base, scaling: RotaryScaling): Frequencies {
  if (!is.object(scaling)) throw invalid('scaling', "an object { kind: 'linear', factor } or of another kind", scaling);
  const { names, rule } = kinds[checkOneOf('scaling.kind', scaling.kind, kindNames)];
  const where = `\`scaling\` of kind '${scaling.kind}'`;
  checkNames(where, scaling, names);
  const told: Record<string, number> = {};
  for (const name of names) {
    const value = (scaling as unknown as Record<string, unknown>)[name];
    if (name === 'kind' || (value === undefined && !required.has(name))) continue;
    if (!is.number(value) || !Number.isFinite(value) || value <= 0) {
      throw invalid(`scaling.${name}`, 'a finite number above 0', value);
    }
    told[name] = value;
  }
  return (rule as Rule<unknown>)(base, told);
}
const required: ReadonlySet<string> = new Set(['factor', 'original', 'tokens']);

const disordered = (low: string, lowValue: number, high: string, highValue: number): Error =>
  new TilewiseRangeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `\`scaling.${low}\` ${lowValue} must be below \`scaling.${high}\` ${highValue}`,
  );
