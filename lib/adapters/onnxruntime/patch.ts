// patch(): every session that onnxruntime creates from then on goes through fuse(), also those of libraries that use it.
// Reader: someone whose library creates the sessions. `InferenceSession.create` is replaced, and nothing else. A model that has
// nothing to swap, or that fuse() cannot read, gets the session that onnxruntime would have made, of the same arguments.

import { show, TilewiseTypeError } from '../../check/errors.js';
import { is } from '../../check/validate.js';
import type { Site } from '../onnx/sites/site.js';
import { checkFuseOptions, type FuseOptions, openPrepared, prepare, without } from './fuse.js';
import type { Ort } from './ort.js';
import { isSegment } from './segments/segment-memory.js';

/** A session that was created while a patch was in force. */
export interface PatchedSession {
  /** The path that it was created from; undefined: a model in memory. */
  readonly source: string | undefined;
  /** Whether attention() runs some of its attention. */
  readonly isFused: boolean;
  /** Every attention of the model; none where the model could not be read. */
  readonly attention: readonly Site[];
  /** Why it is a session of onnxruntime's own. */
  readonly reason?: string;
}

/** What patch() returns: `using patched = patch(ort)`. */
export class Patch {
  readonly #sessions: PatchedSession[] = [];
  readonly #restore: (patch: Patch) => void;

  /** @internal */
  constructor(restore: (patch: Patch) => void) {
    this.#restore = restore;
  }

  /** The sessions that were created under this patch, in the order in which they were ready. */
  get sessions(): readonly PatchedSession[] {
    return [...this.#sessions];
  }

  /**
   * Ends the patch; a second time does nothing. Sessions that were created under it go on as they are. Other patches of the same
   * `ort` stay in force, whatever the order; with the last one `InferenceSession.create` is onnxruntime's own again.
   */
  restore(): void {
    this.#restore(this);
  }

  [Symbol.dispose](): void {
    this.restore();
  }

  /** @internal */
  add(session: PatchedSession): void {
    this.#sessions.push(session);
  }
}

type Create = (...args: unknown[]) => Promise<unknown>;

/** A patch in force. */
interface Entry {
  readonly patch: Patch;
  readonly ort: Ort;
  readonly options: FuseOptions;
}

/** A create() that was put in the place of another one, and those for whom it looks. */
interface Watch {
  readonly entries: Entry[];
  readonly end: (patch: Patch) => void;
}

const watches = new WeakMap<Create, Watch>();

/**
 * Makes every session that `ort.InferenceSession.create` makes from now on go through fuse(): of a path, of bytes and of an
 * ArrayBuffer. Options of `create` come on top of `sessionOptions`. Of several patches the newest in force counts.
 * @param ort the module that creates the sessions: a library may have a copy of its own
 * @param options those of fuse()
 * @throws {TypeError} ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_UNKNOWN_OPTION
 */
export function patch(ort: Ort, options: FuseOptions = {}): Patch {
  checkFuseOptions('patch()', options);
  const isOrt = is.object(ort) && is.constructible(ort.Tensor) && typeof ort.InferenceSession?.create === 'function';
  if (!isOrt) {
    const message = `\`ort\` must be the module of onnxruntime, with Tensor and InferenceSession, not ${show(ort)}`;
    throw new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);
  }
  const watch = watches.get(ort.InferenceSession.create as Create) ?? install(ort.InferenceSession);
  const made = new Patch(watch.end);
  watch.entries.push({ patch: made, ort, options: { ...options } });
  return made;
}

/** Puts a create() in the place of the one that is there. */
function install(target: Ort['InferenceSession']): Watch {
  const before = Object.getOwnPropertyDescriptor(target, 'create');
  const original = target.create.bind(target) as Create;
  const entries: Entry[] = [];
  const create: Create = async (...args) => {
    const entry = entries.at(-1);
    const call = entry && !isSegment(args[0]) ? readCall(args) : undefined;
    return entry && call ? createFor(entry, call, original, args) : original(...args);
  };
  const end = (patch: Patch) => {
    const at = entries.findIndex((entry) => entry.patch === patch);
    if (at < 0) return;
    entries.splice(at, 1);
    // Someone who has replaced this one calls it still: it then does what the original does.
    if (entries.length > 0 || target.create !== create) return;
    if (before) Object.defineProperty(target, 'create', before);
    else Reflect.deleteProperty(target, 'create');
  };
  if (!Reflect.set(target, 'create', create)) {
    const message = '`ort` does not let its InferenceSession.create be replaced';
    throw new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);
  }
  const watch = { entries, end };
  watches.set(create, watch);
  return watch;
}

/** What create() was called with. */
interface Call {
  readonly source: string | Uint8Array;
  readonly sessionOptions: object;
}

/** Reads the arguments as onnxruntime does: (source, options), and of a buffer also its offset and length; undefined for others. */
function readCall([source, ...rest]: readonly unknown[]): Call | undefined {
  const isBuffer = source instanceof ArrayBuffer || source instanceof SharedArrayBuffer;
  const isWhole = !isBuffer || !is.number(rest[0]);
  const given = isWhole ? rest[0] : is.number(rest[1]) ? rest[2] : rest[1];
  const sessionOptions = given === undefined ? {} : given;
  if (!is.object(sessionOptions)) return undefined;
  if (typeof source === 'string' || source instanceof Uint8Array) return { source, sessionOptions };
  if (!isBuffer) return undefined;
  const offset = isWhole ? 0 : (rest[0] as number);
  const length = !isWhole && is.number(rest[1]) ? rest[1] : source.byteLength - offset;
  const isInside = is.integer(offset, 0, source.byteLength) && is.integer(length, 1, source.byteLength - offset);
  return isInside ? { source: new Uint8Array(source, offset, length), sessionOptions } : undefined;
}

/** Creates a fused session, or the one that was asked for. What fuse() throws is the reason, never the outcome. */
async function createFor(entry: Entry, call: Call, original: Create, args: readonly unknown[]): Promise<unknown> {
  const { patch, ort, options } = entry;
  const source = typeof call.source === 'string' ? call.source : undefined;
  const unpatched = { InferenceSession: { create: original as never }, Tensor: ort.Tensor };
  const sessionOptions = { ...options.sessionOptions, ...call.sessionOptions };
  let attention: readonly Site[] = [];
  let failure: string | undefined;
  try {
    checkFuseOptions('patch()', { ...options, sessionOptions });
    const prepared = prepare(call.source, { ...options, sessionOptions });
    attention = prepared.sites;
    if (attention.some(isSwapped)) {
      const session = await openPrepared(unpatched, prepared);
      attention = session.attention;
      if (attention.some(isSwapped)) {
        patch.add({ source, isFused: true, attention });
        return session;
      }
      await session.release();
    }
  } catch (error) {
    failure = (error as Error).message;
    attention = attention.map((site) => (isSwapped(site) ? without(site, failure!) : site));
  }
  const session = await original(...args);
  patch.add({ source, isFused: false, attention, reason: failure ?? reasonOf(attention) });
  return session;
}

const isSwapped = ({ swap }: Site): boolean => swap !== undefined;

const reasonOf = (attention: readonly Site[]): string =>
  attention.length === 0
    ? 'the model has no attention'
    : [...new Set(attention.map(({ reason }) => reason))].join('; ');
