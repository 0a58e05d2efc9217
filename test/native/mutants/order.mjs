// Seeded bugs of the attention kernels: the order of copies, barriers and waits, and bounds.
import { mutant } from './mutant.mjs';

const attention = mutant('attention', 'cuda/');

const pipeline = 'attention/sm80/pipeline.h';
const epilogue = 'attention/sm80/epilogue.h';

export const orderMutants = [
  // Order: barriers and waits.
  attention(
    'queries are used before all have been copied',
    pipeline,
    '    if (isFirst) {\n      sync_block();\n    } else {\n',
    '    if (!isFirst) {\n',
  ),
  attention(
    'queries and the first keys of a stream are not waited for',
    pipeline,
    '      fetchKeys();\n      cp_async_wait<0>();\n',
    '      fetchKeys();\n',
  ),
  attention('values are not waited for', pipeline, '    cp_async_wait<0>();\n    if (isMasked)', '    if (isMasked)'),
  attention(
    'one group too many may be missing when values are needed',
    pipeline,
    '    cp_async_wait<0>();\n    if (isMasked)',
    '    cp_async_wait<1>();\n    if (isMasked)',
  ),
  attention(
    'the next keys are not waited for',
    pipeline,
    '    cp_async_wait<0>();\n    if (isFirst)',
    '    if (isFirst)',
  ),
  attention(
    'lanes that do not store the state take no part in the shuffle of warp_id()',
    epilogue,
    'st_shared(Memory::state(row, warp), state.max);',
    'st_shared(Memory::state(row, warp_id()), state.max);',
  ),
  attention(
    'keys are overwritten while others read them',
    pipeline,
    '    L::sync();\n    return false;\n',
    '    return false;\n',
  ),
  attention(
    'keys are overwritten while others read them, in masked visits',
    pipeline,
    'L::syncAny(findNonFinite(L::values(), L::firstOwnKey(), L::kOwnKeys))',
    'findNonFinite(L::values(), L::firstOwnKey(), L::kOwnKeys)',
  ),
  attention(
    'values are overwritten while others read them',
    pipeline,
    '      sync_block();\n    } else {\n      L::sync();\n    }\n  }\n',
    '      sync_block();\n    }\n  }\n',
  ),
  attention(
    'the next keys go where the values are',
    pipeline,
    'copyRows<true>(L::keys(), keyRows_);',
    'copyRows<true>(L::values(), keyRows_);',
  ),
  attention(
    'warps that share keys meet alone',
    'attention/sm80/layout.h',
    '      sync_warp();\n    } else {\n      sync_block();\n    }',
    '      sync_warp();\n    } else {\n      sync_warp();\n    }',
  ),
  attention(
    'lanes of a warp that has its own keys do not meet',
    'attention/sm80/layout.h',
    '      sync_warp();\n    } else {',
    '    } else {',
  ),
  attention('rows leave before all lanes have stored them', epilogue, '  sync_warp();\n'),
  attention(
    'warps merge over keys that others still read',
    epilogue,
    '  sync_block();\n  writeForMerge',
    '  writeForMerge',
  ),
  attention(
    'warps merge before all have stored their sums',
    epilogue,
    '  sync_block();\n#pragma unroll 1\n  for (int row = warp;',
    '#pragma unroll 1\n  for (int row = warp;',
  ),
  attention(
    'half of the lanes stay away from a shuffle',
    'tiles/register_tile.h',
    '  x = max_f32(x, shfl_xor(x, 1));\n',
    '  if (lane_id() < 16) x = max_f32(x, shfl_xor(x, 1));\n',
  ),

  // Bounds.
  attention(
    'one row past the keys of a visit is copied',
    'attention/sm80/copy_rows.h',
    'row = firstRow + r < visit.count ?',
    'row = firstRow + r <= visit.count ?',
  ),
  attention(
    'rows are copied past their dims',
    'attention/sm80/copy_rows.h',
    'const int count = row ? clamp(source.dims - c * kPerChunk, 0, kPerChunk) : 0;',
    'const int count = row ? kPerChunk : 0;',
  ),
  attention(
    'output rows are stored past their dims',
    'attention/sm80/copy_rows.h',
    'const int count = smaller(kPerChunk, p.problem.valueDim - c * kPerChunk);',
    'const int count = kPerChunk;',
  ),
  attention(
    'rows past the last query are stored',
    'attention/queries.h',
    'return {row < count, token, head, {token}};\n  }\n  __device__ __forceinline__ Box<1> box() const { return {{{first, first + count}}}; }',
    'return {true, first + row, head, {token}};\n  }\n  __device__ __forceinline__ Box<1> box() const { return {{{first, first + count}}}; }',
  ),
  attention(
    'partial sums are stored past their dims',
    epilogue,
    'if (column < p.problem.valueDim) to[column] = output.at(slot, block, i);',
    'to[column] = output.at(slot, block, i);',
  ),
  attention(
    'the tiles of keys and values overlap',
    'attention/sm80/layout.h',
    'return {smem_base() + kShared.values};',
    'return {smem_base() + kShared.values - 1024};',
  ),
];
