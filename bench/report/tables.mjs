// Markdown tables and the cells that all of them share.
// Reader: whoever adds a section to report.mjs.

export const NOT_MEASURED = 'not measured';

export const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : '');
const digits = (x) => (x < 0.1 ? x.toFixed(4) : x < 10 ? x.toFixed(2) : x.toFixed(1));
const milliseconds = ({ median, min, max }) => `${digits(median)} (${digits(min)} .. ${digits(max)})`;
export const samples = ({ quiet, tried, isQuiet }) => `${quiet}/${tried}${isQuiet ? '' : ' noisy'}`;

/** A Markdown table; columns are [title, row => cell]. */
export function table(rows, columns) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const titles = columns.map(([title]) => title);
  return [
    line(titles),
    line(titles.map(() => '---')),
    ...rows.map((row) => line(columns.map(([, cell]) => cell(row)))),
  ].join('\n');
}

export const speedColumns = [
  ['ms: median (min .. max)', (r) => milliseconds(r.ms)],
  ['GFLOP/s', (r) => (r.gflops ? r.gflops.toFixed(1) : '')],
  ['of FMA peak', (r) => (r.gflops ? percent(r.gflops, r.peaks.fma) : '')],
  ['quiet samples', samples],
];

export function targetTable(targets) {
  const missing = ({ short }) => (short ? `, ${percent(short, 1)} short` : '');
  const verdict = (t) => (t.isMet === null ? NOT_MEASURED : t.isMet ? 'yes' : `no${missing(t)}`);
  return table(targets, [
    ['target', (t) => t.text],
    ['measured, worst case', (t) => t.measured],
    ['met', verdict],
  ]);
}

export const list = (lines) => lines.map((line) => `- ${line}`).join('\n');
export const heading = (title, intro, body) => `## ${title}\n\n${intro ? `${intro}\n\n` : ''}${body || NOT_MEASURED}`;
