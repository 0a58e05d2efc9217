// What `npm run bench:models` measures: models whole in onnxruntime, and with attention in tilewise. Reader: someone who adds one.
// Targets are those of issue 15. A cut is one more session: a model with n sites in a row has n cuts.
import { readFileSync } from 'node:fs';
import { fuse } from 'tilewise/onnxruntime';
import { loadOnnxRuntime } from '../peers/onnxruntime.mjs';
import { watchedRuns } from '../peers/segments.mjs';
import { stackFeeds, stackModel } from '../peers/stacks.mjs';
import { generating } from '../peers/transformers.mjs';

/** Milliseconds that a cut may cost where attention itself is short. */
const perCut = 0.05;

/** Runs of a short model before it is measured: V8 compiles what is around its sessions, and until then a cut costs up to 0.3 ms. */
const warmUp = 3000;

const bert = { layers: 2, heads: 12, headDim: 64, ff: 3072, mask: 'padding', attention: 'pieces' };
const causal = { layers: 1, heads: 8, headDim: 64, mask: 'causal' };

const settings = (threads) => ({
  intraOpNumThreads: threads,
  logSeverityLevel: 3,
  extra: { session: { intra_op: { allow_spinning: '0' } } },
});

/** The largest difference of two outputs. */
const differenceOf = (a, b) => a.data.reduce((most, value, i) => Math.max(most, Math.abs(value - b.data[i])), 0);

/** A group of one model. @param target of the fused one: `most`, or `mostMore` per cut, which is that of a model that is warm */
function modelGroup(name, threads, source, feedsOf, target) {
  let opened = [];
  const prepare = async () => {
    const ort = loadOnnxRuntime();
    const bytes = source();
    const whole = await ort.InferenceSession.create(bytes, settings(threads));
    const watched = watchedRuns(ort);
    const fused = await fuse(watched.ort, bytes, { sessionOptions: settings(threads) });
    opened = [whole, fused];
    const left = fused.attention.filter(({ swap }) => !swap);
    if (left.length > 0) throw new Error(`${name}: ${left[0].reason}`);
    const feeds = feedsOf(ort.Tensor);
    const difference = differenceOf((await whole.run(feeds)).y, (await fused.run(feeds)).y);
    // Negated, so that NaN fails too.
    if (!(difference < 1e-4)) throw new Error(`${name}: outputs differ by ${difference}`);
    const { most, mostMore } = target;
    for (let i = 0; mostMore && i < warmUp; ++i) {
      await whole.run(feeds);
      await fused.run(feeds);
    }
    return [
      { name: 'onnxruntime', isAsync: true, call: () => whole.run(feeds) },
      {
        ...{ name: 'tilewise', isAsync: true, call: () => fused.run(feeds), most },
        ...(mostMore && { mostMore: mostMore * fused.attention.length }),
      },
      // What no adapter can be faster than: onnxruntime's runs of the same segments, without attention.
      { name: 'its segments alone', isAsync: true, call: watched.repeat },
    ];
  };
  return { name, threads, prepare, release: () => Promise.all(opened.map((session) => session.release())) };
}

const stackGroup = (name, stack, tokens, target, threads) =>
  modelGroup(
    `${name} N=${tokens}`,
    threads,
    () => stackModel(stack),
    (Tensor) => stackFeeds(stack, tokens, Tensor),
    target,
  );

/** The small BERT of test/clients/fixtures: two layers of four heads of 16. */
const fixture = new URL('../../test/clients/fixtures/bert-eager-script17.onnx', import.meta.url);
const shortGroup = (tokens, threads) =>
  modelGroup(
    `short, BERT of two layers, 4 heads of 16, N=${tokens}`,
    threads,
    () => readFileSync(fixture),
    (Tensor) => {
      const ids = (of) =>
        new Tensor(
          'int64',
          BigInt64Array.from({ length: tokens }, (_, i) => BigInt(of(i))),
          [1, tokens],
        );
      return { input_ids: ids((i) => (i * 37) % 100), attention_mask: ids(() => 1) };
    },
    { mostMore: perCut },
  );

function generateGroup(form, prompt, count, most, threads) {
  let release;
  const prepare = async () => {
    const { calls, reason, ...rest } = await generating(form, prompt, count, threads);
    ({ release } = rest);
    if (reason) console.log(`  attention stays with onnxruntime: ${reason}`);
    return [
      { name: 'onnxruntime', isAsync: true, call: calls[0], samples: 3 },
      { name: 'tilewise', isAsync: true, call: calls[1], samples: 3, most },
    ];
  };
  return {
    name: `${form} generate(), prompt of ${prompt}, ${count} tokens`,
    threads,
    prepare,
    release: () => release(),
  };
}

const third = 0.333;

/** @param {number} threads */
export const modelGroups = (threads, isQuick) => [
  ...(isQuick ? [16] : [16, 64, 128]).map((tokens) => shortGroup(tokens, threads)),
  ...(isQuick ? [64] : [128, 384]).map((tokens) =>
    stackGroup('BERT-base, two layers', bert, tokens, { most: 1.05 }, threads),
  ),
  ...['MultiHeadAttention', 'pieces'].map((attention) =>
    stackGroup(`causal ${attention}`, { ...causal, attention }, isQuick ? 256 : 2048, { most: 0.77 }, threads),
  ),
  ...(isQuick
    ? [generateGroup('gqa', 10, 5, undefined, threads), generateGroup('eager', 10, 5, undefined, threads)]
    : [
        ...[
          ['gqa', third],
          ['eager', 0.667],
        ].map(([form, most]) => generateGroup(form, 3400, 200, most, threads)),
        ...['gqa', 'eager'].map((form) => generateGroup(form, 10, 200, 1.333, threads)),
      ]),
];

/** The stack whose memory is measured: six layers of BERT-base, 170 MB. */
export const largeStack = { ...bert, layers: 6 };
