// Seeded bugs, as data: in `file` the text `find`, which must stand there once, becomes `replace`. Each must be caught by
// some schedule of the emulator.
// Reader: whoever changes a kernel and finds that a mutant no longer applies, or wonders whether a test would notice.

const mutant =
  (family, folder) =>
  (name, file, find, replace = '') => ({ family, name, file: `${folder}${file}`, find, replace });
const attention = mutant('attention', 'cuda/');
const scoreRule = mutant('attention', 'core/score/');
const float32 = mutant('float32', 'cuda/');
const selection = mutant('selection', 'cuda/selection/');
const merge = (name, ...change) => mutant('merge', 'cuda/merge/')(name, 'merge_rows.h', ...change);

const loop = 'attention/sm80/attend.h';
const pipeline = 'attention/sm80/pipeline.h';
const epilogue = 'attention/sm80/epilogue.h';
const scores = 'attention/scores.h';
const visits = 'attention/visits.h';
const nonFinite = 'attention/non_finite.h';
const mma = 'tiles/mma.h';

export const mutants = [
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
    'copyVisit<L::kOwnKeys, L::kGathers>(L::keys(), keyRows_.of(visit_), visit_);',
    'copyVisit<L::kOwnKeys, L::kGathers>(L::values(), keyRows_.of(visit_), visit_);',
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

  // Fragments.
  attention('values are not transposed', mma, 'ldmatrix_x4_trans(b.r', 'ldmatrix_x4(b.r'),
  attention(
    'keys are read in the order of queries',
    mma,
    'return tile.at(first + lane_id() % 8 + lane_id() / 16 * 8, lane_id() / 8 % 2);',
    'return tile.at(first + lane_id() % 16, lane_id() / 16);',
  ),
  attention(
    'products are exchanged',
    mma,
    'mma_m16n16k16<E>(left, right, a.r, b.r);',
    'mma_m16n16k16<E>(right, left, a.r, b.r);',
  ),
  attention('weights of two blocks are mixed', mma, 'p.v[r][2 * step + i / 2];', 'p.v[r][2 * step + i % 2];'),
  attention(
    'weights of two rows are mixed',
    mma,
    'pack2<E>(block[i % 2 * 2], block[i % 2 * 2 + 1]);',
    'pack2<E>(block[i / 2 * 2], block[i / 2 * 2 + 1]);',
  ),
  attention(
    'a chunk is found by adding, not by xor',
    'tiles/shared_tile.h',
    'return (at ^ (2 * pairs',
    'return (at + (2 * pairs',
  ),
  attention('row tiles are too close', 'tiles/shared_tile.h', 'rows * 16 * kPitch', 'rows * 8 * kPitch'),
  attention(
    'a slot counts a wrong row',
    'tiles/register_tile.h',
    'slot % 2 * 8 + lane_id() / 4; }',
    'slot % 2 * 4 + lane_id() / 4; }',
  ),
  attention(
    'a tile is not turned back',
    'tiles/register_tile.h',
    'v[r][kBlocks - By + block][i] = first[block];',
    'v[r][kBlocks - By + block][i] = v[r][block][i];',
  ),

  // float32 as three bfloat16 numbers.
  float32('a number loses its low parts', mma, 'low -= detail::floatOfBits(part << 16);', 'low = 0;'),
  float32(
    'the largest numbers round up to infinity',
    mma,
    'pack2<bf16>(cut(low), cut(high))',
    'pack2<bf16>(low, high)',
  ),
  float32(
    'products of low parts are missing',
    mma,
    'for (int sum = kParts - 1; sum > 0; --sum)',
    'for (int sum = 0; sum > 0; --sum)',
  ),
  float32('small terms are not added', mma, '      right[i] += smallRight[i];\n'),
  float32(
    'even rows are read for odd ones',
    mma,
    'split(b, i, load(at.even), load(at.odd));',
    'split(b, i, load(at.even), load(at.even));',
  ),

  // Softmax.
  attention('sums are not rescaled', 'attention/online_softmax.h', '      sum[slot] *= rescale[slot];\n'),
  attention('outputs are not rescaled', loop, '  output.scaleRows(rescale);\n'),
  attention(
    'half of a quad has another maximum',
    'tiles/register_tile.h',
    '  return max_f32(x, shfl_xor(x, 2));',
    '  return x;',
  ),
  attention(
    'half of a quad is left out of the sum',
    'tiles/register_tile.h',
    '  return x + shfl_xor(x, 2);',
    '  return x;',
  ),
  attention(
    'an empty row subtracts infinity',
    'attention/online_softmax.h',
    'newMax[slot] == -INFINITY ? 0 : newMax[slot] * factor',
    'newMax[slot] * factor',
  ),
  attention(
    'warps are merged without their distance',
    epilogue,
    '      for (int before = 0; before < w; ++before) factor[before] *= f.into;\n',
    '      for (int before = 0; before < w; ++before) factor[before] *= 1;\n',
  ),
  attention(
    'splits are combined without their distance',
    'attention/combine.h',
    'exp2f(p.partialStates[first + split].max - base)',
    'float(p.partialStates[first + split].sum > 0)',
  ),
  attention(
    'every split sees all keys',
    'attention/work.h',
    'if (p.splits > 1) work.clip =',
    'if (p.splits > 1 && work.split > 1000) work.clip =',
  ),

  // NaN and infinity among values that some queries see and others do not.
  attention(
    'nobody looks for NaN among values',
    pipeline,
    'if (isMasked) return L::syncAny(findNonFinite(L::values(), L::firstOwnKey(), L::kOwnKeys));',
    '',
  ),
  attention(
    'NaN is not looked for in every second value',
    'tiles/element.h',
    '(word & kHigh) == kHigh || (sizeof(E) == 2 && (word & kLow) == kLow)',
    '(word & kHigh) == kHigh',
  ),
  attention('NaN reaches rows that do not see it', nonFinite, 'if (seen >> (key % 32) & 1) output.at', 'output.at'),
  attention(
    'NaN stays among the values',
    nonFinite,
    '    zeroNonFinite(L::values(), L::firstOwnKey(), L::kOwnKeys);\n',
  ),
  attention('the neighbour of a NaN is lost', nonFinite, 'x &= 0xffff0000;', 'x = 0;'),
  attention(
    'what rows see is read before all lanes have noted it',
    nonFinite,
    '    sync_warp();\n    addNonFinite',
    '    addNonFinite',
  ),
  attention('NaN is zeroed while others add it', nonFinite, '    L::sync();\n    zeroNonFinite', '    zeroNonFinite'),
  attention(
    'values are used before all NaN among them are zero',
    nonFinite,
    '    zeroNonFinite(L::values(), L::firstOwnKey(), L::kOwnKeys);\n    L::sync();\n',
    '    zeroNonFinite(L::values(), L::firstOwnKey(), L::kOwnKeys);\n',
  ),
  attention('half of a quad says what it sees', nonFinite, '      seen[word] |= shfl_xor(seen[word], 2);\n'),
  attention('all keys are noted among the first 32', nonFinite, 'seen[block / 4]', 'seen[0]'),
  float32('NaN stays among the values', nonFinite, '      if (sizeof(E) == 4) x = 0;\n'),

  // Masks and scores.
  attention('no visit is masked', scores, 'bool isMasked = !visit.isInterior;', 'bool isMasked = false;'),
  attention('keys past the last are seen', scores, 'bool isSeen = column < keys.visit.count;', 'bool isSeen = true;'),
  attention(
    'a key too many is seen',
    scores,
    'bool isSeen = column < keys.visit.count;',
    'bool isSeen = column <= keys.visit.count;',
  ),
  attention(
    'every full visit counts as interior',
    visits,
    'visibleCut(pattern_, sight_, run).interior.size() == Keys;',
    'keys.size() == Keys;',
  ),
  attention(
    'gathered runs that are cut count as whole',
    visits,
    'ballot(isReached && !cut.interior.contains(taken)) == 0',
    'ballot(isReached && cut.interior.contains(taken)) == 0',
  ),
  attention(
    'the rest of a run is taken from its beginning',
    visits,
    'taken_ = last == 0 ? taken_ + part : part;',
    'taken_ = part;',
  ),
  attention('a run is left out when a tile is full', visits, '    index_ += last;\n', '    index_ += last + 1;\n'),
  scoreRule('a mirrored distance has the wrong sign', 'alibi_slopes.h', 'absolute(distance)', 'distance'),
  scoreRule(
    'softcap takes the scale as it is',
    'scale.h',
    'softcap > 0 ? scale / softcap : 0',
    'softcap > 0 ? scale : 0',
  ),
  attention(
    'scores are not turned past what is added',
    scores,
    '    scores.turn();\n  }\n}\n\n// Products of a visit',
    '  }\n}\n\n// Products of a visit',
  ),
  attention(
    'extra keys are those of the first batch entry',
    'attention/sm80/copy_rows.h',
    'extra.offset(sequence.batch, 0,',
    'extra.offset(0, 0,',
  ),
  attention(
    'heads that share a tile are taken for one',
    'attention/queries.h',
    'head + r % headsPerToken, {token}};',
    'head, {token}};',
  ),

  // Selection.
  selection(
    'keys are fetched over those that others read',
    'search.h',
    '    sync_warp();  // nobody reads the rows before these any more\n',
  ),
  selection(
    'fetched keys are not waited for',
    'search.h',
    '    cp_async_commit();\n    cp_async_wait<0>();\n    sync_warp();\n',
    '    cp_async_commit();\n    sync_warp();\n',
  ),
  selection(
    'fetched keys are read before other lanes have them',
    'search.h',
    '    cp_async_wait<0>();\n    sync_warp();\n',
    '    cp_async_wait<0>();\n',
  ),
  selection(
    'a batch of queries is not waited for',
    'search.h',
    '      cp_async_wait<1>();\n',
    '      cp_async_wait<2>();\n',
  ),
  selection(
    'a batch is searched before all have loaded it',
    'search.h',
    '      sync_block();\n      group.searchBatch(batch, buffer, tile, tileEnd);\n',
    '      group.searchBatch(batch, buffer, tile, tileEnd);\n',
  ),
  selection(
    'a batch is overwritten while others search it',
    'search.h',
    '      group.searchBatch(batch, buffer, tile, tileEnd);\n      sync_block();\n',
    '      group.searchBatch(batch, buffer, tile, tileEnd);\n',
  ),
  selection('two batches share a buffer', 'search.h', '      if (isAhead) buffer ^= 1;\n'),
  selection(
    'a quad joins only its neighbours',
    'score_keys.h',
    'for (int mask = 1; mask < 4; mask *= 2)',
    'for (int mask = 1; mask < 2; mask *= 2)',
  ),
  selection(
    'left and right keys are exchanged',
    'score_keys.h',
    '(lane_id() & 8 ? right : left)',
    '(lane_id() & 8 ? left : right)',
  ),
  selection(
    'lanes that do not store the sums take no part in the shuffle of warp_id()',
    'best.h',
    'st_shared(buffer + (warp * kValues + v) * 4, uint32_t(own[v]));',
    'st_shared(buffer + (warp_id() * kValues + v) * 4, uint32_t(own[v]));',
  ),
  selection('sums are read before all warps have them', 'best.h', '    sync_block();\n'),
  selection(
    'sums of two rounds share a buffer',
    'best.h',
    '(turn_ ^= 1) * (kListSharedBytes / 2)',
    '0 * (kListSharedBytes / 2)',
  ),
  selection('of equals all are kept', 'best.h', '(isEqual && e < equals)', 'isEqual'),
  selection('of equals the right half is taken', 'methods.h', 'rightScore > leftScore', 'rightScore >= leftScore'),
  selection(
    'a row is copied past its dims',
    'copy_rows.h',
    'clamp(left, 0, kPerPiece) * int(sizeof(E))',
    'kPerPiece * int(sizeof(E))',
  ),
  selection(
    'one candidate too many is ranked',
    'search.h',
    'if (own < count && lane_id()',
    'if (own <= count && lane_id()',
  ),

  // Merging.
  merge('sums are not rescaled', 'sum[e] = sum[e] * f.into + ', 'sum[e] = sum[e] + '),
  merge('rows of parts that saw nothing are read', '      if (from.sum == 0) continue;'),
  merge(
    'a row is stored past its dims',
    'const int count = smaller(kCount, p.valueDim - first);',
    'const int count = kCount;',
  ),
  merge('rows past the last are merged', '  if (row >= p.rows) return;\n'),
];
