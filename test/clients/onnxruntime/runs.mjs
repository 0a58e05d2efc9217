// Runs one after the other: memory that is used again is never seen in a result, whatever dims do from run to run.
// Reader: someone who changes run-memory.ts or segment-runner.ts. Each run is compared with onnxruntime's own.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import ort from 'onnxruntime-node';
import { fuse } from 'tilewise/onnxruntime';
import { differenceOf, pathOf, quiet } from './fixtures.mjs';

const models = new URL('../models/', import.meta.url);
const options = { sessionOptions: quiet };

/** A fused session and onnxruntime's, both released when the test is over. */
async function openBoth(t, file) {
  const [session, whole] = [await fuse(ort, file, options), await ort.InferenceSession.create(file, quiet)];
  t.after(() => Promise.all([session.release(), whole.release()]));
  const check = (out, expected) => {
    assert.deepEqual(out.y.dims, expected.y.dims);
    assert.ok(differenceOf(out.y.data, expected.y.data) <= 1e-5, `${differenceOf(out.y.data, expected.y.data)}`);
  };
  return { session, whole, check };
}

/** Tokens that differ from seed to seed. */
function tokens(batch, length, seed) {
  const numbers = (of) => BigInt64Array.from({ length: batch * length }, (_, i) => BigInt(of(i)));
  return {
    input_ids: new ort.Tensor(
      'int64',
      numbers((i) => (i * 37 + seed * 11) % 100),
      [batch, length],
    ),
    attention_mask: new ort.Tensor(
      'int64',
      numbers((i) => Number(i % length < length - (seed % 3))),
      [batch, length],
    ),
  };
}

describe('runs', () => {
  it('leave the results of earlier ones as they are', async (t) => {
    const { session, whole, check } = await openBoth(t, pathOf('bert-eager-script17.onnx'));
    const runs = [];
    for (let seed = 0; seed < 6; ++seed) {
      const feeds = tokens(2, 12, seed);
      runs.push({ feeds, out: await session.run(feeds) });
    }
    for (const { feeds, out } of runs) check(out, await whole.run(feeds));
  });

  it('may have other dims than the last one', async (t) => {
    const { session, whole, check } = await openBoth(t, pathOf('bert-eager-script17.onnx'));
    const sizes = [2, 2, 3, 3, 2, 1, 1, 1].map((batch, i) => [batch, [12, 12, 12, 7, 7, 1, 1, 12][i]]);
    for (const [seed, [batch, length]] of sizes.entries()) {
      const feeds = tokens(batch, length, seed);
      check(await session.run(feeds), await whole.run(feeds));
    }
  });

  it('of other dims may be in flight together', async (t) => {
    const { session, whole, check } = await openBoth(t, pathOf('gpt2-eager-script17.onnx'));
    const all = Array.from({ length: 24 }, (_, i) => tokens(1 + (i % 2), 5 + (i % 3), i));
    const outs = await Promise.all(all.map((feeds) => session.run(feeds)));
    for (const [i, feeds] of all.entries()) check(outs[i], await whole.run(feeds));
  });

  it('may have dims that numbers decide', async (t) => {
    const file = fileURLToPath(new URL('operators/attention of which numbers are picked.onnx', models));
    const { session, whole, check } = await openBoth(t, file);
    const floats = (seed) =>
      new ort.Tensor(
        'float32',
        Float32Array.from({ length: 240 }, (_, i) => Math.sin(seed + 1.7 * i)),
        [2, 3, 5, 8],
      );
    for (const count of [5, 5, 3, 3, 12, 0, 5]) {
      const seen = new ort.Tensor(
        'bool',
        Uint8Array.from({ length: 12 }, (_, i) => Number(i < count)),
        [12],
      );
      const feeds = { q: floats(count), k: floats(1), v: floats(2), seen };
      check(await session.run(feeds), await whole.run(feeds));
    }
  });

  it('that onnxruntime refuses are refused, and others go on', async (t) => {
    const { session, whole, check } = await openBoth(t, pathOf('bert-eager-script17.onnx'));
    const feeds = tokens(2, 12, 0);
    for (let i = 0; i < 3; ++i) await session.run(feeds);
    const input_ids = new ort.Tensor('int64', new BigInt64Array(24).fill(100_000n), [2, 12]);
    const silent = { logSeverityLevel: 4 };
    await assert.rejects(session.run({ ...feeds, input_ids }, silent), /indices element out of data bounds/);
    for (let i = 0; i < 3; ++i) check(await session.run(feeds), await whole.run(feeds));
  });
});
