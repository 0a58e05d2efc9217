// The session: what an InferenceSession has and does, runs in flight, what is left to onnxruntime, weights outside the model.
// Reader: someone who changes session.ts or fuse.ts.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import ort from 'onnxruntime-node';
import { fuse } from 'tilewise/onnxruntime';
import { caseOf, differenceOf, pathOf, quiet } from './fixtures.mjs';

const bert = 'bert-eager-script17.onnx';
const { feeds, y } = caseOf(bert);
const options = { sessionOptions: quiet };
const isRight = (out) => assert.ok(differenceOf(out.data, y) <= 1e-4, `${differenceOf(out.data, y)}`);

/** A session that is released when the test is over. */
async function open(t, ...args) {
  const session = await fuse(ort, ...args);
  t.after(() => session.release());
  return session;
}

const refuses = (promise, code, words) =>
  assert.rejects(promise, (error) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, words);
    return true;
  });

describe('a session', () => {
  it('has the names and metadata of an InferenceSession', async (t) => {
    const whole = await ort.InferenceSession.create(pathOf(bert), quiet);
    const session = await open(t, pathOf(bert), options);
    for (const name of ['inputNames', 'outputNames', 'inputMetadata']) assert.deepEqual(session[name], whole[name]);
    assert.deepEqual(
      session.outputMetadata.map(({ name, isTensor, type }) => [name, isTensor, type]),
      whole.outputMetadata.map(({ name, isTensor, type }) => [name, isTensor, type]),
    );
  });

  it('is made of bytes as well, and leaves them as they are', async (t) => {
    const bytes = readFileSync(pathOf(bert));
    const before = Buffer.from(bytes);
    const session = await open(t, bytes, options);
    isRight((await session.run(feeds)).y);
    assert.ok(before.equals(bytes));
  });

  it('gives the outputs that are asked for, by names or by an object, and takes options of a run', async (t) => {
    const session = await open(t, pathOf(bert), options);
    for (const args of [[['y']], [{ y: null }], [{ tag: 'run' }], [['y'], { tag: 'run' }], [null, { tag: 'run' }]]) {
      const out = await session.run(feeds, ...args);
      assert.deepEqual(Object.keys(out), ['y']);
      isRight(out.y);
    }
  });

  it('copies outputs into tensors that are given for them', async (t) => {
    const session = await open(t, pathOf(bert), options);
    const target = new ort.Tensor('float32', new Float32Array(y.length), [2, 12, 64]);
    const out = await session.run(feeds, { y: target });
    assert.equal(out.y, target);
    isRight(target);
    const other = new ort.Tensor('float32', new Float32Array(y.length), [24, 64]);
    await refuses(session.run(feeds, { y: other }), 'ERR_TILEWISE_SHAPE_MISMATCH', /\[24, 64\]/);
  });

  it('runs many times at once, and gives each its own outputs', async (t) => {
    const session = await open(t, pathOf(bert), options);
    const other = {
      ...feeds,
      input_ids: new ort.Tensor(
        'int64',
        feeds.input_ids.data.map((id) => (id + 1n) % 100n),
        [2, 12],
      ),
    };
    const alone = (await session.run(other)).y.data;
    const outs = await Promise.all(Array.from({ length: 8 }, (_, i) => session.run(i % 2 ? other : feeds)));
    for (const [i, out] of outs.entries()) {
      if (i % 2) assert.deepEqual(out.y.data, alone);
      else isRight(out.y);
    }
  });

  it('is released once its runs are over', async () => {
    const session = await fuse(ort, pathOf(bert), options);
    const running = session.run(feeds);
    let isOver = false;
    running.then(() => {
      isOver = true;
    });
    const released = session.release();
    await session.release();
    assert.ok(isOver);
    await released;
    isRight((await running).y);
    await refuses(session.run(feeds), 'ERR_TILEWISE_DISPOSED', /released/);
  });

  it('says which name is wrong', async (t) => {
    const session = await open(t, pathOf(bert), options);
    const code = 'ERR_TILEWISE_INVALID_OPTION';
    await refuses(session.run({ input_ids: feeds.input_ids }), code, /`feeds.attention_mask` must be a tensor/);
    await refuses(session.run(undefined), code, /`feeds`/);
    await refuses(session.run(feeds, ['logits']), code, /no output 'logits', only y/);
    await refuses(session.run(feeds, { y: null, z: null }), code, /no output 'z'/);
    await refuses(session.run(feeds, []), code, /`fetches`/);
    await refuses(session.run(feeds, feeds.input_ids), code, /`fetches`/);
    await refuses(session.run(feeds, ['y'], 5), code, /`options`/);
    const gone = new ort.Tensor('float32', new Float32Array(y.length), [2, 12, 64]);
    structuredClone(gone.data.buffer, { transfer: [gone.data.buffer] });
    await refuses(session.run(feeds, { y: gone }), code, /`fetches.y` has no memory/);
  });

  it('takes feeds as onnxruntime does: inherited ones, other names, and no other fetches than tensors', async (t) => {
    const session = await open(t, pathOf(bert), options);
    isRight((await session.run(Object.create(feeds))).y);
    for (const labels of [undefined, null, 5, feeds.input_ids]) isRight((await session.run({ ...feeds, labels })).y);
    for (const fetches of [{ y: 5 }, { y: undefined }, { y: undefined, z: undefined }, {}]) {
      isRight((await session.run(feeds, fetches)).y);
      isRight((await session.run(feeds, fetches, { tag: 'run' })).y);
    }
    isRight((await session.run(feeds, { y: null, z: undefined })).y);
  });

  it('holds feeds that only attention reads to what the model declares', async (t) => {
    const file = fileURLToPath(new URL('../models/operators/attention with a bias.onnx', import.meta.url));
    const session = await open(t, file, options);
    const floats = (...dims) => new ort.Tensor('float32', new Float32Array(dims.reduce((a, b) => a * b, 1)), dims);
    const right = { q: floats(2, 4, 5, 8), k: floats(2, 4, 7, 8), v: floats(2, 4, 7, 8), bias: floats(1, 4, 5, 7) };
    assert.deepEqual((await session.run(right)).y.dims, [2, 4, 5, 8]);
    const [shape, type] = ['ERR_TILEWISE_SHAPE_MISMATCH', 'ERR_TILEWISE_DTYPE'];
    const longer = { ...right, k: floats(2, 4, 9, 8), v: floats(2, 4, 9, 8), bias: floats(1, 4, 5, 9) };
    await refuses(
      session.run(longer),
      shape,
      /`feeds.k` has dims \[2, 4, 9, 8\], and the model's input \[2, 4, 7, 8\]/,
    );
    await refuses(session.run({ ...right, bias: floats(4, 5, 7) }), shape, /`feeds.bias`/);
    const half = new ort.Tensor('float16', new Uint16Array(140), [1, 4, 5, 7]);
    await refuses(
      session.run({ ...right, bias: half }),
      type,
      /`feeds.bias` is float16, and the model's input float32/,
    );
    const { type: name, data, dims } = right.v;
    await refuses(session.run({ ...right, v: { type: name, data, dims } }), 'ERR_TILEWISE_INVALID_OPTION', /`feeds.v`/);
  });
});

