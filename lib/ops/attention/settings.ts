// Settings: the options of attention() once each has been read, and what they say together: which leave no room for which.
// Reader: someone who adds an option. Values have been checked one by one in options.ts; shapes are compared in problem.ts.

import { type MergedHeads, unmergeable } from '../../call/heads.js';
import type { CopyInputs } from '../../call/request.js';
import { TilewiseTypeError } from '../../check/errors.js';
import { checkOneOf } from '../../check/validate.js';
import type { Pattern } from '../../patterns/index.js';
import type { Positions } from '../../patterns/positions.js';
import type { PageListSettings } from '../../stores/page-lists.js';
import type { PageSettings } from '../../stores/pages.js';
import type { DeviceName } from '../../tensor/devices.js';
import type { Named } from '../../tensor/leases.js';
import type { TensorConstructor } from '../../tensor/types.js';
import type { View } from '../../tensor/views.js';
import type { RotaryOptions } from '../rotary/frequencies.js';
import { type ActivationSettings, checkActivation } from './activation.js';
import { checkSimilarity } from './similarity.js';

/** Options after the checks that need no shapes. */
export interface Settings {
  readonly isHeadsFirst: boolean;
  /** Set: the last axis of operands is heads * dim. */
  readonly mergedHeads: MergedHeads | undefined;
  readonly pattern: Pattern;
  readonly positions: Positions | undefined;
  readonly rotary: RotaryOptions | undefined;
  readonly isCosine: boolean;
  readonly scale: number | undefined;
  /** 0: none. */
  readonly softcap: number;
  /** Undefined: softmax. */
  readonly activation: ActivationSettings | undefined;
  readonly alibiSlopes: View | undefined;
  readonly sinks: View | undefined;
  readonly scoreFactor: View | undefined;
  readonly bias: View | undefined;
  /** Its heads are KV heads. */
  readonly isBiasOfKvHeads: boolean;
  readonly mask: View | undefined;
  readonly keyMask: View | undefined;
  readonly extraKeys: View | undefined;
  readonly extraValues: View | undefined;
  readonly relativeBias: View | undefined;
  readonly gate: View | undefined;
  readonly cuSeqlensQ: Int32Array | undefined;
  readonly cuSeqlensK: Int32Array | undefined;
  readonly keyLengths: Int32Array | undefined;
  readonly keyStarts: Int32Array | undefined;
  readonly pages: PageSettings | undefined;
  readonly pageLists: PageListSettings | undefined;
  readonly pairing: 'tile' | 'interleave' | undefined;
  readonly returnLse: boolean;
  readonly out: View | undefined;
  readonly Tensor: TensorConstructor<object> | undefined;
  readonly signal: AbortSignal | undefined;
  readonly device: DeviceName;
  readonly copyInputs: CopyInputs;
}

/** The tensors among the options. */
export function operandsOf(settings: Settings): Named[] {
  const operands: Named[] = [];
  const put = (name: string, view: View | undefined) => {
    if (view) operands.push({ name, view });
  };
  put('alibiSlopes', settings.alibiSlopes);
  put('sinks', settings.sinks);
  put('scoreFactor', settings.scoreFactor);
  put('bias', settings.bias);
  put('mask', settings.mask);
  put('keyMask', settings.keyMask);
  put('extraKeys', settings.extraKeys);
  put('extraValues', settings.extraValues);
  put('relativeBias', settings.relativeBias);
  put('gate', settings.gate);
  put('out', settings.out);
  return operands;
}

/** What options say together. */
export function checkTogether(settings: Settings): void {
  checkPatternTakes(settings);
  checkSimilarity(settings.isCosine, settings);
  if (settings.positions) checkPositions(settings);
  checkMergedHeads(settings);
  checkActivation(settings.activation, settings);
  checkPair(settings, 'extraKeys', 'extraValues', 'a key needs a value');
  checkPages(settings);
  if (!settings.pages) checkPair(settings, 'cuSeqlensQ', 'cuSeqlensK', 'packed sequences have queries and keys');
  if (settings.cuSeqlensQ === undefined) return;
  const ofRows = ['bias', 'mask', 'keyStarts'] as const;
  for (const name of settings.pages ? ofRows : ([...ofRows, 'keyMask', 'keyLengths'] as const)) {
    if (settings[name] !== undefined) {
      throw conflict(`\`${name}\` does not apply to packed sequences; leave it out or do without \`cuSeqlensQ\``);
    }
  }
}

/** The error for an option that says where tokens are, next to `positions`. */
export const positionsSay = (name: string): Error =>
  conflict(`\`positions\` already says where queries and keys are; leave out \`${name}\``);

