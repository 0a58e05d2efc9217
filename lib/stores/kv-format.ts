// The `format` of a cache: which tokens are kept as codes, of how many bits, and how each option is checked.
// Reader: someone who chooses a format. Ideas: KIVI (arXiv 2402.02750) for keys per channel and values per token, SAQ's staircase for
// tiers, DuoAttention (arXiv 2410.10819) for 'duo4'.

import { show, TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { checkInteger, checkNames, checkOneOf, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import { type CodeBits, checkBits, mostTiers, type TierForms } from './codes.js';

/** Tokens of one age, and how many bits their codes have. */
export interface KvTier {
  /** 8, 4 or 2, fewer than those of newer tokens. */
  bits: 8 | 4 | 2;
  /** Tokens of the tier, whole `residual`s; Infinity for the last tier, which takes the rest. */
  tokens: number;
}

/** Keys per channel in groups of tokens, values per token in groups of channels; the newest tokens are exact. */
export interface KvGroupFormat {
  /** Bits of keys: 8, 4 or 2. Not with `tiers`. */
  keyBits?: 8 | 4 | 2;
  /** Bits of values: 8, 4 or 2; default `keyBits`. */
  valueBits?: 8 | 4 | 2;
  /** Tiers of codes, newest first, in place of `keyBits` and `valueBits`. */
  tiers?: readonly KvTier[];
  /** Numbers that share a scale and a minimum; divides `residual` and valueDim. Default: the largest of 64, 32, … that does. */
  group?: number;
  /** Newest tokens that are exact, at most: keys become codes so many at a time, values one by one (all at once with `tiers`). */
  residual?: number;
}

/**
 * `'int8'`, `'int4'`, `'int2'`: groups of so many bits. `'int8-token'`: 8 bits, one scale per token and head, no exact tokens.
 * `'duo4'`: 4 bits, a scale and a minimum per token and head, no exact tokens.
 */
export type KvFormat = 'int8' | 'int4' | 'int2' | 'int8-token' | 'duo4' | KvGroupFormat;

/** A format as caches follow it. */
export interface FormatSettings {
  /** Of the tiers, newest first. */
  readonly tiers: readonly TierForms[];
  /** Blocks of each tier, the last Infinity. */
  readonly tierBlocks: readonly number[];
  readonly blockTokens: number;
  /** Newest tokens that may be exact; 0: every token has codes at once. */
  readonly residual: number;
  /** Whether values become codes one by one. */
  readonly valuesSlide: boolean;
  readonly isSymmetric: boolean;
}

const names = namesOf<KvGroupFormat>({ keyBits: 1, valueBits: 1, tiers: 1, group: 1, residual: 1 });
const tierNames = namesOf<KvTier>({ bits: 1, tokens: 1 });
const shortForms = { int8: 8, int4: 4, int2: 2 } as const;
const words = ['int8', 'int4', 'int2', 'int8-token', 'duo4'] as const;

/** Tokens of a block where every token has codes at once, and exact tokens where nobody says how many. */
const usualTokens = 128;
const groups = [64, 32, 16, 8, 4, 2, 1] as const;

interface Dims {
  readonly headDim: number;
  readonly valueDim: number;
}

export function readFormat(value: unknown, dims: Dims): FormatSettings | undefined {
  if (value === undefined) return undefined;
  if (!is.object(value)) return readWord(checkOneOf('format', value as (typeof words)[number], words), dims);
  checkNames('`format`', value, names);
  return readGroups(value as KvGroupFormat, dims);
}

function readWord(word: (typeof words)[number], dims: Dims): FormatSettings {
  if (word !== 'int8-token' && word !== 'duo4') return readGroups({ keyBits: shortForms[word] }, dims);
  const bits = word === 'duo4' ? 4 : 8;
  const of = (dim: number) => ({ axis: 'token', bits, dim, group: dim, tokens: usualTokens }) as const;
  return {
    tiers: [{ keys: of(dims.headDim), values: of(dims.valueDim) }],
    tierBlocks: [Number.POSITIVE_INFINITY],
    blockTokens: usualTokens,
    residual: 0,
    valuesSlide: false,
    isSymmetric: word === 'int8-token',
  };
}

function readGroups(o: KvGroupFormat, { headDim, valueDim }: Dims): FormatSettings {
  const residual = o.residual === undefined ? usualTokens : checkInteger('residual', o.residual, 1, maxTokens);
  const group =
    o.group === undefined
      ? (groups.find((size) => residual % size === 0 && valueDim % size === 0) as number)
      : checkInteger('group', o.group, 1, maxTokens);
  if (valueDim % group !== 0) throw wrong(`\`group\` must divide valueDim, ${valueDim}, not ${group}`);
  if (residual % group !== 0) throw wrong(`\`residual\` must be whole groups of ${group}, not ${residual}`);
  const formsOf = (keyBits: CodeBits, valueBits: CodeBits): TierForms => ({
    keys: { axis: 'channel', bits: keyBits, dim: headDim, group, tokens: residual },
    values: { axis: 'token', bits: valueBits, dim: valueDim, group, tokens: residual },
  });
  const rest = { blockTokens: residual, residual, isSymmetric: false };
  if (o.tiers === undefined) {
    const keyBits = checkBits('keyBits', o.keyBits);
    const valueBits = o.valueBits === undefined ? keyBits : checkBits('valueBits', o.valueBits);
    const tiers = [formsOf(keyBits, valueBits)];
    return { ...rest, tiers, tierBlocks: [Number.POSITIVE_INFINITY], valuesSlide: true };
  }
  const beside = o.keyBits !== undefined ? 'keyBits' : o.valueBits !== undefined ? 'valueBits' : undefined;
  if (beside) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${beside}\` does not go with \`tiers\`, which say how many bits codes have; leave it out`,
    );
  }
  const tiers = readTiers(o.tiers, residual);
  return {
    ...rest,
    tiers: tiers.map(({ bits }) => formsOf(bits, bits)),
    tierBlocks: tiers.map(({ tokens }) => tokens / residual),
    valuesSlide: false,
  };
}

function readTiers(value: unknown, residual: number): readonly KvTier[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > mostTiers) {
    throw invalid('tiers', `an array of 1 to ${mostTiers} tiers, newest first`, value);
  }
  for (const [i, tier] of (value as readonly KvTier[]).entries()) {
    const name = `tiers[${i}]`;
    checkNames(`\`${name}\``, tier, tierNames);
    const bits = checkBits(`bits\` of \`${name}`, tier.bits);
    if (i > 0 && bits >= value[i - 1].bits) {
      throw wrong(`\`tiers\` must have fewer bits from one to the next, not ${value[i - 1].bits} and then ${bits}`);
    }
    const isLast = i === value.length - 1;
    const isRight = isLast ? tier.tokens === Number.POSITIVE_INFINITY : is.integer(tier.tokens, 1, maxTokens);
    if (!isRight && isLast) {
      throw wrong(`\`tiers\` must end in one of Infinity tokens, which takes the rest, not of ${show(tier.tokens)}`);
    }
    if (!isRight || (!isLast && tier.tokens % residual !== 0)) {
      throw wrong(
        `\`tokens\` of \`${name}\` must be whole residuals of ${residual}, and Infinity for the last tier alone, not ${show(tier.tokens)}`,
      );
    }
  }
  return value;
}

const wrong = (message: string): Error => new TilewiseRangeError('ERR_TILEWISE_INVALID_OPTION', message);
