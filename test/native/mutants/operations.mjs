// Seeded bugs of the kernels of all operations but attention.
import { mutant } from './mutant.mjs';

const selection = mutant('selection', 'cuda/selection/');
const merge = (name, ...change) => mutant('merge', 'cuda/merge/')(name, 'merge_rows.h', ...change);
const append = (name, ...change) => mutant('append', 'cuda/append/')(name, 'append_rows.h', ...change);
const rotary = (name, ...change) => mutant('rotary', 'cuda/rotary/')(name, 'rotate_rows.h', ...change);

const best = mutant('selection', 'cuda/tiles/');
const linear = mutant('linear', 'cuda/linear/');
const stats = mutant('stats', 'cuda/stats/');
const localLinear = mutant('local_linear', 'cuda/local_linear/');
const summary = (name, ...change) => mutant('summary', 'cuda/summary/')(name, 'summarise.h', ...change);
const encode = mutant('encode', 'cuda/encode/');
const delta = (name, ...change) => mutant('delta', 'cuda/delta/')(name, 'scan.h', ...change);
const cumulative = (name, ...change) => mutant('cumulative', 'cuda/cumulative/')(name, 'scan_tokens.h', ...change);

export const operationMutants = [
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
  best(
    'lanes that do not store the sums take no part in the shuffle of warp_id()',
    'best.h',
    'st_shared(buffer + (warp * kValues + v) * 4, uint32_t(own[v]));',
    'st_shared(buffer + (warp_id() * kValues + v) * 4, uint32_t(own[v]));',
  ),
  best('sums are read before all warps have them', 'best.h', '    sync_block();\n'),
  best(
    'sums of two rounds share a buffer',
    'best.h',
    '(turn_ ^= 1) * (kListSharedBytes / 2)',
    '0 * (kListSharedBytes / 2)',
  ),
  best('of equals all are kept', 'best.h', '(isEqual && e < equals)', 'isEqual'),
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
  merge('sinks are left out', 'finishRow(state, p.sink(head))', 'finishRow(state, nullptr)'),
  merge('rows past the last are merged', '  if (row >= p.rows) return;\n'),

  // Appending.
  append('rows past the last are appended', '  if (row >= p.rows() * p.heads) return;\n'),
  append('rows without a slot are kept', '  if (!p.slots.keeps(index)) return;\n'),
  append(
    'heads are written over each other',
    'p.slots.offset(rows.to, index, head)',
    'p.slots.offset(rows.to, index, 0)',
  ),
  append('rows of other strides move whole', 'if (params.copiesWhole)', 'if (p.from == p.to)'),
  append('the end of a row is left out', 'at < bytes', 'at + 16 < bytes'),

  // Rotary embedding.
  rotary('pairs are rotated the other way', 'x.a * cosine - x.b * sine', 'x.a * cosine + x.b * sine'),
  rotary('heads share their rotations', ' + head * p.rotations.head'),
  rotary('batch entries share their rotations', 'batch * p.rotations.batch + '),
  rotary(
    'a half is rotated past its pairs',
    'const int count = smaller(kCount, pairs - first);',
    'const int count = kCount;',
  ),
  rotary('partners are neighbours', 'high = load(pairs + first, count)', 'high = load(1 + first, count)'),
  rotary('dims behind the pairs are left out', '    return row.copy(', '    return; row.copy('),
  rotary('pieces past the last are rotated', '  if (at >= p.work) return;\n'),

  // Cumulative attention.
  cumulative('values of hidden tokens are read', 'score[i] != -INFINITY ? RowPiece', 'exists ? RowPiece'),
  cumulative('tokens count twice at the end of a chunk', '      chunk = {};\n'),
  cumulative(
    'groups begin with nothing',
    'storeSum(carried, column, params.begin(task, group));',
    'storeSum({}, column, params.begin(task, group));',
  ),
  cumulative(
    'a state is overwritten while others read it',
    '  sync_block();  // the state before may be in the same place\n',
  ),
  cumulative('the state before is left out', 'doesWrite && p.before.max && exists', 'false'),

  // The gated delta rule.
  delta('what is taken up is not weighed', '    Products::scaleByRow(sums, kBeta);\n'),
  delta(
    'what the state says does not decay',
    '    if (p_.decay.data) Products::scaleByRow(sums, ChunkRows::kFromStart);\n',
  ),
  delta('blocks do not know those before them', 'x = sums.at(slot, column, i) - x;', 'x = sums.at(slot, column, i);'),
  delta(
    'an inverse is written over what others read',
    '    sync_block();\n    if (takesPart) {',
    '    if (takesPart) {',
  ),
  delta('queries keep their length', 'p_.hasUnitRows ? inverseRoot(quadSum(squares) + 1e-6f) : 1', '1'),
  delta('value heads share the first key head', 'p_.keyHead(head_)', '0'),
  delta(
    'a block reads the rows of another before they are there',
    '      sync_block();\n    }\n  }\n\n  // The diagonal',
    '    }\n  }\n\n  // The diagonal',
  ),

  // Local linear attention.
  localLinear(
    'keys are overwritten while others read them',
    'key_passes.h',
    '      sync_block();  // nobody reads the tiles of before any more\n',
  ),
  localLinear(
    'columns are written over keys that others read',
    'key_passes.h',
    '    sync_block();  // nobody reads the keys any more\n',
  ),
  localLinear('a direction stays after it has changed', 'solve.h', '    Base::loaded_ = 1;\n'),
  localLinear('queries stay that are of another tile', 'key_passes.h', '    loaded_ = 0;\n'),
  localLinear('a row meets what it does not see', 'key_passes.h', 'if (key < seen[slot]) sum', 'sum'),
  localLinear(
    'half of a row is its base',
    'solve.h',
    'numbers_.load(RowNumbers::kMaxima + 1, row)',
    'numbers_.load(RowNumbers::kMaxima, row)',
  ),
  localLinear('outputs are not centred', 'key_passes.h', 'kind > Pass::along ?', 'kind == Pass::covariance ?'),
  localLinear('the ridge is left out', 'solve.h', '      x.add(p_.lambda, along);\n'),
  localLinear(
    'rows go on when they are done',
    'solve.h',
    'const bool isActive = size_ > enough_;',
    'const bool isActive = true;',
  ),
  localLinear(
    'the first strip is summed twice',
    'key_passes.h',
    'const int first = firstColumn + strip * kStripDims;',
    'const int first = firstColumn;',
  ),

  // Statistics.
  stats(
    'a tile is overwritten while others read it',
    'score_tile.h',
    '      sync_block();  // nobody reads the tiles of before any more\n',
  ),
  stats('keys stay that are of another tile', 'columns.h', '    Base::forget();\n'),
  stats(
    'queries of the next block count',
    'columns.h',
    'if (query + Base::rowOf(slot) >= end) return;',
    'if (query + Base::rowOf(slot) >= end + 1) return;',
  ),
  stats(
    'blocks take keys of the next one',
    'columns.h',
    'smaller<Token>(from + Base::p_.blockKeys, kStatsTile)',
    'smaller<Token>(from + Base::p_.blockKeys + 1, kStatsTile)',
  ),
  stats('sums are overwritten before they are read', 'columns.h', '      sync_block();  // sums are overwritten\n'),
  stats('a query sees one key more', 'score_tile.h', 'column < seen[slot] ?', 'column <= seen[slot] ?'),
  stats(
    'keys before the first count',
    'score_tile.h',
    'const int first = larger(0, -key);',
    'const int first = larger(-64, -key - 1);',
  ),
  stats(
    'the second half of a row is left out',
    'rows.h',
    '      merge(state_[slot], SoftmaxState{ld_shared_f32(at), ld_shared_f32(at + 4)});\n',
  ),
  stats(
    'halves meet before they are there',
    'rows.h',
    '    sync_block();\n#pragma unroll\n    for (int slot = 0; slot < 2; ++slot) {\n      const Token query',
    '#pragma unroll\n    for (int slot = 0; slot < 2; ++slot) {\n      const Token query',
  ),
  stats(
    'a diagonal begins a row late',
    'diagonals.h',
    'larger(quarter * kQuarter, -column)',
    'larger(quarter * kQuarter, 1 - column)',
  ),
  stats(
    'the tile of a diagonal is read before it is there',
    'diagonals.h',
    "        sync_block();  // score() has the one before the next tile's\n",
  ),
  stats(
    'of equal scores the later key comes first',
    'top_keys.h',
    'tokens[low] < tokens[high]',
    'tokens[low] > tokens[high]',
  ),
  stats(
    'the network does not mirror',
    'top_keys.h',
    '(low / size + 1) * size - 1 - low % size : low + half',
    'low + half : low + half',
  ),
  stats(
    'keys that nobody sees are kept',
    'top_keys.h',
    'smaller<int32_t>(p.topK, seen)',
    'smaller<int32_t>(p.topK, p.keys)',
  ),
  summary(
    'the last keys are left out',
    'if (first + i >= run.count) continue;',
    'if (first + i + 1 >= run.count && first > 0) continue;',
  ),
  summary('means are sums', 'sum * (1.0f / float(run.count))', 'sum'),
  summary('heads share the first', 'p.key.offset(run.batch, run.first, head)', 'p.key.offset(run.batch, run.first, 0)'),

  // Codes.
  encode('codes are made before all scales are there', 'encode_rows.h', '    sync_block();\n'),
  encode(
    'the last number of a group does not count',
    'encode_rows.h',
    'i < form.group; ++i',
    'i + 1 < form.group; ++i',
  ),
  encode('infinite numbers count', 'encode_rows.h', '      flaw += x * 0;\n'),
  encode('channels that fill a row up have codes', 'packed_codes.h', 'if (channel + b < form.dim) packed', 'packed'),
  encode('rows of a run begin at the block', 'encode_rows.h', 'to_.row(run_.first + row)', 'to_.row(row)'),
  encode('blocks that lose bits keep their scales', 'narrow_blocks.h', '[i] * factor', '[i]'),
  encode('all codes lose as many bits', 'narrow_blocks.h', 'wide, d), wide.bits,', 'wide, d), 8,'),

  // Linear attention.
  linear('later keys have a score', 'scan.h', 'x = column <= row ? x : 0;', 'x = column <= row + 1 ? x : 0;'),
  linear(
    'later values count where one is not finite',
    'chunk_products.h',
    '    if (areFinite) {\n',
    '    if (true) {\n',
  ),
  linear(
    'the scores take the place of queries that others read',
    'scan.h',
    '    sync_block();  // nobody reads the queries any more, whose place the scores take\n',
  ),
  linear('a token decays before it is seen', 'decays.h', 'i == 0 ? ofLeft : sum', 'i == 0 ? before : ofLeft'),
  linear('sums of decays lose their second half', 'decays.h', 'return {sum, low - (sum - high)};', 'return {sum, 0};'),
  linear('states do not decay', 'chunk_products.h', 'x = kept * ld_shared_f32(', 'x = ld_shared_f32('),
  linear('keys do not decay to the end of their chunk', 'rows.h', ' * rows.load(ChunkRows::kToEnd, i / kStripDims)'),
  linear(
    'outputs do not decay from the start of their chunk',
    'scan.h',
    '      Products::scaleByRow(output, ChunkRows::kFromStart);\n',
  ),
  linear(
    'query heads share the first one',
    'scan.h',
    'work_.head * p_.headsPerState + h',
    'work_.head * p_.headsPerState',
  ),
  linear(
    'groups begin with what they leave',
    'carry.h',
    'st_global(slot + at, carried);',
    'st_global(slot + at, left);',
  ),
  linear('groups do not decay', 'carry.h', 'fmaf(carried, kept, left)', 'carried + left'),
  linear(
    'the normalizer does not begin with what is given',
    'scan.h',
    'begin.normalizer && f < p_.features ?',
    'false ?',
  ),
  linear('rows are divided by the sums of half of their keys', 'scan.h', ' + rows_.load(kOtherScores, row)'),
  linear('a feature of taylor2 has the wrong factor', 'rows.h', 'a == b ? p.taylorSquare :', 'a == b ? p.taylorRoot :'),
  linear('columns past the last are written', 'chunk_products.h', ' || column >= columns'),
  linear('rows past the last are written', 'chunk_products.h', 'ownRow() + slot * 8 >= n || '),
];
