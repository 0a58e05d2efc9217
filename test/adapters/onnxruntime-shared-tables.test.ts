// Tables that several segments look up: which are fed, and which stay where they are.
// Reader: someone who changes shared-tables.ts. The model's three segments are cut at two attentions; test/clients runs such a one.

import { describe, expect, it } from 'vitest';
import { externalEntries } from '../../dist/adapters/onnx/external.js';
import { GraphView } from '../../dist/adapters/onnx/graph-view.js';
import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import type { Message } from '../../dist/adapters/onnx/message.js';
import { readModel } from '../../dist/adapters/onnx/model.js';
import { type ElementType, externalLocation, tensorFields } from '../../dist/adapters/onnx/numbers.js';
import { findSites } from '../../dist/adapters/onnx/sites/find.js';
import { integerField } from '../../dist/adapters/onnx/wire.js';
import { cut, type SwappedSite } from '../../dist/adapters/onnxruntime/segments/cut.js';
import { withSharedTables } from '../../dist/adapters/onnxruntime/segments/shared-tables.js';

const rows = 256;
const table = (type: ElementType = 'float32', data: ArrayBufferView = new Float32Array(rows * 64)): Message =>
  makeTensor('table', type, [rows, 64], data);

/** Which of the three segments need the table, each of which makes the next x of x by these nodes. */
function fedTo(stored: Message, bodies: ((x: string, next: string) => Message[])[], file?: string): boolean[] {
  const attention = (x: string, out: string) =>
    makeNode('Attention', [x, x, x], [out], { q_num_heads: 4, kv_num_heads: 4 });
  const ends = ['x', 'a0', 'a1'];
  const { bytes } = makeModel({
    opset: 23,
    nodes: bodies.flatMap((body, i) => [...body(ends[i], `x${i}`), ...(i < 2 ? [attention(`x${i}`, `a${i}`)] : [])]),
    initializers: [stored, makeTensor('square', 'float32', [64, 64], new Float32Array(64 * 64))],
    inputs: [makeValueInfo('x', 'float32', [1, 'tokens', 64]), makeValueInfo('ids', 'int64', [1, 'tokens'])],
    outputs: [makeValueInfo('x2', 'float32')],
  });
  const model = readModel(bytes);
  const view = new GraphView(model);
  const sites = findSites(model).filter((site): site is SwappedSite => site.swap !== undefined);
  expect(sites).toHaveLength(2);
  return withSharedTables(view, cut(view, sites), file).map(({ segment }) => segment!.needs.includes('table'));
}

/** x + rows of the table, which ids pick; of x themselves, so that it is done behind them. */
const lookUp = (x: string, next: string): Message[] => [
  makeNode('Shape', [x], [`${next}_dims`]),
  makeNode('Expand', ['ids', `${next}_dims`], [`${next}_ids`]),
  makeNode('Gather', ['table', `${next}_ids`], [`${next}_rows`], { axis: 0 }),
  makeNode('Add', [x, `${next}_rows`], [`${next}_sum`]),
  makeNode('MatMul', [`${next}_sum`, 'square'], [next]),
];
const project = (x: string, next: string): Message[] => [makeNode('MatMul', [x, 'square'], [next])];
const multiply = (x: string, next: string): Message[] => [
  ...lookUp(x, `${next}_found`),
  makeNode('MatMul', ['table', 'square'], [`${next}_product`]),
  makeNode('ReduceMean', [`${next}_product`], [`${next}_mean`]),
  makeNode('Add', [`${next}_found`, `${next}_mean`], [`${next}_more`]),
  ...project(`${next}_more`, next),
];

describe('a table is fed', () => {
  it('to every segment that looks up its rows, where two do', () => {
    expect(fedTo(table(), [lookUp, lookUp, lookUp])).toEqual([true, true, true]);
    expect(fedTo(table(), [lookUp, project, lookUp])).toEqual([true, false, true]);
    expect(fedTo(table('bfloat16', new Uint16Array(rows * 64)), [lookUp, lookUp, project])).toEqual([
      false,
      false,
      false,
    ]);
  });

  it('not to one that multiplies by it as well, which packs its own', () => {
    expect(fedTo(table(), [lookUp, lookUp, multiply])).toEqual([true, true, false]);
    expect(fedTo(table(), [lookUp, project, multiply])).toEqual([false, false, false]);
  });
});

describe('a table stays in its segment', () => {
  it('where one looks it up', () => {
    expect(fedTo(table(), [lookUp, project, project])).toEqual([false, false, false]);
  });

  it('where it is small', () => {
    const small = makeTensor('table', 'float32', [rows - 1, 64], new Float32Array((rows - 1) * 64));
    expect(fedTo(small, [lookUp, lookUp, lookUp])).toEqual([false, false, false]);
  });

  it('in a file beside the model, and not in the model’s own', () => {
    const beside = table('float32', new Float32Array(0)).with({
      [tensorFields.rawData]: [],
      [tensorFields.dataLocation]: [integerField(tensorFields.dataLocation, externalLocation)],
      [tensorFields.externalData]: externalEntries({ location: 'weights.bin', offset: 0, length: rows * 256 }),
    });
    expect(fedTo(beside, [lookUp, lookUp, lookUp], 'model.onnx')).toEqual([false, false, false]);
    expect(fedTo(beside, [lookUp, lookUp, lookUp], 'weights.bin')).toEqual([true, true, true]);
  });
});
