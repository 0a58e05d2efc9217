// Made patterns: those that a constructor here has checked and frozen, so that no call has to check them again.
// Reader: someone who asks how often an option is checked. Values that others built are checked in every call.

const all = new WeakSet<object>();

/** Freezes a pattern that has been checked, and remembers it. */
export function made<P extends object>(pattern: P): Readonly<P> {
  all.add(Object.freeze(pattern));
  return pattern;
}

export const isMade = (value: object): boolean => all.has(value);
