// What `tilewise onnx` prints for people: a table of sites, what explain() says of each kind of them, and a check's outcome.
// Reader: someone who adds a column.

/** Columns as wide as their widest cell. */
function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const pair = (first, second) =>
  first === undefined ? '?' : first === second ? `${first}` : `${first}/${second ?? '?'}`;

const units = ['B', 'kB', 'MB', 'GB'];

/** A number of bytes in at most four characters and its unit. */
function bytes(count) {
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, count)) / 3));
  return `${Number((count / 1000 ** power).toPrecision(3))} ${units[power]}`;
}

const times = (factor) => `${factor.toFixed(2)}x`;

function gain({ least, most }) {
  if (most === undefined) return `${times(least)} or more`;
  return times(least) === times(most) ? times(least) : `${times(least)} to ${times(most)}`;
}

const head = ['node', 'written as', 'heads', 'dim', 'mask', 'swap', 'tokens', 'scores', 'gain'];

const row = ({ node, kind, queryHeads, kvHeads, headDim, valueDim, mask, reason, shape, scoreBytes, ...site }) => [
  ...[node, kind, pair(queryHeads, kvHeads), pair(headDim, valueDim), mask],
  ...(shape
    ? ['yes', pair(shape.queries, shape.keys), bytes(scoreBytes), gain(site.gain)]
    : [site.isSwappable ? 'yes' : `no: ${reason}`, '', '', '']),
];

const legend = [
  'scores: what onnxruntime writes and reads between its products, and a fused call does not',
  'gain: what the mask alone could save at best; a boolean mask is read in a run, and counts when it is causal',
];

/** Sites of one kind, and what explain() says of them, without its picture and why devices are not there. */
function explanations(sites) {
  const groups = new Map();
  for (const { node, explanation } of sites.filter((site) => site.explanation)) {
    const said = String(explanation)
      .split('\n\n')[0]
      .replaceAll(/\n +\(.*\)$/gm, '');
    groups.set(said, [...(groups.get(said) ?? []), node]);
  }
  return [...groups].map(([said, [first, ...others]]) => {
    const more = others.length > 0 ? ` and ${others.length} more` : '';
    return `\n${first}${more}\n${said.replace(/^/gm, '  ')}`;
  });
}

function checked({ tokens, failure, outputs, milliseconds, isSame }) {
  const what = `\ncheck with ${tokens} tokens`;
  if (failure !== undefined) return [`${what}: failed: ${failure}`];
  const rows = outputs.map(({ name, dims, difference, tolerance }) => [
    ...[name, `[${dims.join(', ')}]`, difference.toExponential(1), tolerance.toExponential(1)],
  ]);
  const { whole, fused } = milliseconds;
  return [
    `${what}: ${isSame ? 'the outputs agree' : 'failed: the outputs differ'}`,
    table([['output', 'dims', 'worst difference', 'allowed'], ...rows]),
    `onnxruntime ${whole.toFixed(2)} ms, fused ${fused.toFixed(2)} ms: ${times(whole / fused)}`,
  ];
}

/** @param found what the command found: name, sites, missing files, check */
export function report({ name, sites, missing, check }) {
  const swappable = sites.filter(({ isSwappable }) => isSwappable).length;
  const count = sites.length === 1 ? '1 attention' : `${sites.length} attentions`;
  return [
    `${name}: ${count}, ${swappable} of them swappable`,
    ...(sites.length > 0 ? ['', table([head, ...sites.map(row)])] : []),
    ...(swappable > 0 ? ['', ...legend, ...explanations(sites)] : []),
    ...missing.map((file) => `\n${file} is missing beside the model: onnxruntime cannot load it`),
    ...(check ? checked(check) : []),
  ].join('\n');
}
