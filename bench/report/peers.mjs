// The part of bench/RESULTS.md that bench/suites/peers.mjs measured. Reader: as report.mjs.
import { machineLines } from './machine-lines.mjs';
import { heading, list, NOT_MEASURED, speedColumns, table } from './tables.mjs';

function peerTables(rows) {
  const names = [...new Set(rows.map((r) => r.name))];
  return names
    .map((name) => {
      const group = rows.filter((r) => r.name === name);
      const ratio = (r) => (r.contender.startsWith('tilewise') ? '' : `${r.ratio.toFixed(2)}x`);
      const [time, gflops, , quiet] = speedColumns;
      const columns = [['', (r) => r.contender], time, gflops, ["time over tilewise's", ratio], quiet];
      const [{ flopRatio }] = group;
      const note = flopRatio ? `The dense product has ${flopRatio.toFixed(1)} times the visible pairs.\n\n` : '';
      return `### ${name}\n\n${note}${table(group, columns)}`;
    })
    .join('\n\n');
}

/** @param {object | null} result of bench/suites/peers.mjs */
export function peerSections(result, title = 'Peers') {
  if (!result)
    return [heading('Peers', '', `${NOT_MEASURED}: run \`npm run bench:peers\`, then \`npm run bench:report\``)];
  return [
    heading(
      title,
      'Batch 1. Samples of all contenders taken in turn in one run, each through its own asynchronous call; GFLOP/s by unmasked area.',
      list([...machineLines(result.machine), ...result.peers]),
    ),
    peerTables(result.rows),
  ];
}
