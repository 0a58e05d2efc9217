// Runs ONNX's Attention test cases through the public API: npm run conformance:onnx -- <folder with the cases>
// Reader: someone who wants an outside opinion on the semantics. The data is onnx/onnx's (backend/test/data/node before
// it was removed from main in 2026-08): per case a model.onnx of one node and test_data_set_0/{input,output}_*.pb.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { readModel } from '../../dist/adapters/onnx/model.js';
import { StoredTensor } from '../../dist/adapters/onnx/tensor.js';
import { runAttention } from './attention.mjs';

const slots = {
  inputs: ['Q', 'K', 'V', 'attn_mask', 'past_key', 'past_value', 'nonpad_kv_seqlen'],
  outputs: ['Y', 'present_key', 'present_value', 'qk_matmul_output'],
};

// What onnx.backend.test allows, absolute; relative it allows 1e-3 for every type. float32 arithmetic has to do better.
const absolute = 1e-7;
const relative = { float32: 2e-6, float16: 1e-3 };

function float16(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Infinity;
  return exponent ? sign * 2 ** (exponent - 25) * (1024 + fraction) : sign * 2 ** -24 * fraction;
}

/** Elements in logical order, whatever the strides. */
function numbersOf({ type, data, dims, strides, offset = 0 }) {
  const numbers = [];
  const walk = (axis, index, dense) => {
    if (axis === dims.length) {
      const element = data[strides ? index : dense];
      numbers.push(type === 'float16' ? float16(element) : Number(element));
      return;
    }
    for (let i = 0; i < dims[axis]; i++) walk(axis + 1, index + i * (strides?.[axis] ?? 0), dense * dims[axis] + i);
  };
  walk(0, offset, 0);
  return numbers;
}

/** Compares an output with the stored one: the largest relative error, and what is wrong, if anything is. */
function compare(name, got, want) {
  if (`${got.dims}` !== `${want.dims}`)
    return { error: 0, fault: `${name} has shape [${got.dims}], not [${want.dims}]` };
  const [a, b] = [numbersOf(got), numbersOf(want)];
  const allowed = relative[want.type];
  if (allowed === undefined) return { error: 0, fault: `${name} is ${want.type}, for which no tolerance is known` };
  let error = 0;
  let fault;
  for (let i = 0; i < b.length; i++) {
    if (Object.is(a[i], b[i]) || a[i] === b[i]) continue;
    const difference = Math.abs(a[i] - b[i]);
    if (difference > absolute) error = Math.max(error, difference / Math.abs(b[i]));
    if (!(difference <= absolute + allowed * Math.abs(b[i]))) fault ??= `${name}[${i}] is ${a[i]}, not ${b[i]}`;
  }
  return { error, fault };
}

function readTensor(file) {
  const tensor = StoredTensor.read(readFileSync(file));
  return { type: tensor.type, data: tensor.data(), dims: tensor.dims };
}

/** Runs one case folder; undefined when its node is not Attention. */
function runCase(folder, device) {
  const { graph } = readModel(readFileSync(join(folder, 'model.onnx')));
  const [node] = graph.nodes;
  if (graph.nodes.length !== 1 || node.op !== 'Attention') return undefined;

  const read = (kind, k) => readTensor(join(folder, 'test_data_set_0', `${kind}_${k}.pb`));
  const inputs = {};
  for (const [k, { name }] of graph.inputs.entries()) {
    inputs[slots.inputs[node.inputs.indexOf(name)]] = read('input', k);
  }
  const wanted = graph.outputs.map(({ name }, k) => [slots.outputs[node.outputs.indexOf(name)], read('output', k)]);

  const wantsScores = wanted.some(([name]) => name === 'qk_matmul_output');
  const attributes = Object.fromEntries(node.attributeNames.map((name) => [name, node.number(name)]));
  const outputs = runAttention(inputs, attributes, { wantsScores, device });
  const results = wanted.map(([name, tensor]) => compare(name, outputs[name], tensor));
  return {
    outputs: results.length,
    isHalf: wanted.some(([, tensor]) => tensor.type === 'float16'),
    error: Math.max(...results.map((result) => result.error)),
    faults: results.flatMap((result) => result.fault ?? []),
  };
}

/** Runs every Attention case below a folder on a device of the public API. */
export function runFolder(folder, device = 'auto') {
  const results = [];
  for (const name of readdirSync(folder).sort()) {
    if (!existsSync(join(folder, name, 'model.onnx'))) continue;
    try {
      const result = runCase(join(folder, name), device);
      if (result) results.push({ name, ...result });
    } catch (error) {
      results.push({ name, outputs: 0, isHalf: false, error: 0, faults: [`${error}`] });
    }
  }
  return results;
}

function main() {
  const folder = process.argv[2];
  if (!folder || !existsSync(folder)) {
    console.error(
      `usage: npm run conformance:onnx -- <folder with ONNX's test_attention_* folders>${folder ? `\nno folder ${resolve(folder)}` : ''}`,
    );
    return 2;
  }
  const inside = join(folder, 'data'); // the folder that holds the cases, or the one above it
  const results = runFolder(existsSync(inside) ? inside : folder);
  const failures = results.filter((result) => result.faults.length > 0);
  for (const { name, faults } of failures) console.log(`FAIL ${name}: ${faults.join('; ')}`);
  const worst = (isHalf) =>
    Math.max(0, ...results.filter((r) => r.isHalf === isHalf).map((r) => r.error)).toExponential(1);
  const outputs = results.reduce((sum, result) => sum + result.outputs, 0);
  console.log(`largest relative error: float32 ${worst(false)}, float16 ${worst(true)}; ${outputs} outputs compared`);
  console.log(`${results.length - failures.length}/${results.length}`);
  return failures.length === 0 && results.length > 0 ? 0 : 1;
}

if (process.argv[1] && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) process.exitCode = main();
