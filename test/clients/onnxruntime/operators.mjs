// Operators: each gives what onnxruntime gives for it. Reader: someone who adds an operator, or a form of one.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import ort from 'onnxruntime-node';
import { fuse } from 'tilewise/onnxruntime';
import { feedOf, folderOf, maskings } from './feeds.mjs';
import { differenceOf, quiet } from './fixtures.mjs';

/** Compares a fused model with the whole one, or another that says the same; returns the reasons of its sites. */
async function compare(file, isShown = maskings['three of four'], reference = file, spoil = () => {}) {
  const whole = await ort.InferenceSession.create(reference, quiet);
  const session = await fuse(ort, file, { sessionOptions: quiet });
  const feeds = Object.fromEntries(whole.inputMetadata.map((input, i) => [input.name, feedOf(input, i, isShown)]));
  spoil(feeds);
  const [expected, out] = [await whole.run(feeds), await session.run(feeds)];
  assert.deepEqual(out.y.dims, expected.y.dims);
  // Of numbers added to -10000, float32 keeps three digits behind the point, and the order of two sums decides which.
  const isCoarse = 'added' in feeds && ('keys' in feeds || 'lengths' in feeds);
  const tolerance = isCoarse ? 3e-3 : file.includes('form') ? 1e-4 : 2e-6;
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

  for (const name of readdirSync(folderOf('forms'))) {
    const among = Object.keys(maskings);
    // One masking for each: they take turns.
    const masking = among[Number(/form (\d+)/.exec(name)[1]) % among.length];
    it(`${name}, masks show ${masking}`, async () =>
      assert.deepEqual(await compare(folderOf('forms') + name, maskings[masking]), [undefined]));
  }

  for (const name of ['queries, keys and values', 'keys and values', 'projections without a bias']) {
    it(`for another form of what it has no kernel for: ${name}`, async () => {
      const file = folderOf('packed') + name;
      assert.deepEqual(await compare(`${file}.onnx`, undefined, `${file}, apart.onnx`), [undefined]);
    });
  }

  it('where hidden scores are NaN: a row without keys is the mean of all values', async () => {
    const file = `${folderOf('operators')}pieces, shown where true.onnx`;
    const spoil = ({ q, k }) => {
      // The first batch entry sees nothing.
      q.data.fill(Number.NaN, 0, q.data.length / 2);
      k.data[0] = Number.NaN;
    };
    await compare(file, maskings['nothing in the first half'], file, spoil);
  });

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
