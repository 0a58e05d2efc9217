// `--check`: the model whole in onnxruntime and fused, on the same inputs: outputs compared, times taken in turns.
// Reader: someone who doubts the table. onnxruntime is the one that the user's folder has; its threads do not spin.

import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { fuse } from '../../dist/adapters/onnxruntime/index.js';
import { Tensor } from '../../dist/index.js';
import { UsageError } from '../usage-error.mjs';
import { makeFeeds } from './inputs.mjs';

/** What outputs may differ by, for each 1 of their largest number: sums are in another order. */
const tolerances = { float32: 1e-4, float64: 1e-4, float16: 1e-2, bfloat16: 8e-2 };

// What onnxruntime says of errors is in the errors.
const sessionOptions = { logSeverityLevel: 4, extra: { session: { intra_op: { allow_spinning: '0' } } } };

/** onnxruntime as a program in the user's folder imports it. */
async function importOrt() {
  const require = createRequire(path.join(process.cwd(), 'program.js'));
  try {
    const { default: ort } = await import(pathToFileURL(require.resolve('onnxruntime-node')).href);
    return ort;
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw new UsageError(`--check: onnxruntime-node: ${error.message}`);
    throw new UsageError('--check needs onnxruntime in this folder: npm install onnxruntime-node');
  }
}

/** An output's numbers, for comparison. */
function numbersOf({ type, data, dims }) {
  if (type in tolerances && type !== 'float64') return new Tensor(type, data, dims).contiguous().astype('float32').data;
  return type === 'string' ? undefined : Float64Array.from(data, Number);
}

/** The largest difference, and the largest number; NaN and infinities differ from all but themselves. */
function compare(got, want) {
  let [difference, largest] = [0, 1];
  for (let i = 0; i < want.length; ++i) {
    if (Object.is(got[i], want[i])) continue;
    const distance = Math.abs(got[i] - want[i]);
    difference = Number.isFinite(distance) ? Math.max(difference, distance) : Number.POSITIVE_INFINITY;
  }
  for (const number of want) if (Number.isFinite(number)) largest = Math.max(largest, Math.abs(number));
  return { difference, largest };
}

function judge(name, got, want) {
  const [numbers, expected] = [got, want].map(numbersOf);
  const isAlike = got.type === want.type && `${got.dims}` === `${want.dims}`;
  if (!expected || !isAlike) {
    const difference = isAlike && `${got.data}` === `${want.data}` ? 0 : Number.POSITIVE_INFINITY;
    return { name, dims: got.dims, difference, tolerance: 0 };
  }
  const { difference, largest } = compare(numbers, expected);
  return { name, dims: got.dims, difference, tolerance: (tolerances[want.type] ?? 0) * largest };
}

/** The median milliseconds of each, run in turns for about a second. */
async function timesOf(runs) {
  const times = runs.map(() => []);
  const end = performance.now() + 1000;
  do {
    for (const [i, run] of runs.entries()) {
      const begin = performance.now();
      await run();
      times[i].push(performance.now() - begin);
    }
  } while (performance.now() < end);
  return times.map((all) => all.sort((a, b) => a - b)[Math.floor(all.length / 2)]);
}

async function runBoth(ort, view, settings, file) {
  const feeds = makeFeeds(ort, view, settings);
  const inputs = Object.entries(feeds).map(([name, { type, dims }]) => ({ name, type, dims }));
  const opened = [];
  try {
    for (const open of [
      () => ort.InferenceSession.create(file, sessionOptions),
      () => fuse(ort, file, { sessionOptions }),
    ])
      opened.push(await open());
    const [expected, got] = [await opened[0].run(feeds), await opened[1].run(feeds)];
    const outputs = Object.keys(expected).map((name) => judge(name, got[name], expected[name]));
    const [whole, fused] = await timesOf(opened.map((session) => () => session.run(feeds)));
    const swapped = opened[1].attention.filter(({ swap }) => swap).length;
    const isSame = outputs.every(({ difference, tolerance }) => difference <= tolerance);
    return { isSame, inputs, outputs, milliseconds: { whole, fused }, swapped };
  } finally {
    for (const session of opened) await session.release();
  }
}

/**
 * Runs both; what onnxruntime refuses is a failure of the check.
 * @param view the model's graph
 * @param settings `lengths` by the names of axes, and `tokens`: the first number of them that the model runs with
 */
export async function runCheck(view, { lengths, tokens }, file) {
  const ort = await importOrt();
  let failure;
  for (const count of tokens) {
    try {
      return { tokens: count, ...(await runBoth(ort, view, { lengths, tokens: count }, file)) };
    } catch (error) {
      if (error instanceof UsageError) throw error;
      failure ??= error.message.trim().split('\n')[0];
    }
  }
  return { tokens: tokens[0], isSame: false, failure };
}
