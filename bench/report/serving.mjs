// The part of bench/RESULTS.md that bench/suites/serving.mjs measured, and its targets. Reader: as report.mjs.
import { machineLines } from './machine-lines.mjs';
import { heading, list, NOT_MEASURED } from './tables.mjs';

const ms = (x) => `${x.toFixed(2)} ms`;
/** The thread's own time: the rest of a turn is that in which workers have the processor, which is theirs, too. */
const beyondResult = ({ running, allocatingRunning }) => running - allocatingRunning;

/** @param {object | null} result of bench/suites/serving.mjs */
export function servingSections(result) {
  if (!result) return [heading('Serving', '', `${NOT_MEASURED}: run \`npm run bench:serving\``)];
  const [{ name, short, long, starting }] = result.rows;
  return [
    heading(
      'Serving',
      'Short calls, one every 10 ms, while long ones are in flight all the time.',
      list([
        ...machineLines(result.machine),
        name,
        `short calls (${short.calls}): median ${ms(short.median)}, 99th percentile ${ms(short.p99)}, longest ${ms(short.most)}`,
        `long calls: ${ms(long.alone)} each without short ones, ${ms(long.beside)} beside them`,
        `${starting.calls} calls of 256 tokens started in one turn of the event loop: ${starting.microseconds.toFixed(0)} µs each, ` +
          `${starting.allocating.toFixed(0)} µs of it for the result's memory; the thread itself runs ${starting.running.toFixed(0)} µs, ` +
          `${starting.allocatingRunning.toFixed(0)} µs of it for that, and workers have its processor else`,
      ]),
    ),
  ];
}

/** @returns {import('./targets.mjs').Target[]} */
export function servingTargets({ rows: [{ name, short, long, starting }] }) {
  const atMost = (text, value, bar, shown) => ({
    text,
    measured: shown,
    isMet: value <= bar,
    short: Math.max(0, value / bar - 1),
  });
  const cost = beyondResult(starting);
  return [
    atMost(`a short call, 99th percentile: at most 20 ms`, short.p99, 20, `${ms(short.p99)} (${name})`),
    atMost('long calls beside short ones: at most 1.1x', long.ratio, 1.1, `${long.ratio.toFixed(2)}x`),
    atMost(
      "starting a call, the thread's own time beside its result's memory: at most 50 µs",
      cost,
      50,
      `${cost.toFixed(0)} µs`,
    ),
  ];
}
