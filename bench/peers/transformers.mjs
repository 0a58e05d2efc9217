// transformers.js for the benchmarks: generate() of the character Llama, whole in onnxruntime and with attention in tilewise.
// Reader: someone who asks what a longer text costs. The graphs are those of test/clients/llama.mjs.
import { patch } from 'tilewise/onnxruntime';
import { encode, start } from '../../examples/generate/llama.mjs';
import { heldOut } from '../../examples/generate.mjs';
import { writeLlama } from '../../test/clients/llama.mjs';
import { loadPeer, peerFolder } from './install.mjs';
import { loadOnnxRuntime } from './onnxruntime.mjs';

/** Options of onnxruntime's sessions, the same for both. */
const sessionOptions = (threads) => ({
  intraOpNumThreads: threads,
  logSeverityLevel: 3,
  extra: { session: { intra_op: { allow_spinning: '0' } } },
});

/** Opens a model; with tilewise if asked. Returns it, and why attention stayed with onnxruntime, if it did. */
async function open({ AutoModelForCausalLM }, name, threads, isFused) {
  const patched = isFused ? patch(loadOnnxRuntime()) : undefined;
  const model = await AutoModelForCausalLM.from_pretrained(name, {
    dtype: 'fp32',
    session_options: sessionOptions(threads),
  });
  patched?.restore();
  return { model, reason: patched?.sessions.find((session) => !session.isFused)?.reason };
}

/** @param form 'eager' or 'gqa' @param prompt tokens of the prompt @param count tokens that are generated */
export async function generating(form, prompt, count, threads) {
  loadOnnxRuntime();
  const transformers = loadPeer('@huggingface/transformers', '4.3.2');
  const name = `llama-${form}`;
  writeLlama(`${peerFolder}models/${name}`, form);
  Object.assign(transformers.env, { allowRemoteModels: false, localModelPath: `${peerFolder}models/` });
  const ids = BigInt64Array.from([start, ...encode(heldOut().slice(0, prompt - 1))], BigInt);
  const tensor = (data) => new transformers.Tensor('int64', data, [1, prompt]);
  const inputs = { input_ids: tensor(ids), attention_mask: tensor(new BigInt64Array(prompt).fill(1n)) };
  const [whole, fused] = [
    await open(transformers, name, threads, false),
    await open(transformers, name, threads, true),
  ];
  const calls = [whole, fused].map(({ model }) => () => {
    return model.generate({ ...inputs, max_new_tokens: count, do_sample: false });
  });
  const [expected, written] = [await calls[0](), await calls[1]()].map((tokens) => tokens.data.join(' '));
  if (written !== expected) throw new Error(`${name} writes another text with tilewise: ${written}, not ${expected}`);
  return {
    calls,
    reason: fused.reason,
    release: () => Promise.all([whole, fused].map(({ model }) => model.dispose())),
  };
}
