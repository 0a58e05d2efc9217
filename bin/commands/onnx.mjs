// tilewise onnx: the attentions of a model, and what attention() can say of them. `tilewise onnx model.onnx` prints a table of
// what findSites() finds, without running the model. Reader: someone who asks whether a model is understood.

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { UsageError } from '../usage-error.mjs';

export const usage = `Usage: tilewise onnx <model.onnx> [--json]

The attentions of an ONNX model, without running it: how each is written, its heads, dims and mask, and whether attention() can take
its place; if not, why not. Masks are boolean where a run decides which keys are hidden, causal or padding where the model says it.

Options
  --json                  print the list as JSON
  --help`;

function readArguments(argv) {
  const options = { json: { type: 'boolean' }, help: { type: 'boolean' } };
  try {
    const { values, positionals } = parseArgs({ args: argv, options, allowPositionals: true, strict: true });
    if (positionals.length !== 1) throw new UsageError(`one model.onnx is needed, not ${positionals.length}`);
    return { file: positionals[0], isJson: values.json === true };
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

const pair = (first, second) =>
  first === undefined ? '?' : first === second ? `${first}` : `${first}/${second ?? '?'}`;

/** Columns as wide as their widest cell. */
function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function report(file, { sites, missing }) {
  const swapped = sites.filter(({ isSwappable }) => isSwappable).length;
  const count = sites.length === 1 ? '1 attention' : `${sites.length} attentions`;
  const rows = sites.map((site) => [
    site.node,
    site.kind,
    pair(site.queryHeads, site.kvHeads),
    pair(site.headDim, site.valueDim),
    site.mask,
    site.isSwappable ? 'yes' : `no: ${site.reason}`,
  ]);
  return [
    `${path.basename(file)}: ${count}, ${swapped} of them swappable`,
    ...(rows.length > 0 ? ['', table([['node', 'written as', 'heads', 'dim', 'mask', 'swappable'], ...rows])] : []),
    ...missing.map((name) => `\n${name} is missing beside the model: onnxruntime cannot load it`),
  ].join('\n');
}

/** Runs the command; returns what it prints. */
export async function run(argv) {
  const { file, isJson } = readArguments(argv);
  const { readModel } = await import('../../dist/adapters/onnx/model.js');
  const { findSites } = await import('../../dist/adapters/onnx/sites/find.js');
  const folder = path.dirname(file);
  const model = readModel(readFile(file));
  const sites = findSites(model, folder).map(({ swap, ...site }) => ({ ...site, isSwappable: swap !== undefined }));
  const found = { opset: model.opsets.get('') ?? null, sites, missing: missingFiles(model, folder) };
  return isJson ? JSON.stringify(found, undefined, 2) : report(file, found);
}
