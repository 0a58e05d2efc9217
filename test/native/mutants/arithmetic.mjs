// Seeded bugs of the attention kernels: fragments, float32 products, softmax, values that are not finite, masks and scores.
import { mutant } from './mutant.mjs';

const attention = mutant('attention', 'cuda/');
const scoreRule = mutant('attention', 'core/score/');
const float32 = mutant('float32', 'cuda/');

const loop = 'attention/sm80/attend.h';
const pipeline = 'attention/sm80/pipeline.h';
const epilogue = 'attention/sm80/epilogue.h';
const scores = 'attention/scores.h';
const visits = 'attention/visits.h';
const effects = 'attention/rule_effects.h';
const nonFinite = 'attention/non_finite.h';
const mma = 'tiles/mma.h';

export const arithmeticMutants = [
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
    'weightOf(p.partialStates[first + split].max, base)',
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
  attention('queries keep their length', scores, '*= ofQuery * ofKey[i]', '*= ofKey[i]'),
  attention('lengths are those of keys in a row', scores, 'keys.at(column).token];', 'column];'),
  attention('a row has the lengths of a lane', 'attention/row_lengths.h', '  squares.join();\n'),
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
  attention('the last key of a part is taken again', visits, '+ visit.count;', '+ visit.count - 1;'),
  attention('a run is left out when a tile is full', visits, '    index_ += last;\n', '    index_ += last + 1;\n'),
  attention('runs behind a gap do not wait', visits, 'lane <= lowestBit(cutShort) ?', 'true ?'),
  attention('what is behind a gap is left out', visits, 'if (total < Keys && cutShort == 0)', 'if (total < Keys)'),
  attention(
    'pieces hidden from some rows are left out',
    effects,
    'hidden = ballot(ofPiece == RuleEffect::hidesAll)',
    'hidden = ballot(ofPiece != RuleEffect::none)',
  ),
  attention(
    'hidden keys among seen ones are seen',
    effects,
    'unchanged = ballot(ofPiece == RuleEffect::none)',
    'unchanged = ballot(ofPiece != RuleEffect::hidesAll)',
  ),
  attention('half of a piece is looked at', effects, 'step < kLanes;', 'step < kLanes / 2;'),
  attention(
    'entries have the effects of the first',
    'attention/params.h',
    '    if (effects.isPerSequence) row += first * uint32_t(effects.maps);\n',
  ),
  scoreRule('a mirrored distance has the wrong sign', 'alibi_slopes.h', 'absolute(distance)', 'distance'),
  attention(
    'softcap takes products without their scale',
    scores,
    'tanhf(scores.at(slot, 0, i) * scale.inCap)',
    'tanhf(scores.at(slot, 0, i))',
  ),
  attention(
    'scores are not rotated past what is added',
    scores,
    '    scores.rotate();\n  }\n}\n\n// Whether the rules change',
    '  }\n}\n\n// Whether the rules change',
  ),
  attention(
    'lists add to one column of two',
    scores,
    'for (int i = 0; i < 2; ++i) {\n      const int column = firstColumn + Tile::column(block, i);\n      if (column >= keys',
    'for (int i = 0; i < 1; ++i) {\n      const int column = firstColumn + Tile::column(block, i);\n      if (column >= keys',
  ),
  attention(
    'lists add to extra keys',
    scores,
    'pattern.hasAddends() && !visit.isOfExtras<L::Pattern::kIsGrid>()',
    'pattern.hasAddends()',
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
];
