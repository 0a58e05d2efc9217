// The figures this project holds itself to, each checked against a result file.
// Reader: someone who asks whether it is fast enough, and whoever wants to raise the bar.

export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const times = (ratio) => `${ratio.toFixed(2)}x`;
export const ofFma = (row) => row.gflops / row.peaks.fma;
const ofBandwidth = (row) => row.gbps / row.peaks.bandwidth;

function least(rows, figureOf) {
  return rows.reduce((worst, row) => (worst === undefined || figureOf(row) < figureOf(worst) ? row : worst), undefined);
}

/**
 * @typedef {object} Target
 * @property {string} text @property {string} measured @property {boolean | null} isMet null: not measured
 * @property {number} [short] share of the bar that is missing, 0 when it is met
 */

/**
 * "At least `bar`" for the worst of the rows.
 * @returns {Target}
 */
export function atLeast(text, bar, rows, figureOf, show) {
  const worst = least(rows, figureOf);
  if (!worst) return { text: `${text}: at least ${show(bar)}`, measured: 'not measured', isMet: null };
  const value = figureOf(worst);
  const noise = worst.isQuiet === false ? ', noisy' : '';
  return {
    text: `${text}: at least ${show(bar)}`,
    measured: `${show(value)} (${worst.name}${noise})`,
    isMet: value >= bar,
    short: Math.max(0, 1 - value / bar),
  };
}

function prefillTargets(rows) {
  const sets = [...new Set(rows.filter((r) => r.group === 'prefill').map((r) => r.instructionSet))];
  return sets.flatMap((set) => {
    const ours = rows.filter((r) => r.instructionSet === set);
    const long = (headDim) => ours.filter((r) => r.group === 'prefill' && r.headDim === headDim && r.keys >= 2048);
    const short = ours.filter((r) => r.group === 'short' && !r.causal);
    return [
      atLeast(
        `${set}: prefill float32, D=128, N >= 2048, dense and causal, of the FMA peak`,
        0.84,
        long(128),
        ofFma,
        percent,
      ),
      atLeast(
        `${set}: prefill float32, D=64, N >= 2048, dense and causal, of the FMA peak`,
        0.82,
        long(64),
        ofFma,
        percent,
      ),
      atLeast(`${set}: N = 128..512, dense, one thread, of the FMA peak`, 0.75, short, ofFma, percent),
    ];
  });
}

function storageTarget(rows) {
  const storage = rows.filter((r) => r.group === 'storage');
  const same = (a, b) => ['headDim', 'keys', 'causal', 'instructionSet'].every((key) => a[key] === b[key]);
  const pairs = storage
    .filter((r) => r.dtype !== 'float32')
    .map((row) => ({ row, full: storage.find((r) => r.dtype === 'float32' && same(r, row)) }))
    .filter(({ full }) => full)
    .map(({ row, full }) => ({ name: row.name, speed: full.ms.median / row.ms.median }));
  // 3 % more time is 1/1.03 of the speed.
  return atLeast("float16 and bfloat16, of float32's speed", 1 / 1.03, pairs, (p) => p.speed, percent);
}

/** Rows of many dims against the one of 128 that the same run measured just before. */
function manyDimsTarget(rows) {
  const many = rows.filter((r) => r.group === 'many dims');
  const pairs = many
    .filter((r) => r.headDim > 128)
    .map((row) => {
      const same = (r) => r.headDim === 128 && r.dtype === row.dtype && r.instructionSet === row.instructionSet;
      return { name: row.name, share: row.gflops / many.find(same).gflops };
    });
  return atLeast('prefill, D = 576/512 and 1536, of the FLOP rate of D = 128', 0.75, pairs, (p) => p.share, percent);
}

function decodeTargets(rows, machine) {
  const at32k = rows.filter(
    (r) =>
      r.group === 'decode' &&
      r.keys === 32768 &&
      r.threads === machine.threads &&
      r.instructionSet === machine.defaultInstructionSet,
  );
  const mha = (isFull) => at32k.filter((r) => r.kind === 'MHA' && (r.dtype === 'float32') === isFull);
  const grouped = at32k.filter((r) => r.kind !== 'MHA' && r.dtype === 'float16');
  // Whichever ceiling binds: the better of the two shares, each relative to its own bar.
  const binding = (r) => Math.max(ofFma(r) / 0.65, ofBandwidth(r) / 0.75);
  return [
    atLeast('decode 32k keys, MHA float32, of read bandwidth', 0.8, mha(true), ofBandwidth, percent),
    atLeast('decode 32k keys, MHA float16 and bfloat16, of read bandwidth', 0.7, mha(false), ofBandwidth, percent),
    atLeast('decode 32k keys, GQA 8:1 float16, of 65 % of FMA peak or 75 % of bandwidth', 1, grouped, binding, percent),
  ];
}

