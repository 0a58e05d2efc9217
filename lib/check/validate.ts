// Validation: the vocabulary in which options are checked, and the one form of sentence for a wrong value.
// Reader: someone adding an option. Idea: sharp's `is` helpers; one sentence that names the argument, what would be
// accepted, and what came.

import { show, TilewiseRangeError, TilewiseTypeError } from './errors.js';
import { hintFor } from './names-elsewhere.js';

/** Token counts and offsets stay within this, so that index arithmetic fits 32 bits in native code. */
export const maxTokens = 2 ** 29;

export const is = {
  boolean: (value: unknown): value is boolean => typeof value === 'boolean',
  number: (value: unknown): value is number => typeof value === 'number',
  /** A whole number from `least` to `most`. */
  integer: (value: unknown, least: number, most: number): value is number =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most,
  /** A number that is finite in float32, the type the native code receives. */
  finite: (value: unknown): value is number => is.number(value) && Number.isFinite(Math.fround(value)),
  object: (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null,
  /** An object as a literal makes it, of any realm: its names and values are all there is to it. */
  plain: (value: unknown): value is Record<string, unknown> => {
    const parent: unknown = is.object(value) ? Object.getPrototypeOf(value) : undefined;
    return parent === null || (is.object(parent) && Object.getPrototypeOf(parent) === null);
  },
  constructible: (value: unknown): value is new (...args: never[]) => object =>
    typeof value === 'function' && value.prototype !== undefined,
  signal: (value: unknown): value is AbortSignal =>
    is.object(value) &&
    is.boolean(value.aborted) &&
    ['addEventListener', 'removeEventListener', 'throwIfAborted'].every((name) => typeof value[name] === 'function'),
};

/** The error for a wrong option value: RangeError for a number that is out of range, TypeError for everything else. */
export function invalid(name: string, expected: string, value: unknown): Error {
  const message = `\`${name}\` must be ${expected}, not ${show(value)}`;
  return is.number(value) && expected.includes('number')
    ? new TilewiseRangeError('ERR_TILEWISE_INVALID_OPTION', message)
    : new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);
}

/** The names of an options type, which the compiler holds to be all of them and no others. */
export const namesOf = <T>(names: { readonly [name in keyof T]-?: 1 }): ReadonlySet<string> =>
  new Set(Object.keys(names));

/** Refuses anything that is not an object of options, and names that are not options of `where`. */
export function checkNames(where: string, options: unknown, known: ReadonlySet<string>): void {
  // A Map or a Set has entries where an object of options has names: none of them would be read.
  if (!is.object(options) || Symbol.iterator in options || ArrayBuffer.isView(options)) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `The options of ${where} must be an object, not ${show(options)}`,
    );
  }
  for (const name in options) {
    if (known.has(name)) continue;
    const hint = hintFor(name, known);
    const near = nearest(name, known);
    const rest = hint ? `: ${hint}` : near ? `, did you mean \`${near}\`?` : `; it has ${[...known].join(', ')}`;
    throw new TilewiseTypeError('ERR_TILEWISE_UNKNOWN_OPTION', `${where} has no option \`${name}\`${rest}`);
  }
}

/** What `read` makes of every element, up to the first it refuses. map() would skip holes, which nobody would then refuse. */
export function readEach<T>(list: ArrayLike<unknown>, read: (element: unknown, index: number) => T): T[] {
  const result: T[] = [];
  for (let i = 0; i < list.length; ++i) result.push(read(list[i], i));
  return result;
}

export function checkBoolean(name: string, value: unknown): boolean {
  if (!is.boolean(value)) throw invalid(name, 'true or false', value);
  return value;
}

export function checkInteger(name: string, value: unknown, least: number, most: number): number {
  if (!is.integer(value, least, most)) throw invalid(name, `a whole number from ${least} to ${most}`, value);
  return value;
}

export function checkOneOf<T extends string>(name: string, value: unknown, accepted: readonly T[]): T {
  if (!accepted.includes(value as T)) throw invalid(name, accepted.map((word) => `'${word}'`).join(' or '), value);
  return value as T;
}

/** The known name most like a misspelled one, or undefined when none is close. */
function nearest(name: string, known: Iterable<string>): string | undefined {
  const plain = (word: string) => word.toLowerCase().replace(/[^a-z]/g, '');
  const wanted = plain(name);
  let best: string | undefined;
  let least = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of known) {
    const word = plain(candidate);
    const contained = wanted.length > 3 && word.length > 3 && (wanted.includes(word) || word.includes(wanted));
    const distance = contained ? 1 : editDistance(wanted, word);
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; ++i) {
    const next = [i];
    for (let j = 1; j <= b.length; ++j) {
      next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}