/** Positions are of the tokens of batch entries, and patterns that count something else cannot take them. */
export function checkPositions(settings: Pick<Settings, 'pattern'> & { [name in keyof Settings]?: unknown }): void {
  const { pattern } = settings;
  if (pattern.kind !== 'window' && pattern.kind !== 'power') {
    throw conflict(
      `\`positions\` goes with a window or power(), not with a pattern of kind '${pattern.kind}', which does not count them`,
    );
  }
  if (pattern.align !== 'bottom-right') throw positionsSay('align');
  const taken = (['cuSeqlensQ', 'cuSeqlensK', 'keyStarts', 'pages'] as const).find(
    (name) => settings[name] !== undefined,
  );
  if (taken) throw conflict(`\`${taken}\` does not go with \`positions\`, which are of rows of tokens; leave it out`);
}

function checkPages({ pages, keyLengths, keyStarts, cuSeqlensK, pageLists, rotary }: Settings): void {
  if (!pages) {
    if (pageLists) throw conflict('`pageLists` needs `pages` next to it: lists name pages');
    return;
  }
  if (!keyLengths) throw conflict('`pages` needs `keyLengths` next to it: pages are read as far as the lengths say');
  if (pageLists && keyStarts)
    throw conflict('`keyStarts` does not go with `pageLists`: leave out pages of padding there');
  if (rotary) {
    throw conflict(
      '`rotary` does not go with `pages`: turn keys when they come, with rotate(), or use a KvCache with `rotary`',
    );
  }
  if (!cuSeqlensK) return;
  throw conflict('`cuSeqlensK` does not go with `pages`: `keyLengths` says how many keys a sequence has');
}

const headsOfBias = ['query', 'kv'] as const;

/** Whether the heads of `bias` are KV heads. */
export function readBiasHeads({ bias, biasHeads }: { bias?: unknown; biasHeads?: unknown }): boolean {
  if (biasHeads === undefined) return false;
  const isOfKvHeads = checkOneOf('biasHeads', biasHeads, headsOfBias) === 'kv';
  if (bias === undefined) throw conflict('`biasHeads` says whose heads `bias` has; leave it out');
  return isOfKvHeads;
}

/** Heads and dim are one axis only where tensors are rows of tokens. */
function checkMergedHeads({ mergedHeads, isHeadsFirst, pattern }: Settings): void {
  if (!mergedHeads) return;
  const isGrid = pattern.kind === 'neighborhood';
  const other = isHeadsFirst ? "`layout` 'bhnd'" : isGrid ? 'a neighborhood' : undefined;
  if (other) throw unmergeable('queryHeads', other);
}

function checkPair(settings: Settings, one: keyof Settings, other: keyof Settings, why: string): void {
  if ((settings[one] === undefined) === (settings[other] === undefined)) return;
  const [given, absent] = settings[one] === undefined ? [other, one] : [one, other];
  throw conflict(`\`${given}\` needs \`${absent}\` next to it: ${why}`);
}

const ofBatchEntries = [
  'its queries and keys are those of a batch entry',
  'cuSeqlensQ',
  'cuSeqlensK',
  'pageLists',
] as const;

/** Options that a pattern leaves no room for, and why. */
const refused: { readonly [kind in Pattern['kind']]: readonly [why: string, ...names: (keyof Settings)[]] } = {
  window: [''],
  neighborhood: [
    'a grid has no sequences and no one position',
    'cuSeqlensQ',
    'cuSeqlensK',
    'keyLengths',
    'keyStarts',
    'alibiSlopes',
    'rotary',
    'pages',
  ],
  stridedShards: ['lists go with windows', 'pageLists'],
  blocks: ['it has lists of its own, for keys that are not packed', 'cuSeqlensK', 'pageLists'],
  ranges: ['it says which keys each query of a batch entry sees', 'cuSeqlensQ', 'cuSeqlensK', 'pageLists'],
  sampledBlocks: ['it has lists of its own, for keys that are not packed', 'cuSeqlensK', 'pageLists'],
  documents: ofBatchEntries,
  slices: ofBatchEntries,
  power: ['blocks are counted from key 0 of a batch entry', 'cuSeqlensQ', 'cuSeqlensK', 'keyStarts', 'pageLists'],
  hierarchical: ['it selects keys itself, from the first on', 'keyStarts', 'cuSeqlensK', 'pageLists'],
};

function checkPatternTakes(settings: Settings): void {
  const { kind } = settings.pattern;
  if (settings.relativeBias !== undefined && kind !== 'neighborhood') {
    throw conflict(`\`relativeBias\` goes with a neighborhood, not with a pattern of kind '${kind}'`);
  }
  checkTaken(kind, settings);
}

/** Refuses what a pattern of this kind does not take. */
export function checkTaken(kind: Pattern['kind'], options: { readonly [name in keyof Settings]?: unknown }): void {
  const [why, ...names] = refused[kind];
  const given = names.find((name) => options[name] !== undefined);
  if (given) throw conflict(`\`${given}\` does not go with a pattern of kind '${kind}': ${why}; leave it out`);
}

const conflict = (message: string): Error => new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);
