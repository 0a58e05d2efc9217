// Weights beside the model: onnxruntime reads them from their file, and nothing of them is in the segments' bytes.
// Reader: someone whose model is large. The file of 2.6 GB is sparse: next to nothing of it is on the disk, or read.

import assert from 'node:assert/strict';
import {
  closeSync,
  copyFileSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import ort from 'onnxruntime-node';
import { fuse } from 'tilewise/onnxruntime';
import { caseOf, differenceOf, quiet } from './fixtures.mjs';

const options = { sessionOptions: quiet };
const models = fileURLToPath(new URL('../models/', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'tilewise-weights-'));
after(() => rmSync(folder, { recursive: true }));
const { feeds, y } = caseOf('bert-eager-script17.onnx');

/** onnxruntime, and the models that it is given. */
function watched() {
  const created = [];
  const create = async (bytes, settings) => {
    const session = await ort.InferenceSession.create(bytes, settings);
    created.push({ length: bytes.length, inputs: session.inputMetadata, outputs: session.outputMetadata });
    return session;
  };
  return { created, Tensor: ort.Tensor, InferenceSession: { create } };
}

describe('weights beside a model', () => {
  it('are in no segment, and the file may go once the model is loaded', {
    skip: process.platform === 'win32',
  }, async () => {
    for (const name of ['external.onnx', 'external.data'])
      copyFileSync(path.join(models, name), path.join(folder, name));
    const watching = watched();
    const session = await fuse(watching, path.join(folder, 'external.onnx'), options);
    const bytes = watching.created.reduce((sum, { length }) => sum + length, 0);
    assert.ok(bytes < 150_000, `${bytes} bytes of segments`);
    rmSync(path.join(folder, 'external.data'));
    for (let i = 0; i < 2; ++i) assert.ok(differenceOf((await session.run(feeds)).y.data, y) <= 1e-4);
    await session.release();
  });

  it('may be more than 2 GB', { skip: process.platform !== 'linux' }, async () => {
    const file = path.join(folder, 'large.onnx');
    copyFileSync(path.join(models, 'large.onnx'), file);
    const [rows, width] = [10_000_000, 64];
    const data = openSync(path.join(folder, 'large.data'), 'w');
    ftruncateSync(data, rows * width * 4);
    const last = Float32Array.from({ length: 3 * width }, (_, i) => Math.sin(i));
    writeSync(data, new Uint8Array(last.buffer), 0, last.byteLength, (rows - 3) * width * 4);
    closeSync(data);
    const session = await fuse(ort, file, options);
    assert.deepEqual(
      session.attention.map(({ reason }) => reason),
      [undefined],
    );
    const whole = await ort.InferenceSession.create(file, quiet);
    const ids = new ort.Tensor(
      'int64',
      BigInt64Array.from([0n, 1n, 2n, 3n], (i) => BigInt(rows) - 4n + i),
      [1, 4],
    );
    const [out, expected] = [await session.run({ ids }), await whole.run({ ids })];
    assert.ok(expected.y.data.some((x) => x !== 0));
    assert.ok(differenceOf(out.y.data, expected.y.data) <= 1e-6);
    await Promise.all([session.release(), whole.release()]);
  });
});

it('segments know the dims of what crosses, so that onnxruntime makes one operator of several', async () => {
  const watching = watched();
  const session = await fuse(watching, path.join(models, 'external.onnx'), options);
  const [, second] = watching.created;
  assert.ok(second.inputs.some(({ shape }) => shape.length === 3 && shape[2] === 64));
  await session.release();
});

it('queries, keys and values cross as one value, made by one product', async () => {
  const watching = watched();
  const session = await fuse(watching, path.join(models, 'external.onnx'), options);
  const [first, second, last] = watching.created.map(({ inputs, outputs }) => [inputs.length, outputs.length]);
  // The mask as well comes from the first; between the others there is what is added behind attention.
  assert.deepEqual(
    [first, second, last],
    [
      [2, 3],
      [2, 2],
      [2, 1],
    ],
  );
  const { shape } = watching.created[1].outputs.find((output) => output.shape.at(-1) === 3 * 64);
  assert.equal(shape.length, 3);
  assert.ok(differenceOf((await session.run(feeds)).y.data, y) <= 1e-4);
  await session.release();
});

it('a table that several segments look up is in none of them', async () => {
  const file = path.join(models, 'shared.onnx');
  const ids = (...numbers) => new ort.Tensor('int64', BigInt64Array.from(numbers, BigInt), [1, numbers.length]);
  const whole = await ort.InferenceSession.create(file, quiet);
  for (const source of [file, readFileSync(file)]) {
    const watching = watched();
    const session = await fuse(watching, source, options);
    assert.ok(session.attention.every(({ swap }) => swap));
    const bytes = watching.created.reduce((sum, { length }) => sum + length, 0);
    assert.ok(bytes < 50_000, `${bytes} bytes of segments, and a table of ${4096 * 64 * 4}`);
    for (const given of [
      { ids: ids(5, 4000, 77), others: ids(9, 8, 4095) },
      { ids: ids(1, 2), others: ids(3, 4) },
    ]) {
      const [out, expected] = [await session.run(given), await whole.run(given)];
      assert.ok(differenceOf(out.y.data, expected.y.data) <= 1e-5);
    }
    await session.release();
  }
  await whole.release();
});
