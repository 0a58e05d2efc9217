// Turns what first-contact.py measured into bench/results/<card>-{ceilings,yardsticks}.json, charts, and the tables of
// docs/measurements/hardware.md, so that no number there is typed.
// Reader: whoever comes back from a card.
//   node bench/hardware/report.mjs results.json    takes a run in, then writes tables and charts
//   node bench/hardware/report.mjs                 writes them again from what is in bench/results
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { putPage, withSection } from '../../scripts/pages.mjs';
import { writeResult } from '../report/result-file.mjs';
import { heading } from '../report/tables.mjs';
import { chartsOf } from './charts.mjs';
import { readRun } from './run.mjs';
import { sections } from './sections.mjs';
import { tables } from './tables.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    results: { type: 'string', default: fileURLToPath(new URL('../results/', import.meta.url)) },
  },
});
const page = 'docs/measurements/hardware.md';

const isYardstick = (row) => /^(torch|refused|stopped)/.test(row.group);

function takeIn(file) {
  const { name, machine, steps, rows } = readRun(file);
  const write = (kind, wanted) =>
    writeResult(`${options.results}/${name}-${kind}.json`, { machine, steps, rows: rows.filter(wanted) });
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

/** The sections that have a table with rows, of every card. */
function measured(cards) {
  const tableOf = (name) =>
    cards
      .map((card) => [card, tables[name](card)])
      .filter(([, text]) => text)
      .map(([card, text]) => (cards.length > 1 ? `${card.machine.card.name}\n\n${text}` : text))
      .join('\n\n');
  const printed = sections.map(({ title, tables: wanted }) => {
    const bodies = wanted.map(([name, intro]) => [intro, tableOf(name)]).filter(([, text]) => text);
    return bodies.length ? heading(title, '', bodies.flat().filter(Boolean).join('\n\n')) : '';
  });
  return printed.filter(Boolean).join('\n\n') || 'No card has been measured yet.';
}

if (positionals.length > 0) takeIn(positionals[0]);
const cards = readCards();
putPage(page, withSection(page, 'measured', measured(cards)), 'node bench/hardware/report.mjs');
for (const card of cards)
  for (const { name, svg } of chartsOf(card)) writeResult(`${options.results}/${card.name}-${name}.svg`, svg);
