// Projections that become one product: which ones, and that nothing which somebody reads is lost or computed twice.
// Reader: someone who changes merged-projections.ts. Numbers are compared in test/clients, against PyTorch's.

import { describe, expect, it } from 'vitest';
import { GraphView } from '../../dist/adapters/onnx/graph-view.js';
import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import type { Message } from '../../dist/adapters/onnx/message.js';
import { readModel } from '../../dist/adapters/onnx/model.js';
import { findSites } from '../../dist/adapters/onnx/sites/find.js';
import { cut, type SwappedSite } from '../../dist/adapters/onnxruntime/segments/cut.js';
import { withMergedProjections } from '../../dist/adapters/onnxruntime/segments/merged-projections.js';

const width = 32;
const weights = (name: string, columns = width): Message =>
  makeTensor(name, 'float32', [width, columns], new Float32Array(width * columns));
const bias = (name: string, columns = width): Message =>
  makeTensor(name, 'float32', [columns], new Float32Array(columns));
const product = (name: string, x = 'x'): Message[] => [makeNode('MatMul', [x, `w_${name}`], [name])];
const projection = (name: string, x = 'x'): Message[] => [
  makeNode('MatMul', [x, `w_${name}`], [`${name}_product`]),
  makeNode('Add', [`b_${name}`, `${name}_product`], [name]),
];
const attention = makeNode('MultiHeadAttention', ['q', 'k', 'v'], ['attended'], { num_heads: 4 }, 'com.microsoft');

/** The operands of a model's only site, and the segments' operators. */
function mergedOf(nodes: Message[], { outputs = ['y'], valueWidth = width } = {}) {
  const { bytes } = makeModel({
    opset: 17,
    nodes: [...nodes, attention, makeNode('Neg', ['attended'], ['y'])],
    initializers: [
      ...[weights('w_q'), weights('w_k'), weights('w_v', valueWidth)],
      ...[bias('b_q'), bias('b_k'), bias('b_v', valueWidth)],
    ],
    inputs: ['x', 'z'].map((name) => makeValueInfo(name, 'float32', ['batch', 'tokens', width])),
    outputs: outputs.map((name) => makeValueInfo(name, 'float32')),
  });
  const model = readModel(bytes);
  const found = findSites(model).filter((site): site is SwappedSite => site.swap !== undefined);
  const { view, sites } = withMergedProjections({ model, view: new GraphView(model) }, found);
  const stages = cut(view, sites);
  const [{ swap }] = sites;
  return {
    operands: [swap.q, swap.k, swap.v],
    ops: stages.map(({ segment }) => segment!.nodes.map(({ op }) => op).toSorted()),
    gives: stages[0].segment!.gives,
  };
}

const part = (value: string, begin: number, end: number) => ({ value, part: { axis: 2, begin, end } });
const whole = (value: string) => ({ value });

describe('projections of one value', () => {
  it('are one product and one sum, and what crosses is one value', () => {
    const { operands, ops, gives } = mergedOf([...projection('q'), ...projection('k'), ...projection('v')]);
    expect(operands).toEqual([part('q+k+v', 0, 32), part('q+k+v', 32, 64), part('q+k+v', 64, 96)]);
    expect(ops).toEqual([['Add', 'Concat', 'Concat', 'MatMul'], ['Neg']]);
    expect(gives).toEqual(['q+k+v']);
  });

  it('may have values of another width, and no bias', () => {
    const { operands, ops } = mergedOf([...product('v'), ...product('q'), ...product('k')], { valueWidth: 16 });
    expect(operands).toEqual([part('q+k+v', 0, 32), part('q+k+v', 32, 64), part('q+k+v', 64, 80)]);
    expect(ops[0]).toEqual(['Concat', 'MatMul']);
  });

  it('are those of the keys and values where queries are of another value', () => {
    const { operands, ops } = mergedOf([...projection('q', 'z'), ...projection('k'), ...projection('v')]);
    expect(operands).toEqual([whole('q'), part('k+v', 0, 32), part('k+v', 32, 64)]);
    expect(ops[0]).toEqual(['Add', 'Add', 'Concat', 'Concat', 'MatMul', 'MatMul']);
  });

  it('stay apart where only some have a bias', () => {
    const { operands, ops } = mergedOf([...product('q'), ...projection('k'), ...projection('v')]);
    expect(operands).toEqual([whole('q'), part('k+v', 0, 32), part('k+v', 32, 64)]);
    expect(ops[0]).toEqual(['Add', 'Concat', 'Concat', 'MatMul', 'MatMul']);
  });
});

describe('a projection that something else reads', () => {
  const all = [...projection('q'), ...projection('k'), ...projection('v')];

  it.each([
    ['the caller', all, ['y', 'k']],
    ['a node', [...all, makeNode('Shape', ['q'], ['dims'])], ['y', 'dims']],
    ['a node, of the product alone', [...all, makeNode('Abs', ['v_product'], ['sizes'])], ['y', 'sizes']],
  ])('stays, with its site: %s', (_, nodes, outputs) => {
    const { operands, ops } = mergedOf(nodes, { outputs });
    expect(operands).toEqual(['q', 'k', 'v'].map(whole));
    expect(ops[0].filter((op) => op === 'MatMul' || op === 'Concat')).toEqual(['MatMul', 'MatMul', 'MatMul']);
  });
});
