// Seeded bugs of how attention kernels read quantised keys and values.
import { mutant } from './mutant.mjs';

const attention = mutant('attention', 'cuda/attention/sm80/');
const codes = (name, ...change) => attention(name, 'coded_rows.h', ...change);

export const codeMutants = [
  codes('the codes of the next row are read', 'codes_(rows.row(0))', 'codes_(rows.row(1))'),
  codes('scales are those of the first row', 'scales_(rows.scales + rows.scaleAt(0, 0))', 'scales_(rows.scales)'),
  codes('minima are taken for scales', 'min = mins()[at]', 'min = scale'),
  codes('codes of a chunk follow their channels', 'codes_ + form_.byteOf(channel)', 'codes_ + channel'),
  codes(
    'codes of a byte are not told apart',
    'form_.byteOf(channel)) >> form_.bitOf(channel)',
    'form_.byteOf(channel))',
  ),
  codes('codes keep the bits above them', 'word >> 8 * i & mask()', 'word >> 8 * i & 0xff'),
  codes('minima of keys are left out', 'x[i] * scale.element[i] + min.element[i]', 'x[i] * scale.element[i]'),
  codes('four channels always share a scale', 'form_.group % 4 == 0', 'true'),
  codes('the second half of a piece repeats the first', 'read(x, channel + i)', 'read(x, channel)'),
  codes('lanes leave out chunks', 'c += 32 / Own) {', 'c += 64 / Own) {'),
  codes('values have codes where keys do', 'codes.has(AreKeys, b, token)', 'codes.has(true, b, token)'),
  codes('exact keys are taken for codes', 'codes.has(AreKeys, b, token)', 'token < 1 + codes.ends(AreKeys)[b]'),
  codes('codes are those of the first head', 'p.problem.kvHeadOf(work.map.firstHead), token)', '0, token)'),
  codes('codes are those of the first sequence', 'const int64_t b = work.sequence.keyBatch;', 'const int64_t b = 0;'),
  attention('codes are looked at before other lanes have written them', 'pipeline.h', 'if (isMasked) sync_warp();', ''),
  attention(
    'extra keys are taken for codes',
    'pipeline.h',
    'params_.problem.store.codes && !visit_.template isOfExtras<false>()',
    'params_.problem.store.codes',
  ),
];
