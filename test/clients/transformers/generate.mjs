// Text that transformers.js generates: the same from both graphs, whole and with attention in tilewise, for one prompt and for two
// of different lengths. Reader: someone whose model writes other words. expected.json has the text of the example's JavaScript.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, it } from 'node:test';
import { AutoModelForCausalLM, AutoTokenizer, env, pipeline } from '@huggingface/transformers';
import { patch } from 'tilewise/onnxruntime';

env.allowRemoteModels = false;
env.localModelPath = 'models/';
const ort = createRequire(import.meta.resolve('@huggingface/transformers'))('onnxruntime-node');
const { beginning, text } = JSON.parse(readFileSync('expected.json', 'utf8'));
const dtype = 'fp32';

/** What a function gives while sessions are patched, and the sessions. */
async function whilePatched(use) {
  const patched = patch(ort);
  try {
    return [await use(), patched.sessions];
  } finally {
    patched.restore();
  }
}

async function write(model) {
  const generator = await pipeline('text-generation', model, { dtype });
  const [{ generated_text: written }] = await generator(beginning, { max_new_tokens: text.length, do_sample: false });
  await generator.dispose();
  return written;
}

/** The beginning beside a longer prompt: it is padded on the left. */
async function writeBesideAnother(model) {
  const tokenizer = await AutoTokenizer.from_pretrained(model);
  tokenizer.padding_side = 'left';
  const llama = await AutoModelForCausalLM.from_pretrained(model, { dtype });
  const prompts = tokenizer([beginning, `It was the whale. ${beginning}`], { padding: true });
  const tokens = await llama.generate({ ...prompts, max_new_tokens: text.length, do_sample: false });
  await llama.dispose();
  return tokenizer.batch_decode(tokens, { skip_special_tokens: true })[0];
}

const expected = beginning + text;
const kinds = { 'llama-eager': 'decomposed', 'llama-gqa': 'GroupQueryAttention' };

describe('the text of the example', () => {
  for (const [model, kind] of Object.entries(kinds)) {
    it(`${model}, whole and with attention in tilewise`, async () => {
      assert.equal(await write(model), expected);
      const [written, sessions] = await whilePatched(() => write(model));
      assert.equal(written, expected);
      const [{ source, attention }] = sessions;
      assert.equal(source, `models/${model}/onnx/model.onnx`);
      assert.deepEqual(
        attention.map((site) => site.kind),
        Array(3).fill(kind),
      );
      assert.deepEqual(
        [sessions.length, attention.map(({ swap, reason }) => (swap ? 'swapped' : reason))],
        [1, Array(3).fill('swapped')],
      );
    });
  }

  // GroupQueryAttention knows no padding on the left.
  it('llama-eager, in a batch that is padded', async () => {
    assert.equal(await writeBesideAnother('llama-eager'), expected);
    const [written] = await whilePatched(() => writeBesideAnother('llama-eager'));
    assert.equal(written, expected);
  });
});
