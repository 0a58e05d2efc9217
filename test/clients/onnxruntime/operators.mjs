// Operators: each gives what onnxruntime gives for it. Reader: someone who adds an operator, or a form of one.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import ort from 'onnxruntime-node';
import { fuse } from 'tilewise/onnxruntime';
import { differenceOf, quiet } from './fixtures.mjs';

const folderOf = (kind) => fileURLToPath(new URL(`../models/${kind}/`, import.meta.url));

/** Which keys masks show: rows that see none, and left padding under causal order, are among them. */
const maskings = {
  'three of four': (i) => Math.sin(1.7 * i) > -0.7,
  'not the first two of each row': (i, keys) => i % keys >= 2,
  'nothing in the first half': (i, _, size) => i >= size / 2,
  nothing: () => false,
};

/** Numbers between -1 and 1 that are never alike, and masks; `hiding` is the lowest number for two keys of each row. */
function feedOf({ name, type, shape }, seed, isShown) {
  const size = shape.reduce((a, b) => a * b, 1);
  const make = (array, of) =>
    new ort.Tensor(
      type,
      array.from({ length: size }, (_, i) => of(i)),
      shape,
    );
  const shown = (i) => isShown(i, shape.at(-1), size);
  if (name === 'hiding') return make(Float32Array, (i) => (i % shape.at(-1) < 2 ? -(2 ** 128 - 2 ** 104) : 0));
  if (type === 'float32') return make(Float32Array, (i) => Math.sin(seed + 1.7 * i));
  // Ends of keys, and behind them starts.
  if (name === 'lengths') return make(Int32Array, (i) => (i >= size / 2 ? 1 + (i % 2) : shown(i) ? 5 - (i % 2) : 0));
  // Padding of numbers shows what is above 0.
  return type === 'bool' ? make(Uint8Array, (i) => Number(shown(i))) : make(Int32Array, (i) => (shown(i) ? 2 : -1));
}

/** Compares a fused model with the whole one, or another that says the same; returns the reasons of its sites. */
async function compare(file, isShown = maskings['three of four'], reference = file) {
  const whole = await ort.InferenceSession.create(reference, quiet);
  const session = await fuse(ort, file, { sessionOptions: quiet });
  const feeds = Object.fromEntries(whole.inputMetadata.map((input, i) => [input.name, feedOf(input, i, isShown)]));
  const [expected, out] = [await whole.run(feeds), await session.run(feeds)];
  assert.deepEqual(out.y.dims, expected.y.dims);
  // Of numbers added to -10000, float32 keeps three digits behind the point, and the order of two sums decides which.
  const tolerance = file.includes('padding and a bias') ? 1e-3 : 2e-6;
  assert.ok(differenceOf(out.y.data, expected.y.data) <= tolerance, `${differenceOf(out.y.data, expected.y.data)}`);
  await Promise.all([session.release(), whole.release()]);
  return session.attention.map(({ reason }) => reason);
}

describe('the output of onnxruntime', () => {
  for (const name of readdirSync(folderOf('operators'))) {
    for (const [masking, isShown] of Object.entries(maskings)) {
      it(`${name}, masks show ${masking}`, async () =>
        assert.deepEqual(await compare(folderOf('operators') + name, isShown), [undefined]));
    }
  }

  for (const name of ['queries, keys and values', 'keys and values']) {
    it(`for the operands apart, where ${name} are one: it has no kernel for that`, async () => {
      const file = folderOf('packed') + name;
      assert.deepEqual(await compare(`${file}.onnx`, undefined, `${file}, apart.onnx`), [undefined]);
    });
  }

  it('also of what onnxruntime refuses to have cut', async () => {
    const [reason] = await compare(`${folderOf('left')}a sequence around it.onnx`);
    assert.match(reason, /^onnxruntime refuses the graph without it: /);
  });

  it('also of what stays there', async () => {
    assert.deepEqual(await compare(`${folderOf('left')}projections and a cache inside.onnx`), ['it has past, present']);
    assert.deepEqual(await compare(`${folderOf('left')}a mask in front of a factor.onnx`), [
      'a mask is in front of a factor of the scores',
    ]);
    assert.deepEqual(await compare(`${folderOf('left')}two masks, one of -10000.onnx`), [
      'two masks, one of which puts -10000 in the place of scores',
    ]);
  });
});
