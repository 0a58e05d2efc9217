// The sections of docs/measurements/hardware.md: what is said before each table of tables.mjs. A section is printed when one of its
// tables has rows. Reader: whoever adds a table.

/** @type {{title: string, tables: [name: string, intro: string][]}[]} */
export const sections = [
  {
    title: 'The machine',
    tables: [
      [
        'machine',
        'Clocks, power and temperature are sampled twice a second for the whole run and kept in the result per ' +
          'step. Programs only read them: no clock or limit is ever set, so the power limit is part of every ' +
          'figure. Where a table gives a share per clock, the clock is that of the kernel itself, cycles over ' +
          'nanoseconds on one multiprocessor.',
      ],
    ],
  },
  {
    title: 'Are they right',
    tables: [['checks', '']],
  },
  {
    title: 'Tensor cores',
    tables: [
      [
        'wgmma',
        'A loop of nothing but `wgmma` m64nNk16 on random bfloat16, one block per multiprocessor: TFLOP/s, and ' +
          "in brackets the share of 4096 operations per clock and multiprocessor, the rate that the data sheet's " +
          'peak comes to (of tf32: 2048). N is the width of the tile: the keys of a tile in Q Kᵀ, the head ' +
          'dimension in P V. With A in registers as in P V, with A in shared memory as in Q Kᵀ; 1, 2 and 3 ' +
          'warpgroups.',
      ],
      ['sustained', 'The same for one and a half seconds, long enough for the power limit to act:'],
      [
        'mma',
        '`mma.sync`, the only kind before Hopper and the kind that the sm_80 kernels use. Fed by `ldmatrix`, ' +
          'every 16 by 16 piece of the second operand is loaded for each 16 or 32 rows, as K and V are in ' +
          'attention.',
      ],
    ],
  },
  {
    title: 'The softmax beside the products',
    tables: [
      [
        'softmax',
        'Scale, subtract, exponentiate: one FMA and one `ex2.approx` per score. The special function unit is ' +
          'the narrow one; a part of the scores can take a cubic polynomial on the FMA pipe instead, which errs ' +
          'by less than 8e-5 where rounding to bfloat16 errs by 2e-3.',
      ],
      [
        'overlap',
        'Clocks that a multiprocessor needs for a tile of 64 queries and 128 keys per warpgroup: the products ' +
          'of a head dimension D alone, the exponentials alone, and both, each warpgroup exponentiating while ' +
          'its own products run, or one warpgroup doing the one and another the other. Full overlap would cost ' +
          'the larger of the two.',
      ],
    ],
  },
  {
    title: 'Memory',
    tables: [
      ['memory', 'GB/s. "L2" reads 24 MiB again and again, "memory" walks through gigabytes once.'],
      [
        'tiles',
        'Tiles as kernels fetch them. TMA boxes are 64 columns of bfloat16 wide: of a tensor of rows alone, of ' +
          'one head of a [tokens, heads, D] tensor of 16 heads, and of one head of a grid of tokens, [Y, X, ' +
          'heads, D] or [Z, Y, X, heads, D], whose tokens nobody has permuted. The gathers load rows of one head ' +
          'by `cp.async`, 16 bytes a thread, in runs whose starts a list names: 8 tokens as in a HiP list, ' +
          'single tokens, and 64.',
      ],
      ['launches', 'Launches:'],
    ],
  },
  {
    title: 'Attention, tile by tile',
    tables: [
      [
        'probe',
        'Two probes that are not part of the library: the plainest kernel with `mma.sync`, and a `wgmma` ' +
          'kernel with a producer warpgroup and the tile sizes that registers and shared memory allow. TFLOP/s ' +
          'of unmasked pairs, bfloat16, 16k tokens of 2048 / D heads. "In turns" lets warpgroups issue their ' +
          'products one after another; "without softmax" is what the same loop takes when scores go into P as ' +
          'they are.',
      ],
    ],
  },
  {
    title: 'What others reach',
    tables: [
      ['products', 'PyTorch in the same run. A matrix product:'],
      [
        'sdpa',
        'Attention through its flash and cuDNN backends, TFLOP/s of unmasked pairs at the same number of tokens:',
      ],
      ['decode', 'One query per head against a long cache, caches cold: GB/s of keys and values.'],
      [
        'flex',
        'flex_attention, compiled, with masks given as code: causal, a causal window of 1024 tokens, and a ' +
          'neighborhood on a grid of 128 × 64 tokens.',
      ],
      ['refused', 'What a backend would not run:'],
    ],
  },
];
