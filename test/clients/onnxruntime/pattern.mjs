// A window in the place of causal order: the same as onnxruntime with the window written into the model's mask.
// Reader: someone who changes the option `pattern`. Rows of padding are not compared: nobody reads them.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import ort from 'onnxruntime-node';
import { hierarchical, neighborhood, slidingWindow } from 'tilewise';
import { fuse } from 'tilewise/onnxruntime';
import { folderOf } from './feeds.mjs';
import { caseOf, pathOf, quiet } from './fixtures.mjs';

const options = (pattern, more) => ({ sessionOptions: quiet, pattern: () => pattern, ...more });
const windows = {
  narrow: { left: 3, right: 2 },
  'with sinks': { left: 2, right: 0, sinkTokens: 2 },
};
/** Models that look back only: what a window shows behind a query is hidden all the same. */
const isDecoder = (graph) => /^(gpt2|llama)/.test(graph);

const [batch, tokens] = [2, 12];
/** Which tokens are there: the second batch entry is padded. */
const paddings = {
  none: () => true,
  right: (entry, token) => token < tokens - 4 * entry,
  left: (entry, token) => token >= 3 * entry,
  holes: (entry, token) => (token + entry) % 3 !== 1,
};

function feedsOf(isThere) {
  const make = (of) =>
    new ort.Tensor(
      'int64',
      BigInt64Array.from({ length: batch * tokens }, (_, i) => BigInt(of(Math.floor(i / tokens), i % tokens))),
      [batch, tokens],
    );
  return {
    input_ids: make((entry, token) => (entry * 31 + token * 37) % 100),
    attention_mask: make((entry, token) => Number(isThere(entry, token))),
  };
}

/** The largest difference of rows whose tokens are there. */
function differenceOf(got, want, isThere) {
  const width = want.length / (batch * tokens);
  let worst = 0;
  for (const [i, number] of want.entries()) {
    const row = Math.floor(i / width);
    if (!isThere(Math.floor(row / tokens), row % tokens)) continue;
    const difference = Math.abs(got[i] - number);
    if (!(difference <= worst)) worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return worst;
}

describe('a window is the one written into the mask', () => {
  for (const file of readdirSync(folderOf('windowed'))) {
    const [name, graph] = file.split(', ');
    for (const [padding, isThere] of Object.entries(paddings)) {
      // Sinks of a padded entry are its own first tokens, and a mask has those of the tensor.
      if (padding === 'left' && windows[name].sinkTokens) continue;
      it(`${file}, padding: ${padding}`, async () => {
        const { right, ...rest } = windows[name];
        const pattern = slidingWindow({ ...rest, right: isDecoder(graph) ? 0 : right });
        const whole = await ort.InferenceSession.create(folderOf('windowed') + file, quiet);
        const session = await fuse(ort, pathOf(graph), options(pattern));
        assert.deepEqual(
          session.attention.map((site) => site.pattern),
          [pattern, pattern],
        );
        const feeds = feedsOf(isThere);
        if (padding === 'holes' && pattern.right > 0) {
          // Whether a key behind a query is hidden by padding or by order, such a mask does not say.
          await assert.rejects(session.run(feeds), { code: 'ERR_TILEWISE_UNSUPPORTED' });
        } else {
          const [want, got] = [await whole.run(feeds), await session.run(feeds)];
          assert.deepEqual(got.y.dims, want.y.dims);
          const difference = differenceOf(got.y.data, want.y.data, isThere);
          assert.ok(difference <= 1e-4, `${difference}`);
        }
        await Promise.all([session.release(), whole.release()]);
      });
    }
  }

  it('and another output than without it', async () => {
    const { feeds } = caseOf('llama-sdpa-script17.onnx');
    const outputs = [];
    for (const pattern of [undefined, slidingWindow({ left: 3, causal: true })]) {
      const session = await fuse(ort, pathOf('llama-sdpa-script17.onnx'), options(pattern));
      outputs.push((await session.run(feeds)).y.data);
      await session.release();
    }
    assert.ok(differenceOf(outputs[0], outputs[1], () => true) > 1e-2);
  });
});

describe('a pattern', () => {
  it('leaves a site whose mask is numbers to onnxruntime', async () => {
    const session = await fuse(ort, pathOf('t5-eager-script17.onnx'), options(slidingWindow({ left: 3 })));
    const reason = 'its mask is numbers, and `pattern` takes the place of causal order alone';
    assert.deepEqual(
      session.attention.map((site) => [site.swap, site.reason]),
      Array(2).fill([undefined, reason]),
    );
    await session.release();
  });

  it('leaves a site that counts its keys to onnxruntime', async () => {
    const file = `${folderOf('operators')}attention with counted keys, causal.onnx`;
    const session = await fuse(ort, file, options(slidingWindow({ left: 3, causal: true })));
    const reason = 'its keys are counted by nonpad_kv_seqlen, and `pattern` has another place';
    assert.deepEqual(
      session.attention.map((site) => [site.swap, site.reason]),
      [[undefined, reason]],
    );
    await session.release();
  });

  it('is asked for of sites that are swapped, one by one', async () => {
    const asked = [];
    const window = slidingWindow({ left: 3, causal: true });
    const pattern = (site) => (asked.push(site) === 1 ? window : undefined);
    const session = await fuse(ort, pathOf('gpt2-eager-script17.onnx'), options(undefined, { pattern }));
    assert.deepEqual(
      session.attention.map((site) => site.pattern),
      [window, undefined],
    );
    assert.deepEqual(
      asked.map(({ kind }) => kind),
      ['decomposed', 'decomposed'],
    );
    await session.release();
  });

  it('of a grid, that selects keys itself, or that is none, is refused', async () => {
    for (const wrong of [neighborhood({ kernelSize: 3 }), hierarchical(), { kind: 'window' }, 5, null]) {
      await assert.rejects(fuse(ort, pathOf('gpt2-eager-script17.onnx'), options(wrong)), (error) =>
        /^ERR_TILEWISE_/.test(error.code),
      );
    }
    await assert.rejects(fuse(ort, pathOf('gpt2-eager-script17.onnx'), { pattern: slidingWindow({ left: 3 }) }), {
      code: 'ERR_TILEWISE_INVALID_OPTION',
    });
  });
});
