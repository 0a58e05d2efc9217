// The kernels of which mutants are made, each with the check that runs it. A few of each kind: other dims and types of
// elements are the same source.
// Reader: scripts/ptx-mutants.mjs.

// `helper`: a kernel that its problems need, too. `kernel` is what is changed.
function attention(feed, type, dim, kernel) {
  const name = `attention_${feed}_${type}_${dim}`;
  return {
    module: `attention_${type}`,
    kernel: kernel ?? name,
    kernels: [
      name,
      ...['combine', 'lengths', 'effects_tokens', 'effects_grid'].map((helper) => `attention_${helper}_${type}`),
    ],
    program: 'attention_checks',
    args: ['of', name, 40],
  };
}
const selection = (kernel) => ({
  module: 'selection',
  kernel,
  program: 'selection_checks',
  args: ['of', kernel, 40],
});
const merge = (kernel) => ({ module: 'merge', kernel, program: 'merge_checks', args: [120, 'lazy'] });
const append = (kernel) => ({ module: 'append', kernel, program: 'append_checks', args: [120, 'lazy'] });
const linear = (kernel) => ({ module: 'linear', kernel, program: 'linear_checks', args: [40, 'lazy'] });
const cumulative = (kernel) => ({
  module: 'cumulative',
  kernel,
  program: 'cumulative_checks',
  args: [40, 'lazy'],
});
const delta = (kernel) => ({ module: 'delta', kernel, program: 'delta_checks', args: [40, 'lazy'] });
const localLinear = (kernel) => ({
  module: 'local_linear',
  kernel,
  program: 'local_linear_checks',
  args: [16, 'lazy'],
});
const rotary = (kernel) => ({ module: 'rotary', kernel, program: 'rotary_checks', args: [120, 'lazy'] });

export const subjects = [
  attention('stream_window', 'bfloat16', 64),
  attention('gather_blocks', 'bfloat16', 32),
  attention('decode_window', 'bfloat16', 64),
  attention('decode_window', 'bfloat16', 32, 'attention_combine_bfloat16'),
  attention('gather_window', 'bfloat16', 32, 'attention_effects_tokens_bfloat16'),
  attention('gather_neighborhood', 'float16', 32),
  attention('decode_blocks', 'float16', 64),
  attention('stream_window', 'float16', 128),
  attention('stream_window', 'float32', 32),
  attention('gather_shards', 'float32', 64),
  attention('decode_window', 'float32', 32),
  selection('score_fetched_float16'),
  selection('score_resident_bfloat16'),
  selection('score_tree_float32'),
  selection('keep_chunks'),
  selection('halve_ranges'),
  selection('split_lists'),
  merge('merge_bfloat16'),
  merge('merge_float32'),
  append('append_float16'),
  rotary('rotary_bfloat16'),
  rotary('rotary_float32'),
  linear('linear_outputs_bfloat16_64'),
  linear('linear_sums_float32_128'),
  linear('linear_carry'),
  cumulative('cumulative_outputs_float16'),
  cumulative('cumulative_carry'),
  delta('delta_bfloat16'),
  localLinear('local_linear_float16'),
];
