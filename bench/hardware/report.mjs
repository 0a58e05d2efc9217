// Turns what first-contact.py measured into bench/results/<card>-{ceilings,yardsticks}.json, charts, and the tables of
// docs/measurements/hardware.md, so that no number there is typed.
// Reader: whoever comes back from a card.
//   node bench/hardware/report.mjs results.json    takes a run in, then writes tables and charts
//   node bench/hardware/report.mjs                 writes them again from what is in bench/results
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeResult } from '../report/result-file.mjs';
import { NOT_MEASURED } from '../report/tables.mjs';
import { chartsOf } from './charts.mjs';
import { readRun } from './run.mjs';
import { tables } from './tables.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    results: { type: 'string', default: fileURLToPath(new URL('../results/', import.meta.url)) },
    page: { type: 'string', default: fileURLToPath(new URL('../../docs/measurements/hardware.md', import.meta.url)) },
  },
});

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
