// Turns what first-contact.py measured into bench/results/<card>-{ceilings,yardsticks}.json, charts, and the tables of
// docs/hardware.md, so that no number there is typed.
// Reader: whoever comes back from a card.
//   node bench/hardware/report.mjs results.json    takes a run in, then writes tables and charts
//   node bench/hardware/report.mjs                 writes them again from what is in bench/results
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { NOT_MEASURED } from '../report-table.mjs';
import { writeResult } from '../result-file.mjs';
import { chartsOf } from './charts.mjs';
import { tables } from './tables.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    results: { type: 'string', default: fileURLToPath(new URL('../results/', import.meta.url)) },
    page: { type: 'string', default: fileURLToPath(new URL('../../docs/hardware.md', import.meta.url)) },
  },
});

const isYardstick = (row) => /^(torch|refused|stopped)/.test(row.group);
const shortName = (card) => /\b([A-Z]{1,3}\d{2,4}\w*)\b/.exec(card.replace(/NVIDIA|GeForce/g, ''))[1].toLowerCase();

/** What nvidia-smi said while a step ran: medians, and the range of the clock. */
function stateDuring({ begin, seconds }, samples) {
  const during = samples.filter(({ second }) => second >= begin + 0.5 && second <= begin + (seconds ?? 0));
  const numbers = (name) =>
    during
      .map((sample) => Number.parseFloat(sample[name]))
      .filter(Number.isFinite)
      .sort((a, b) => a - b);
  const [clock, power, heat] = ['clocks.sm', 'power.draw', 'temperature.gpu'].map(numbers);
  if (clock.length === 0) return {};
  const middle = (list) => list[Math.floor(list.length / 2)];
  return {
    clockMHz: { median: middle(clock), least: clock[0], most: clock.at(-1) },
    watts: { median: middle(power), most: power.at(-1) },
    degreesC: { most: heat.at(-1) },
  };
}

function takeIn(file) {
  const { machine, steps, rows, samples } = JSON.parse(readFileSync(file, 'utf8'));
  const card = rows.find((row) => row.group === 'card') ?? { name: samples[0]?.name };
  if (!card.name) throw new Error(`${file} does not say which card it is from`);
  const { driver_version: driver, 'clocks.max.sm': mostMHz, 'power.limit': watts } = samples[0] ?? {};
  const about = { ...machine, card: { ...card, driver, clockMHzMost: Number(mostMHz), wattsMost: Number(watts) } };
  const described = steps.map((step) => ({ ...step, ...stateDuring(step, samples) }));
  const name = shortName(card.name);
  const kept = rows.filter((row) => row.group !== 'card');
  const write = (kind, wanted) =>
    writeResult(`${options.results}/${name}-${kind}.json`, {
      machine: about,
      steps: described,
      rows: kept.filter(wanted),
    });
  write('ceilings', (row) => !isYardstick(row));
  write('yardsticks', isYardstick);
}

function readCards() {
  const names = readdirSync(options.results).map((file) => /^(\w+)-(ceilings|yardsticks)\.json$/.exec(file)?.[1]);
  return [...new Set(names)].filter(Boolean).map((name) => {
    const parts = ['ceilings', 'yardsticks']
      .map((kind) => `${options.results}/${name}-${kind}.json`)
      .filter(existsSync)
      .map((file) => JSON.parse(readFileSync(file, 'utf8')));
    return { name, machine: parts[0].machine, steps: parts[0].steps, rows: parts.flatMap((part) => part.rows) };
  });
}

function fillPage(cards) {
  const filled = (_, open, name) => {
    if (!tables[name])
      throw new Error(`${options.page} asks for a table '${name}'; there are ${Object.keys(tables).join(', ')}`);
    const texts = cards.map((card) => [card, tables[name](card)]).filter(([, text]) => text);
    const body = texts
      .map(([card, text]) => `${cards.length > 1 ? `${card.machine.card.name}\n\n` : ''}${text}`)
      .join('\n\n');
    return `${open}\n\n${body || NOT_MEASURED}\n\n<!-- end -->`;
  };
  const page = readFileSync(options.page, 'utf8');
  writeFileSync(options.page, page.replace(/(<!-- measured: (\w+) -->)[\s\S]*?<!-- end -->/g, filled));
  console.log(`filled ${options.page}`);
}

if (positionals.length > 0) takeIn(positionals[0]);
const cards = readCards();
fillPage(cards);
for (const card of cards)
  for (const { name, svg } of chartsOf(card)) writeResult(`${options.results}/${card.name}-${name}.svg`, svg);
