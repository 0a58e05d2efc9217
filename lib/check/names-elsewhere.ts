// Names elsewhere: what PyTorch's and flash-attention's users, and the configs of models, call options that are here under other names.
// Reader: someone who ports a call from PyTorch, or a config, and gets an error. checkNames() asks; a name is answered where the option
// that has taken its place exists.

/** An option that exists where the hint is of use, and the hint. */
type Hint = readonly [option: string, hint: string];

const camelCase = (name: string): string => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/** Fields of a BlockMask, which some look for beside it. */
const inBlockMask = (name: string): readonly Hint[] => [
  [camelCase(name), `it is \`${camelCase(name)}\``],
  ['blockMask', `it is \`blockMask.${camelCase(name)}\``],
];
const backwardOnly: readonly Hint[] = [['kvIndices', 'only a backward pass reads it; leave it out']];
const makesMask = (ours: string): readonly Hint[] => [['queries', `it is \`${ours}\``]];

/** Fields of `rope_scaling`. */
const inScaling = (name: string, ours = camelCase(name)): readonly Hint[] => [[ours, `it is \`${ours}\``]];

/** Per name the hints for it; the first whose option exists is given. */
const hints: Readonly<Record<string, readonly Hint[]>> = {
  mask_mod: [
    ['predicate', 'it is `predicate`'],
    ['queries', 'it is the first argument, `predicate`'],
    ['pattern', 'it is `pattern: blocks({ predicate })`, with the blocks it is asked about'],
  ],
  block_mask: [['blockMask', 'it is `blockMask`']],
  BLOCK_SIZE: [
    ['blockSize', 'it is `blockSize`'],
    ['blockQ', 'it is `blockQ` and `blockK`'],
  ],
  kv_num_blocks: inBlockMask('kv_num_blocks'),
  kv_indices: inBlockMask('kv_indices'),
  full_kv_num_blocks: inBlockMask('full_kv_num_blocks'),
  full_kv_indices: inBlockMask('full_kv_indices'),
  seq_lengths: inBlockMask('seq_lengths'),
  q_num_blocks: backwardOnly,
  q_indices: backwardOnly,
  full_q_num_blocks: backwardOnly,
  full_q_indices: backwardOnly,
  rope: [['rotary', 'it is `rotary`: { theta, dims, interleaved, scaling }']],
  key_padding_mask: [['keyMask', 'it is `keyMask`, where 0 hides a key, not 1']],
  attention_mask: [['keyMask', 'it is `keyMask` when it is [batch, keys], `mask` when it has rows of queries']],
  cache_seqlens: [['keyLengths', 'it is `keyLengths`']],
  block_table: [['pages', 'it is `pages.table`']],
  rope_theta: [['theta', 'it is `theta`']],
  rope_scaling: [['scaling', 'it is `scaling`']],
  position_ids: [['positions', 'it is `positions`']],
  rope_type: inScaling('rope_type', 'kind'),
  original_max_position_embeddings: inScaling('original_max_position_embeddings', 'original'),
  attention_factor: inScaling('attention_factor'),
  beta_fast: inScaling('beta_fast'),
  beta_slow: inScaling('beta_slow'),
  low_freq_factor: inScaling('low_freq_factor'),
  high_freq_factor: inScaling('high_freq_factor'),
  B: makesMask('batch'),
  H: makesMask('heads'),
  Q_LEN: makesMask('queries'),
  KV_LEN: makesMask('keys'),
};

/** What to say about a name that belongs to another package; undefined when it is none. */
export const hintFor = (name: string, known: ReadonlySet<string>): string | undefined =>
  (Object.hasOwn(hints, name) ? hints[name] : []).find(([option]) => known.has(option))?.[1];
