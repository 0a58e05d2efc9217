// What a run on a card left behind (session.py writes it), with the card's state during each step.
// Reader: the reports of first-contact.py and of bench/gpu/versus.py.
import { readFileSync } from 'node:fs';

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

/**
 * @param {string} file results.json
 * @returns {{name: string, machine: object, steps: object[], rows: object[]}} name: 'h200' and the like, for file names
 */
export function readRun(file) {
  const { machine, steps, rows, samples } = JSON.parse(readFileSync(file, 'utf8'));
  const card = rows.find((row) => row.group === 'card') ?? { name: samples[0]?.name };
  if (!card.name) throw new Error(`${file} does not say which card it is from`);
  const { driver_version: driver, 'clocks.max.sm': mostMHz, 'power.limit': watts } = samples[0] ?? {};
  return {
    name: shortName(card.name),
    machine: { ...machine, card: { ...card, driver, clockMHzMost: Number(mostMHz), wattsMost: Number(watts) } },
    steps: steps.map((step) => ({ ...step, ...stateDuring(step, samples) })),
    rows: rows.filter((row) => row.group !== 'card'),
  };
}
