// Line charts as SVG text: one function, no dependency.
// Reader: someone who adds a chart. x is logarithmic (base 2), y starts at 0.

const WIDTH = 760;
const HEIGHT = 420;
const MARGIN = { top: 62, right: 210, bottom: 52, left: 64 };
// Okabe & Ito's palette, told apart with any kind of colour vision.
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000', '#8c8c00'];

const escapeXml = (text) => String(text).replace(/[<>&"]/g, (c) => `&#${c.charCodeAt(0)};`);
const thousands = (n) => (n >= 1024 && n % 1024 === 0 ? `${n / 1024}k` : String(n));

/** A step of 1, 2 or 5 times a power of ten that divides `max` into about five. */
function niceStep(max) {
  const rough = max / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= rough);
}

/**
 * @param {object} chart
 * @param {string} chart.title @param {string} chart.subtitle
 * @param {string} chart.xLabel @param {string} chart.yLabel
 * @param {{name: string, points: [number, number][], isDashed?: boolean}[]} chart.series x > 0, in ascending order
 * @param {number} [chart.yMax] default: a little above the largest y
 * @returns {string} the SVG document
 */
export function lineChart({ title, subtitle, xLabel, yLabel, series, yMax }) {
  const points = series.flatMap((s) => s.points);
  const xs = [...new Set(points.map(([x]) => x))].sort((a, b) => a - b);
  const top = yMax ?? Math.max(...points.map(([, y]) => y)) * 1.08;
  const inner = { width: WIDTH - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const span = Math.log2(xs.at(-1) / xs[0]) || 1;
  const px = (x) => (MARGIN.left + (Math.log2(x / xs[0]) / span) * inner.width).toFixed(1);
  const py = (y) => (MARGIN.top + (1 - y / top) * inner.height).toFixed(1);
  const right = MARGIN.left + inner.width;
  const bottom = MARGIN.top + inner.height;

  const step = niceStep(top);
  const yTicks = Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, i) => i * step);
  const grid = yTicks.map(
    (y) =>
      `<line x1="${MARGIN.left}" x2="${right}" y1="${py(y)}" y2="${py(y)}" stroke="#e3e3e3"/>` +
      `<text x="${MARGIN.left - 8}" y="${py(y)}" dy="0.35em" text-anchor="end">${+y.toPrecision(6)}</text>`,
  );
  const ticks = xs.map(
    (x) =>
      `<line x1="${px(x)}" x2="${px(x)}" y1="${bottom}" y2="${bottom + 5}" stroke="#666"/>` +
      `<text x="${px(x)}" y="${bottom + 19}" text-anchor="middle">${thousands(x)}</text>`,
  );
  const lines = series.map(({ name, points, isDashed }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const dash = isDashed ? ' stroke-dasharray="6 4"' : '';
    const path = points.map(([x, y], j) => `${j ? 'L' : 'M'}${px(x)} ${py(y)}`).join('');
    const dots = points.map(([x, y]) => `<circle cx="${px(x)}" cy="${py(y)}" r="3" fill="${colour}"/>`).join('');
    const legend = MARGIN.top + 10 + 20 * i;
    return (
      `<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>${isDashed ? '' : dots}` +
      `<line x1="${right + 16}" x2="${right + 40}" y1="${legend}" y2="${legend}" stroke="${colour}" stroke-width="2"${dash}/>` +
      `<text x="${right + 46}" y="${legend}" dy="0.35em">${escapeXml(name)}</text>`
    );
  });

  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="#333">`,
    `<title>${escapeXml(title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    `<text x="${MARGIN.left}" y="24" font-size="16" font-weight="bold">${escapeXml(title)}</text>`,
    `<text x="${MARGIN.left}" y="44" fill="#666">${escapeXml(subtitle)}</text>`,
    ...grid,
    `<line x1="${MARGIN.left}" x2="${right}" y1="${bottom}" y2="${bottom}" stroke="#666"/>`,
    ...ticks,
    `<text x="${MARGIN.left + inner.width / 2}" y="${HEIGHT - 12}" text-anchor="middle">${escapeXml(xLabel)}</text>`,
    `<text transform="translate(16 ${MARGIN.top + inner.height / 2}) rotate(-90)" text-anchor="middle">${escapeXml(yLabel)}</text>`,
    ...lines,
    '</svg>',
    '',
  ].join('\n');
}
