// patch(): what is caught, what is passed on, and what is there again afterwards. Reader: someone who changes patch.ts.
// The module of onnxruntime is made up, and says what it was called with; test/clients has the real one.

import { describe, expect, expectTypeOf, it } from 'vitest';
import { makeModel, makeNode, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { fuse, type PatchedSession, patch } from '../../dist/adapters/onnxruntime/index.js';

class Tensor {
  readonly location = 'cpu';
  constructor(
    readonly type: string,
    readonly data: Float32Array,
    readonly dims: readonly number[],
  ) {}
}

/** A module whose sessions are the arguments that they were created with. */
function madeUp() {
  const created: unknown[][] = [];
  class InferenceSession {
    readonly outputMetadata = [];
    static async create(...args: unknown[]) {
      created.push(args);
      return new InferenceSession();
    }
    async run() {
      return {};
    }
    async release() {}
  }
  return { created, ort: { Tensor, InferenceSession } as never as Parameters<typeof patch>[0] };
}

const values = ['q', 'k', 'v'].map((name) => makeValueInfo(name, 'float32', [1, 2, 'tokens', 8]));
const modelOf = (...nodes: Parameters<typeof makeNode>[]) =>
  makeModel({
    ...{ opset: 23, inputs: values, outputs: [makeValueInfo('y', 'float32')] },
    nodes: nodes.map((node) => makeNode(...node)),
  }).bytes;
// Attention alone needs no session of onnxruntime.
const attention = modelOf(['Attention', ['q', 'k', 'v'], ['y']]);
const unswappable = modelOf(['Attention', ['q', 'k', 'v'], ['y'], { later: 1 }]);
const none = modelOf(['Neg', ['q'], ['y']]);

const create = (ort: ReturnType<typeof madeUp>['ort'], ...args: unknown[]) =>
  (ort.InferenceSession.create as (...args: unknown[]) => Promise<object>)(...args);
const isFused = (session: object) => 'attention' in session;

/** The bytes somewhere in longer memory. */
function inside(bytes: Uint8Array, memory: ArrayBuffer | SharedArrayBuffer, offset: number) {
  new Uint8Array(memory).set(bytes, offset);
  return memory;
}

describe('patch', () => {
  it('catches bytes and buffers, and says what they were', async () => {
    const { ort, created } = madeUp();
    using patched = patch(ort);
    const { length } = attention;
    const shared = inside(attention, new SharedArrayBuffer(length), 0);
    for (const args of [
      [attention],
      [attention, {}],
      [inside(attention, new ArrayBuffer(length), 0)],
      [inside(attention, new ArrayBuffer(length + 8), 8), 8],
      [inside(attention, new ArrayBuffer(length + 24), 8), 8, length],
      [shared, 0, length, {}],
    ]) {
      expect(isFused(await create(ort, ...args))).toBe(true);
    }
    expect(created).toEqual([]);
    expectTypeOf(patched.sessions).toEqualTypeOf<readonly PatchedSession[]>();
    expect(patched.sessions).toHaveLength(6);
    const [{ source, isFused: says, attention: sites, reason }] = patched.sessions;
    expect([source, says, reason]).toEqual([undefined, true, undefined]);
    expect(sites.map(({ kind, headDim }) => [kind, headDim])).toEqual([['Attention', 8]]);
  });

  it('passes everything else on as it came, with the reason', async () => {
    const { ort, created } = madeUp();
    using patched = patch(ort, { only: ({ kind }) => kind !== 'Attention' });
    const long = inside(none, new ArrayBuffer(none.length + 4), 4);
    const calls = [
      [none, { a: 1 }],
      [long, 4, none.length],
      [unswappable],
      [attention],
      [new Uint8Array(3)],
      ['no.onnx'],
    ];
    for (const args of calls) expect(isFused(await create(ort, ...args))).toBe(false);
    expect(created).toEqual(calls);
    expect(patched.sessions.map(({ source, reason }) => [source, reason])).toEqual([
      [undefined, 'the model has no attention'],
      [undefined, 'the model has no attention'],
      [undefined, expect.stringMatching(/later/)],
      [undefined, 'left out by `only`'],
      [undefined, expect.stringMatching(/^ModelProto is not readable/)],
      ['no.onnx', expect.stringMatching(/ENOENT/)],
    ]);
    expect(patched.sessions.map(({ attention: sites }) => sites.length)).toEqual([0, 0, 1, 1, 0, 0]);
  });

  it('leaves it to onnxruntime to refuse arguments', async () => {
    const { ort, created } = madeUp();
    using patched = patch(ort);
    const { buffer } = Uint8Array.from(attention);
    const calls = [
      [],
      [5],
      [attention, 5],
      [attention, null],
      [buffer, 1.5],
      [buffer, -1],
      [buffer, 0, 0],
      [buffer, 1e9],
    ];
    for (const args of calls) await create(ort, ...args);
    expect(created).toEqual(calls);
    expect(patched.sessions).toEqual([]);
  });

  it('leaves a model whole that onnxruntime is to write in one file', async () => {
    const { ort, created } = madeUp();
    using patched = patch(ort);
    const args = [attention, { optimizedModelFilePath: 'optimized.onnx' }];
    expect(isFused(await create(ort, ...args))).toBe(false);
    expect(created).toEqual([args]);
    expect(patched.sessions[0].reason).toContain('sessionOptions.optimizedModelFilePath');
    const code = 'ERR_TILEWISE_INVALID_OPTION';
    expect(() => patch(ort, { sessionOptions: args[1] })).toThrow(expect.objectContaining({ code }));
  });

  it('leaves a model whole that onnxruntime refuses in pieces', async () => {
    const { ort, created } = madeUp();
    const whole = modelOf(['Neg', ['q'], ['p']], ['Attention', ['p', 'k', 'v'], ['y']]);
    const { create: own } = ort.InferenceSession;
    ort.InferenceSession.create = async (...args: [never]) => {
      if (args[0] !== whole) throw new Error('no pieces');
      return own(...args);
    };
    using patched = patch(ort);
    await create(ort, whole);
    expect(created).toEqual([[whole]]);
    const [{ isFused: says, reason, attention: sites }] = patched.sessions;
    expect([says, reason]).toEqual([false, 'no pieces']);
    expect(sites.map(({ swap, reason: why }) => [swap, why])).toEqual([[undefined, 'no pieces']]);
  });

  it('does not list a session that onnxruntime cannot make', async () => {
    const { ort } = madeUp();
    ort.InferenceSession.create = () => Promise.reject(new Error('broken'));
    using patched = patch(ort);
    await expect(create(ort, none)).rejects.toThrow('broken');
    expect(patched.sessions).toEqual([]);
  });

  it('adds the options of a call to its own', async () => {
    const { ort, created } = madeUp();
    using _ = patch(ort, { sessionOptions: { a: 1, b: 1 } });
    await create(ort, modelOf(['Neg', ['q'], ['p']], ['Attention', ['p', 'k', 'v'], ['y']]), { b: 2, c: 2 });
    const extra = { session: { intra_op: { allow_spinning: '0' } } };
    expect(created.map(([, options]) => options)).toMatchObject([{ a: 1, b: 2, c: 2, extra }]);
  });

  it("does not look into the pieces of fuse()'s own sessions", async () => {
    const { ort, created } = madeUp();
    using patched = patch(ort);
    const session = await fuse(ort, attention, { only: () => false });
    expect(session.attention[0].reason).toBe('left out by `only`');
    expect(created).toHaveLength(1);
    expect(patched.sessions).toEqual([]);
  });
});

describe('restore', () => {
  it("puts onnxruntime's own create back, once, and leaves sessions as they are", async () => {
    const { ort } = madeUp();
    const before = Object.getOwnPropertyDescriptor(ort.InferenceSession, 'create');
    const patched = patch(ort);
    const session = await create(ort, attention);
    patched.restore();
    expect(Object.getOwnPropertyDescriptor(ort.InferenceSession, 'create')).toEqual(before);
    expect(isFused(await create(ort, attention))).toBe(false);
    const again = patch(ort);
    patched.restore();
    expect(isFused(await create(ort, attention))).toBe(true);
    again.restore();
    expect(patched.sessions).toHaveLength(1);
    const q = new Tensor('float32', new Float32Array(16), [1, 2, 1, 8]);
    const { run } = session as Awaited<ReturnType<typeof fuse>>;
    expect((await run.call(session, { q, k: q, v: q })).y.dims).toEqual([1, 2, 1, 8]);
  });

  it('ends patches in any order; the newest that is left counts', async () => {
    const { ort } = madeUp();
    const { create: own } = ort.InferenceSession;
    const [first, second, third] = [patch(ort), patch(ort, { only: () => false }), patch(ort)];
    const counts = async () => {
      await create(ort, attention);
      return [first, second, third].map(({ sessions }) => sessions.map(({ isFused: says }) => says));
    };
    expect(await counts()).toEqual([[], [], [true]]);
    first.restore();
    expect(await counts()).toEqual([[], [], [true, true]]);
    third.restore();
    expect(await counts()).toEqual([[], [false], [true, true]]);
    second.restore();
    expect(ort.InferenceSession.create).toBe(own);
  });

  it('takes nothing away from others who replaced create meanwhile', async () => {
    const { ort, created } = madeUp();
    const patched = patch(ort);
    const { create: ours } = ort.InferenceSession;
    let theirs = 0;
    const wrapped = (...args: [never]) => {
      ++theirs;
      return ours.call(ort.InferenceSession, ...args);
    };
    ort.InferenceSession.create = wrapped;
    expect(isFused(await create(ort, attention))).toBe(true);
    patched.restore();
    expect(ort.InferenceSession.create).toBe(wrapped);
    expect(isFused(await create(ort, attention))).toBe(false);
    expect([theirs, created.length]).toEqual([2, 1]);
  });

  it('takes an inherited create back to where it was', () => {
    const { ort } = madeUp();
    const heir = { Tensor: ort.Tensor, InferenceSession: Object.create(ort.InferenceSession) };
    patch(heir).restore();
    expect(Object.hasOwn(heir.InferenceSession, 'create')).toBe(false);
  });
});

describe('arguments', () => {
  const refuses = (call: () => unknown, code: string, words: RegExp) => {
    expect(call).toThrow(expect.objectContaining({ name: 'TypeError', code, message: expect.stringMatching(words) }));
  };

  it('are refused at once, and nothing is patched', () => {
    const { ort } = madeUp();
    const { create: own } = ort.InferenceSession;
    const code = 'ERR_TILEWISE_INVALID_OPTION';
    for (const wrong of [
      undefined,
      5,
      {},
      { InferenceSession: ort.InferenceSession },
      { Tensor, InferenceSession: {} },
    ]) {
      refuses(() => patch(wrong as never), code, /`ort` must be the module of onnxruntime/);
    }
    refuses(() => patch(ort, { spinning: 1 as never }), code, /`spinning`/);
    refuses(() => patch(ort, { device: 'gpu' as never }), code, /`device`/);
    refuses(
      () => patch(ort, { thread: 1 } as never),
      'ERR_TILEWISE_UNKNOWN_OPTION',
      /patch\(\) has no option `thread`/,
    );
    const frozen = { Tensor, InferenceSession: Object.freeze({ create: own }) };
    refuses(() => patch(frozen as never), code, /does not let its InferenceSession.create be replaced/);
    expect(ort.InferenceSession.create).toBe(own);
  });
});
