// Errors: what a caller can catch, and the one place where their codes are listed.
// Reader: someone handling errors, or adding a check. TypeError for the wrong kind of value, RangeError for a right kind
// with a wrong size or value; both carry `code`, as Node's own errors do.

/** Stable codes: switch on these, never on messages. */
export type ErrorCode =
  /** An option name that does not exist. */
  | 'ERR_TILEWISE_UNKNOWN_OPTION'
  /** An option with a wrong value, or options that exclude each other. */
  | 'ERR_TILEWISE_INVALID_OPTION'
  /** Not a tensor: wrong kind of object, data, dims or strides, or a buffer that cannot be used. */
  | 'ERR_TILEWISE_INVALID_TENSOR'
  /** Dimensions that do not fit together. */
  | 'ERR_TILEWISE_SHAPE_MISMATCH'
  /** Element types that do not fit together or are not supported. */
  | 'ERR_TILEWISE_DTYPE'
  /** A tensor whose dims and strides reach outside its data. */
  | 'ERR_TILEWISE_OUT_OF_BOUNDS'
  /** An `out` that shares memory with an input, with itself, or with the `out` of a call still in flight. */
  | 'ERR_TILEWISE_OVERLAP'
  /** A file, or its bytes, that is not what its format asks for; the message has the place. */
  | 'ERR_TILEWISE_INVALID_FILE'
  /** A valid problem that the device cannot run; `reasons` lists every reason. */
  | 'ERR_TILEWISE_UNSUPPORTED'
  /** A device that this machine or this build does not have. */
  | 'ERR_TILEWISE_NO_DEVICE'
  /** A GPU that is there and a driver that cannot run this version's kernels; the message names both versions. */
  | 'ERR_TILEWISE_DRIVER_TOO_OLD'
  /** A GPU for whose architecture no kernels were built, or kernel files that are missing. */
  | 'ERR_TILEWISE_NO_KERNEL'
  /** Memory that the device, or the process, does not have. */
  | 'ERR_TILEWISE_OUT_OF_MEMORY'
  /** A pool without pages for more tokens; the error says who `held` them. */
  | 'ERR_TILEWISE_OUT_OF_PAGES'
  /** A device that stopped working; what lay in its memory is gone. */
  | 'ERR_TILEWISE_DEVICE_LOST'
  /** Another failure that the CUDA driver reports; the message has its name. */
  | 'ERR_TILEWISE_CUDA'
  /** Another failure inside a backend. */
  | 'ERR_TILEWISE_FAILED'
  /** Tensors on different devices, or on another than the one that was asked for. */
  | 'ERR_TILEWISE_WRONG_DEVICE'
  /** A device tensor after dispose(), a session after release(). */
  | 'ERR_TILEWISE_DISPOSED'
  /** No native binary: none for this platform, left behind by a bundler, or not permitted; the message has the cure. */
  | 'ERR_TILEWISE_NO_BINARY';

/** Everything that goes wrong without an argument being wrong. */
export class TilewiseError extends Error {
  override name = 'TilewiseError';
  readonly code: ErrorCode;
  /** With `ERR_TILEWISE_UNSUPPORTED`: every reason why the device cannot run the problem. */
  declare readonly reasons?: readonly string[];

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; reasons?: readonly string[] }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    if (options?.reasons) this.reasons = options.reasons;
  }
}

/** An argument of the wrong kind. */
export class TilewiseTypeError extends TypeError {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** An argument of the right kind with a wrong value or size. */
export class TilewiseRangeError extends RangeError {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** What a call of native code threw, as a caller should see it: backends' failures carry a code and are no argument's fault. */
export function asTilewise(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof TypeError || error instanceof RangeError) return error;
  const { code } = error as { code?: unknown };
  const isOurs = typeof code === 'string' && code.startsWith('ERR_TILEWISE_');
  return isOurs ? new TilewiseError(code as ErrorCode, error.message) : error;
}

/** Allocates memory of the process. */
export function allocating<T>(make: () => T): T {
  try {
    return make();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    const message = `The process has no memory left for this call: ${cause.message}`;
    throw new TilewiseError('ERR_TILEWISE_OUT_OF_MEMORY', message, { cause });
  }
}

/** Calls native code. */
export function calling<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw asTilewise(error);
  }
}

/** The error for a problem that a device cannot run. */
export function unsupported(device: string, reasons: readonly string[]): TilewiseError {
  return new TilewiseError(
    'ERR_TILEWISE_UNSUPPORTED',
    `The ${device} backend cannot run this problem: ${reasons.join('; ')}`,
    { reasons },
  );
}

/** A value as it appears in messages: short, on one line, never throwing. */
export function show(value: unknown): string {
  try {
    return shown(value, 4);
  } catch {
    // A proxy or a getter of the caller's that throws.
    return typeof value === 'function' ? 'a function' : 'an object';
  }
}

/** @param depth how many levels of arrays are shown: they may hold themselves */
function shown(value: unknown, depth: number): string {
  if (typeof value === 'string') return value.length > 40 ? `'${value.slice(0, 37)}...'` : `'${value}'`;
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return value.name ? `function ${String(value.name)}` : 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  const name = value.constructor?.name;
  if (ArrayBuffer.isView(value)) {
    return name ? `${name}(${(value as Uint8Array).length ?? value.byteLength})` : 'a typed array';
  }
  if (Array.isArray(value)) {
    if (depth === 0) return '[...]';
    const items = value.slice(0, 8).map((item) => shown(item, depth - 1));
    return value.length > 8 ? `[${items.join(', ')}, ... ${value.length - 8} more]` : `[${items.join(', ')}]`;
  }
  if (name && name !== 'Object') return `a ${name}`;
  const keys = Object.keys(value);
  return keys.length ? `{ ${keys.slice(0, 6).join(', ')}${keys.length > 6 ? ', ...' : ''} }` : '{}';
}

/** A shape as it appears in messages. */
export const showDims = (dims: ArrayLike<number>): string => `[${Array.from(dims).join(', ')}]`;
