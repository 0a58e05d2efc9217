// The vocabulary of random cases, over fast-check: shares, sizes and places. Every value has a simplest form, to which a
// failing case shrinks. Reader: someone who adds an option to a sweep.
// A number that depends on others is drawn as a place from 0 to 1 in a range that is known later: no draw waits for another.

import fc from 'fast-check';

/** The rare value in a share of the cases, else the usual one, which is the simpler. */
export function either<T, U>(share: number, rare: fc.Arbitrary<T>, usual: fc.Arbitrary<U>): fc.Arbitrary<T | U> {
  const weight = Math.round(1000 * share);
  return fc.oneof({ withCrossShrink: true }, { arbitrary: usual, weight: 1000 - weight }, { arbitrary: rare, weight });
}

/** A value in a share of the cases, else nothing. */
export const sometimes = <T>(share: number, value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  either(share, value, fc.constant(undefined));

/** An option that is there or not. */
export const yes: fc.Arbitrary<true> = fc.constant(true);

/** True in a share of the cases. */
export const chance = (share: number): fc.Arbitrary<boolean> => either(share, yes, fc.constant(false));

/** A place from 0 to 1, 1 excluded. */
export const places: fc.Arbitrary<number> = fc.nat(4095).map((n) => n / 4096);

/** The whole number at a place of [low, high], both included. */
export const within = (place: number, low: number, high: number): number => low + Math.floor(place * (high - low + 1));

/** The size at a place of [low, high], low >= 1: small ones are as frequent as large ones. */
export const sizeWithin = (place: number, low: number, high: number): number =>
  Math.min(high, Math.floor(low * ((high + 1) / low) ** place));

/** Sizes in [low, high], low >= 1: small ones are as frequent as large ones. */
export const sizes = (low: number, high: number): fc.Arbitrary<number> =>
  places.map((place) => sizeWithin(place, low, high));

/** Whole numbers in [low, high], both included; the one nearest to 0 is the simplest. */
export const integers = (low: number, high: number): fc.Arbitrary<number> => fc.integer({ min: low, max: high });

/** Seeds of data, all equally simple. */
export const seeds: fc.Arbitrary<number> = fc.noShrink(integers(1, 2 ** 31 - 1));

/** The values of an arbitrary. */
export type Of<A> = A extends fc.Arbitrary<infer T> ? T : never;

/** The entries of a record that have a value. */
export function defined<T extends object>(record: T): T {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as T;
}