function callTarget(rows) {
  const calls = rows.filter((r) => r.group === 'call' && r.call === 'sync');
  const slowest = calls.sort((a, b) => b.ms.median - a.ms.median)[0];
  const text = 'one synchronous call at N=1, D=64: at most 30 µs';
  if (!slowest) return { text, measured: 'not measured', isMet: null };
  return {
    text,
    measured: `${(1000 * slowest.ms.median).toFixed(1)} µs (${slowest.name})`,
    isMet: slowest.ms.median <= 0.03,
  };
}

/** @returns {Target[]} of a result of bench/suites/run.mjs */
export function speedTargets({ machine, rows }) {
  return [
    ...prefillTargets(rows),
    storageTarget(rows),
    manyDimsTarget(rows),
    ...decodeTargets(rows, machine),
    callTarget(rows),
  ];
}

/** The same for a result of bench/suites/peers.mjs. */
export function peerTargets({ rows }) {
  const ratio = (r) => r.ratio;
  const peers = rows.filter((r) => !r.contender.startsWith('tilewise'));
  const isTorch = (r) => r.contender.startsWith('PyTorch');
  const onnx = peers.filter((r) => !r.pattern && !isTorch(r));
  const at = (test) => onnx.filter((r) => r.dtype === 'float32' && test(r));
  const full = at((r) => r.queries === 4096 && !r.causal);
  const causal = at((r) => r.queries === 4096 && r.causal);
  const named = (list, ...names) => list.filter((r) => names.some((name) => r.contender.startsWith(name)));
  const decode = at((r) => r.queries === 1 && r.keys === 16384);
  const torch = peers.filter((r) => !r.pattern && isTorch(r));
  const against = (list) => list.map((r) => ({ ...r, name: `${r.contender}, ${r.name}` }));
  return [
    atLeast("full 4096, against onnxruntime's fastest", 1.2, against(full), ratio, times),
    atLeast(
      'causal 4096, against Attention and MultiHeadAttention',
      2.8,
      against(named(causal, 'Attention', 'MultiHead')),
      ratio,
      times,
    ),
    atLeast('causal 4096, against GroupQueryAttention', 1.6, against(named(causal, 'GroupQuery')), ratio, times),
    atLeast("decode 16k keys, against onnxruntime's fastest", 1.7, against(decode), ratio, times),
    atLeast('every shape, against PyTorch', 1, against(torch), ratio, times),
    ...patternTargets(peers.filter((r) => r.pattern).map((r) => ({ ...r, name: `${r.contender}, ${r.name}` }))),
  ];
}

/** Peers compute the dense product of a pattern: we should be faster by as much as it is more. */
function patternTargets(rows) {
  const ofRatio = (r) => r.ratio / r.flopRatio;
  const against = (kind, test) => rows.filter((r) => r.pattern.kind === kind && test(r.contender));
  const isSparse = (contender) => contender === 'SparseAttention';
  const isTorch = (contender) => contender.startsWith('PyTorch');
  const isOnnx = (contender) => !isTorch(contender);
  return [
    atLeast(
      "S2, against onnxruntime's SparseAttention, of the FLOP ratio",
      1,
      against('s2', isSparse),
      ofRatio,
      percent,
    ),
    atLeast('S2, against PyTorch with a mask, of the FLOP ratio', 1, against('s2', isTorch), ofRatio, percent),
    atLeast(
      "neighborhood, against onnxruntime's fastest with a mask, of the FLOP ratio",
      1,
      against('neighborhood', isOnnx),
      ofRatio,
      percent,
    ),
    atLeast(
      'neighborhood, against PyTorch with a mask, of the FLOP ratio',
      1,
      against('neighborhood', isTorch),
      ofRatio,
      percent,
    ),
  ];
}