describe('fuse', () => {
  it('leaves sites out that `only` refuses, with the reason', async (t) => {
    const seen = [];
    const only = (site) => seen.push(site) === 1;
    const session = await open(t, pathOf(bert), { ...options, only });
    assert.deepEqual(
      session.attention.map(({ swap, reason }) => [swap !== undefined, reason]),
      [
        [true, undefined],
        [false, 'left out by `only`'],
      ],
    );
    assert.deepEqual([seen[0].queryHeads, seen[0].headDim, seen[0].mask], [4, 16, 'boolean']);
    isRight((await session.run(feeds)).y);
  });

  it('runs a model of which nothing is swapped, whose file onnxruntime reads itself', async () => {
    const seen = [];
    const watching = {
      Tensor: ort.Tensor,
      InferenceSession: {
        create: (source, settings) => {
          seen.push(source);
          return ort.InferenceSession.create(source, settings);
        },
      },
    };
    const files = [pathOf(bert), fileURLToPath(new URL('../models/external.onnx', import.meta.url))];
    for (const file of files) {
      const session = await fuse(watching, file, { ...options, only: () => false });
      isRight((await session.run(feeds)).y);
      await session.release();
    }
    assert.deepEqual(seen, files);
  });

  it('stops onnxruntime from spinning, unless it is told to', async () => {
    const seen = [];
    const watching = {
      Tensor: ort.Tensor,
      InferenceSession: {
        create: (bytes, settings) => {
          seen.push(settings.extra?.session?.intra_op?.allow_spinning);
          return ort.InferenceSession.create(bytes, settings);
        },
      },
    };
    const extra = { session: { intra_op: { allow_spinning: '1' } } };
    for (const more of [{}, { spinning: true }, { sessionOptions: { ...quiet, extra } }]) {
      await (await fuse(watching, pathOf(bert), { ...options, ...more })).release();
    }
    assert.deepEqual(seen, ['0', '0', '0', undefined, undefined, undefined, '1', '1', '1']);
  });

  it('has sessions that keep no memory from run to run, unless they are told to or there is one', async () => {
    const seen = [];
    const watching = {
      Tensor: ort.Tensor,
      InferenceSession: {
        create: (bytes, settings) => {
          seen.push([settings.enableCpuMemArena, settings.enableMemPattern]);
          return ort.InferenceSession.create(bytes, settings);
        },
      },
    };
    const keeping = { sessionOptions: { ...quiet, enableCpuMemArena: true } };
    for (const more of [{}, keeping, { only: () => false }]) {
      await (await fuse(watching, pathOf(bert), { ...options, ...more })).release();
    }
    const [lean, kept] = [Array(3).fill([false, false]), Array(3).fill([true, false])];
    assert.deepEqual(seen, [...lean, ...kept, [undefined, undefined]]);
  });

  it('says which argument is wrong', async () => {
    const code = 'ERR_TILEWISE_INVALID_OPTION';
    await refuses(fuse(ort, 5), code, /`source`/);
    await refuses(fuse(ort, pathOf(bert), { only: 1 }), code, /`only`/);
    await refuses(fuse(ort, pathOf(bert), { spinning: 1 }), code, /`spinning`/);
    await refuses(fuse(ort, pathOf(bert), { device: 'gpu' }), code, /`device`/);
    await refuses(fuse(ort, pathOf(bert), { sessionOptions: 1 }), code, /`sessionOptions`/);
    const written = { sessionOptions: { optimizedModelFilePath: 'optimized.onnx' } };
    await refuses(fuse(ort, pathOf(bert), written), code, /optimizedModelFilePath.*its own part/);
    await refuses(fuse(ort, pathOf(bert), { threads: 1 }), 'ERR_TILEWISE_UNKNOWN_OPTION', /threads/);
    await refuses(fuse(ort, Buffer.from('{}')), 'ERR_TILEWISE_INVALID_FILE', /ModelProto/);
    await assert.rejects(fuse(ort, 'missing.onnx'), { code: 'ENOENT' });
  });

  it('reads weights from a file beside the model', async (t) => {
    const session = await open(t, fileURLToPath(new URL('../models/external.onnx', import.meta.url)), options);
    isRight((await session.run(feeds)).y);
  });
});
