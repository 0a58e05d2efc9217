// The character Llama of examples/generate as a folder for transformers.js: its weights as an ONNX graph, configuration, tokenizer.
// Reader: someone who runs generate(). Two graphs: `eager` has attention in pieces, as Optimum exports it; `gqa` has
// GroupQueryAttention, as the graphs of onnx-community have. The names of inputs and outputs are Optimum's.

import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { openSafetensors } from '../../dist/adapters/safetensors/index.js';
import { GraphWriter } from './graph-writer.mjs';
import { eagerAttention, eagerBeginning, gqaAttention, gqaBeginning } from './llama-attention.mjs';

const weightsFile = new URL('../../examples/generate/chargpt.f16.safetensors', import.meta.url);

/** Positions that the tables of GroupQueryAttention have: also those that the model was not trained for. */
const maxPositions = 8192;

/** The numbers of the model. */
function read() {
  const file = openSafetensors(weightsFile);
  const { chars, ...numbers } = file.metadata;
  const sizes = Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, Number(value)]));
  const weight = (name) => {
    const { data, dims } = file.tensor(`${name}.weight`).astype('float32');
    return { data, dims };
  };
  return { sizes: { ...sizes, maxPositions }, characters: JSON.parse(chars), weight };
}

/** @param form 'eager' or 'gqa' */
function graphOf(form, { sizes, characters, weight }) {
  const [begin, attend] = form === 'gqa' ? [gqaBeginning, gqaAttention] : [eagerBeginning, eagerAttention];
  const { layers, kvHeads, headDim, eps } = sizes;
  const graph = new GraphWriter();
  const table = weight('emb');
  const embedding = graph.constant('float32', table.dims, table.data, 'emb');
  let x = graph.node('Gather', [embedding, 'input_ids']);
  const shared = begin(graph, sizes);
  for (let layer = 0; layer < layers; ++layer) {
    const name = (part) => `layers.${layer}.${part}`;
    const linear = (value, part) => graph.linear(value, weight(name(part)), name(part));
    const seen = graph.norm(x, weight(name('n1')), eps, name('n1'));
    const [q, k, v] = ['q', 'k', 'v'].map((part) => linear(seen, part));
    x = graph.node('Add', [x, linear(attend(graph, sizes, shared, { layer, q, k, v }), 'o')]);
    const hidden = graph.norm(x, weight(name('n2')), eps, name('n2'));
    const gate = linear(hidden, 'gate');
    const active = graph.node('Mul', [gate, graph.node('Sigmoid', [gate])]);
    x = graph.node('Add', [x, linear(graph.node('Mul', [active, linear(hidden, 'up')]), 'down')]);
  }
  const last = graph.linear(graph.norm(x, weight('norm'), eps, 'norm'), table, 'head');
  graph.node('Identity', [last], {}, { as: 'logits' });
  const caches = (prefix, length) =>
    Array.from({ length: layers }, (_, layer) => ['key', 'value'].map((part) => `${prefix}.${layer}.${part}`))
      .flat()
      .map((name) => makeValueInfo(name, 'float32', ['batch_size', kvHeads, length, headDim]));
  const ids = (name, ...dims) => makeValueInfo(name, 'int64', ['batch_size', ...dims]);
  return graph.model({
    inputs: [
      ids('input_ids', 'sequence_length'),
      ids('attention_mask', 'total_sequence_length'),
      ...(form === 'gqa' ? [] : [ids('position_ids', 'sequence_length')]),
      ...caches('past_key_values', 'past_sequence_length'),
    ],
    outputs: [
      makeValueInfo('logits', 'float32', ['batch_size', 'sequence_length', characters.length + 1]),
      ...caches('present', 'total_sequence_length'),
    ],
  });
}

const configOf = ({ layers, heads, kvHeads, headDim, dim, ff, eps }, vocabulary) => ({
  ...{ model_type: 'llama', architectures: ['LlamaForCausalLM'], vocab_size: vocabulary, hidden_size: dim },
  ...{ num_hidden_layers: layers, num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim: headDim },
  ...{ intermediate_size: ff, rms_norm_eps: eps, max_position_embeddings: maxPositions, bos_token_id: 0 },
});

/** One token per character; the first one begins a text. */
const tokenizerOf = (characters) => ({
  version: '1.0',
  added_tokens: [{ id: 0, content: '<s>', special: true, single_word: false, lstrip: false, rstrip: false }],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [],
    special_tokens: { '<s>': { id: '<s>', ids: [0], tokens: ['<s>'] } },
  },
  decoder: { type: 'Fuse' },
  model: {
    type: 'BPE',
    vocab: Object.fromEntries([['<s>', 0], ...characters.map((character, i) => [character, i + 1])]),
    merges: [],
  },
});

/** Writes the model as a folder that transformers.js opens. @param form 'eager' or 'gqa' */
export function writeLlama(folder, form) {
  const parts = read();
  const { sizes, characters } = parts;
  const json = {
    config: configOf(sizes, characters.length + 1),
    generation_config: { bos_token_id: 0 },
    tokenizer: tokenizerOf(characters),
    tokenizer_config: {
      tokenizer_class: 'PreTrainedTokenizerFast',
      add_bos_token: true,
      pad_token: '<s>',
      clean_up_tokenization_spaces: false,
    },
  };
  mkdirSync(path.join(folder, 'onnx'), { recursive: true });
  for (const [name, content] of Object.entries(json)) {
    writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(content));
  }
  writeFileSync(path.join(folder, 'onnx', 'model.onnx'), graphOf(form, parts).bytes);
}
