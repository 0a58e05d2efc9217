// Expectations about errors: class, stable code, and words that the message must have.

import { expect } from 'vitest';
import type { ErrorCode } from '../../dist/index.js';

interface Expected {
  code: ErrorCode;
  type?: typeof TypeError | typeof RangeError;
  /** Each must occur in the message: the argument's name, its value, its shape. */
  says?: readonly string[];
}

export function expectError(error: unknown, { code, type, says = [] }: Expected): void {
  expect(error, `nothing was thrown, expected ${code}`).toBeInstanceOf(type ?? Error);
  const { message } = error as Error;
  expect((error as { code?: string }).code, message).toBe(code);
  for (const words of says) expect(message).toContain(words);
}

/** What a function throws, undefined when it returns. */
export function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** Runs both forms of a call: the synchronous one must throw, the asynchronous one must return a promise that rejects. */
export async function expectBoth(
  sync: () => unknown,
  async: () => Promise<unknown>,
  expected: Expected,
): Promise<void> {
  expectError(thrownBy(sync), expected);
  const promise = async();
  expect(promise).toBeInstanceOf(Promise);
  expectError(
    await promise.then(
      () => undefined,
      (error) => error,
    ),
    expected,
  );
}
