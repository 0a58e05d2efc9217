// tilewise onnx: the attentions of a model, what attention() can say of them, and what that would gain. Without --check the model
// is read and not run. Reader: someone who asks whether a model is understood. What it counts and runs is in bin/onnx/.

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { UsageError } from '../usage-error.mjs';

export const usage = `Usage: tilewise onnx <model.onnx> [options]

The attentions of an ONNX model, without running it: how each is written, its heads, dims and mask, and whether attention() can take
its place; if not, why not. Masks are boolean where a run decides which keys are hidden, causal or padding where the model says it.
Of each one that is swappable: what explain() says of it, the bytes of scores that a fused call does not write, and the gain that its
mask allows.

Options
  --tokens N              queries and keys where the model does not fix them; default 512, and with --check less where the model
                          has not so many positions
  --check                 run the model whole in onnxruntime and fused, on inputs made up: outputs compared, times taken; exit
                          code 1 if they differ. Takes the onnxruntime-node that this folder has
  --lengths a=2,b=64      with --check: lengths by the names of axes. Others: batches are 1, caches empty, pictures 224 wide, the
                          rest has --tokens
  --json                  print everything as JSON
  --help`;

const options = {
  ...Object.fromEntries(['check', 'json', 'help'].map((name) => [name, { type: 'boolean' }])),
  ...Object.fromEntries(['tokens', 'lengths'].map((name) => [name, { type: 'string' }])),
};

/** Models have tables of so many positions, or of fewer. */
const defaultTokens = [512, 128, 64, 16];

function whole(name, value, least) {
  const number = /^\d+k?$/.test(value) ? Number.parseInt(value, 10) * (value.endsWith('k') ? 1024 : 1) : Number.NaN;
  if (number >= least && number < 2 ** 24) return number;
  throw new UsageError(`--${name} must be a whole number from ${least}, not '${value}'`);
}

function readArguments(argv) {
  try {
    const { values, positionals } = parseArgs({ args: argv, options, allowPositionals: true, strict: true });
    if (positionals.length !== 1) throw new UsageError(`one model.onnx is needed, not ${positionals.length}`);
    if (values.lengths !== undefined && !values.check) throw new UsageError('--lengths is for --check');
    const pairs = values.lengths?.split(',').map((one) => one.split('=')) ?? [];
    const lengths = Object.fromEntries(pairs.map(([axis, length = '']) => [axis, whole('lengths', length, 0)]));
    const tokens = values.tokens === undefined ? defaultTokens : [whole('tokens', values.tokens, 1)];
    return { ...values, file: positionals[0], tokens, lengths };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${error.message.split('. ')[0]}; see tilewise onnx --help`);
  }
}

function readFile(file) {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new UsageError(error.message);
  }
}

/** Files of weights that are not beside the model. */
const missingFiles = (model, folder) => [
  ...new Set(
    model.graph.initializers
      .flatMap(({ external }) => external?.location ?? [])
      .filter((location) => !existsSync(path.join(folder, location))),
  ),
];

/** Runs the command; returns what it prints. */
export async function run(argv) {
  const { file, tokens, lengths, ...asked } = readArguments(argv);
  const { GraphView } = await import('../../dist/adapters/onnx/graph-view.js');
  const { readModel } = await import('../../dist/adapters/onnx/model.js');
  const { explainedSites } = await import('../onnx/sites.mjs');
  const folder = path.dirname(file);
  const model = readModel(readFile(file));
  const found = {
    name: path.basename(file),
    opset: model.opsets.get('') ?? null,
    sites: explainedSites(model, folder, tokens[0]),
    missing: missingFiles(model, folder),
  };
  if (asked.check) {
    const { runCheck } = await import('../onnx/check.mjs');
    found.check = await runCheck(new GraphView(model, folder), { tokens, lengths }, file);
    if (!found.check.isSame) process.exitCode = 1;
  }
  const { report } = await import('../onnx/report.mjs');
  return asked.json ? JSON.stringify(found, undefined, 2) : report(found);
}
