// A page of six lines is read twice: by the package as it is, and with its attention in tilewise. Reader: someone who changes
// patch(). The lines that were drawn are what both must read.

import assert from 'node:assert/strict';
import path from 'node:path';
import { it } from 'node:test';
import Ocr from '@gutenye/ocr-node';
import * as ort from 'onnxruntime-node';
import { patch } from 'tilewise/onnxruntime';
import { drawPage } from './page.mjs';

const lines = [
  'Fused attention for Node.js',
  'Call me Ishmael. Some years ago',
  'never mind how long precisely',
  'having little or no money in my purse',
  'and nothing particular to interest me',
  'I thought I would sail about a little',
];

async function read(file) {
  const ocr = await Ocr.create();
  return (await ocr.detect(file)).map(({ text, mean }) => ({ text, mean }));
}

it('the same text, with the attention of the recognition in tilewise', async () => {
  await drawPage(lines, 'page.png');
  const before = await read('page.png');
  const patched = patch(ort);
  const after = await read('page.png');
  patched.restore();
  for (const found of [before, after])
    assert.deepEqual(
      found.map(({ text }) => text),
      lines,
    );
  for (const [i, { mean }] of after.entries()) assert.ok(Math.abs(mean - before[i].mean) < 1e-5, `${mean}`);
  const sessions = patched.sessions.map(({ source, isFused, reason, attention }) => ({
    model: path.basename(source),
    isFused,
    reason,
    sites: attention.map(({ queryHeads, headDim, mask }) => `${queryHeads} x ${headDim}, ${mask}`),
  }));
  assert.deepEqual(sessions, [
    { model: 'ch_PP-OCRv4_det_infer.onnx', isFused: false, reason: 'the model has no attention', sites: [] },
    { model: 'ch_PP-OCRv4_rec_infer.onnx', isFused: true, reason: undefined, sites: Array(2).fill('8 x 15, none') },
  ]);
});
