// float16: errors against float32 are at most twice those that onnxruntime has with the same float16 model.
// Reader: someone whose float16 model gives other numbers. onnxruntime has few float16 kernels on processors, and casts in between.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import ort from 'onnxruntime-node';
import { fuse } from 'tilewise/onnxruntime';
import { feedOf, folderOf, maskings } from './feeds.mjs';
import { caseOf, differenceOf, graphs, quiet } from './fixtures.mjs';

const kinds = ['', 'wide softmax, '];

/** The outputs of onnxruntime and of a fused session, and the reasons of what is left. */
async function outputsOf(file, feeds) {
  const whole = await ort.InferenceSession.create(file, quiet);
  const session = await fuse(ort, file, { sessionOptions: quiet });
  const [theirs, ours] = [await whole.run(feeds), await session.run(feeds)];
  assert.deepEqual(ours.y.dims, theirs.y.dims);
  await Promise.all([session.release(), whole.release()]);
  return { theirs: theirs.y.data, ours: ours.y.data, reasons: session.attention.map(({ reason }) => reason) };
}

describe("exporters' graphs in float16", () => {
  for (const graph of graphs) {
    for (const kind of kinds) {
      it(`${kind}${graph}`, async () => {
        const { feeds, y } = caseOf(graph);
        const { theirs, ours, reasons } = await outputsOf(`${folderOf('float16')}${kind}${graph}`, feeds);
        assert.deepEqual(reasons, [undefined, undefined]);
        const [error, allowed] = [differenceOf(ours, y), 2 * differenceOf(theirs, y)];
        assert.ok(error > 0 && error <= allowed, `${error} > ${allowed}`);
      });
    }
  }
});

describe('operators in float16', () => {
  // A step of float16 for outputs between 1 and 2: onnxruntime runs a small model in float32 from end to end, and has no error.
  const step = 2 ** -10;
  // float16 has no number that swallows every score, as the lowest of float32 does.
  const left = [
    'pieces, shown where true and with an added mask',
    'pieces, shown where true and with one that hides',
    'pieces, with an added mask that hides, shown where true',
  ];
  for (const name of readdirSync(folderOf('operators'))) {
    for (const kind of name.startsWith('pieces') ? kinds : ['']) {
      it(`${kind}${name}`, async () => {
        const exact = await ort.InferenceSession.create(folderOf('operators') + name, quiet);
        const isShown = maskings['three of four'];
        const feeds = Object.fromEntries(
          exact.inputMetadata.map((input, i) => [input.name, feedOf(input, i, isShown)]),
        );
        const { y } = await exact.run(feeds);
        const { theirs, ours, reasons } = await outputsOf(`${folderOf('operators-float16')}${kind}${name}`, feeds);
        const isLeft = left.some((one) => name.startsWith(one));
        assert.match(reasons[0] ?? 'swapped', isLeft ? /two masks, one of which puts -65504/ : /^swapped$/);
        const [error, allowed] = [differenceOf(ours, y.data), 2 * differenceOf(theirs, y.data) + step];
        assert.ok(error <= allowed, `${error} > ${allowed}`);
        await exact.release();
      });
    }
  }
});
