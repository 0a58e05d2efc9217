// The cut of a graph at its attentions: how many segments there are, that nothing is lost or run twice, and what crosses.
// Reader: someone who changes cut.ts. The graphs are those of PyTorch's exporters, and small ones made by hand.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { GraphView } from '../../dist/adapters/onnx/graph-view.js';
import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { type Model, readModel } from '../../dist/adapters/onnx/model.js';
import { findSites } from '../../dist/adapters/onnx/sites/find.js';
import { cut, makesOf, readsOf, type Stage, type SwappedSite } from '../../dist/adapters/onnxruntime/segments/cut.js';

const fixtures = fileURLToPath(new URL('../clients/fixtures', import.meta.url));
const graphs = readdirSync(fixtures).filter((name) => name.endsWith('.onnx'));

function cutOf(model: Model): { view: GraphView; stages: Stage[] } {
  const view = new GraphView(model);
  const sites = findSites(model).filter((site): site is SwappedSite => site.swap !== undefined);
  return { view, stages: cut(view, sites) };
}

/** Runs the stages in thought: every value is there when it is read. Returns what was made. */
function walk({ view, stages }: ReturnType<typeof cutOf>): Set<string> {
  const isConstant = (name: string) => view.constant(name) !== undefined;
  const known = new Set(view.graph.inputs.map(({ name }) => name));
  for (const { segment, sites } of stages) {
    if (segment) {
      const inner = new Set(segment.needs);
      expect(segment.needs.filter((name) => !known.has(name))).toEqual([]);
      for (const node of segment.nodes) {
        const lacking = view.reads(node).filter((name) => !inner.has(name) && !view.initializers.has(name));
        expect(lacking, node.name).toEqual([]);
        for (const name of node.outputs) inner.add(name);
      }
      for (const name of segment.gives) known.add(name);
    }
    for (const site of sites) {
      expect(readsOf(site).filter((name) => !known.has(name) && !isConstant(name))).toEqual([]);
      for (const name of makesOf(site)) known.add(name);
    }
  }
  return known;
}

describe.each(graphs)('%s', (name) => {
  const parts = cutOf(readModel(readFileSync(path.join(fixtures, name))));

  it('becomes three segments with a site between each two, and every value is there when it is read', () => {
    expect(parts.stages.map(({ segment, sites }) => [segment !== undefined, sites.length])).toEqual([
      [true, 1],
      [true, 1],
      [true, 0],
    ]);
    expect(walk(parts)).toContain('y');
  });

  it('runs no node twice that reads an input', () => {
    const times = new Map<string, number>();
    for (const { segment } of parts.stages) {
      for (const node of segment!.nodes) times.set(node.outputs[0], (times.get(node.outputs[0]) ?? 0) + 1);
    }
    const again = [...times].filter(([, count]) => count > 1).map(([output]) => output);
    // Made of constants alone, by walking back.
    const isFixed = (value: string): boolean =>
      parts.view.initializers.has(value) ||
      (parts.view.producer(value)?.inputs.filter(Boolean).every(isFixed) ?? false);
    expect(again.filter((value) => !isFixed(value))).toEqual([]);
  });

  it('leaves no softmax and no attention to onnxruntime', () => {
    const ops = parts.stages.flatMap(({ segment }) => segment!.nodes.map(({ op }) => op));
    expect(ops.filter((op) => /^(Softmax|Attention|IsNaN)$/.test(op))).toEqual([]);
  });
});

describe('a small graph', () => {
  const inputs = ['q', 'k', 'v', 'x'].map((name) => makeValueInfo(name, 'float32', [1, 2, 'tokens', 8]));
  const modelOf = (nodes: Parameters<typeof makeModel>[0]['nodes'], outputs: string[]): Model => {
    const initializers = [makeTensor('one', 'float32', [1], Float32Array.of(1))];
    const given = outputs.map((name) => makeValueInfo(name, 'float32'));
    return readModel(makeModel({ opset: 23, nodes, initializers, inputs, outputs: given }).bytes);
  };

  it('whose output is the attention needs no segment', () => {
    const parts = cutOf(modelOf([makeNode('Attention', ['q', 'k', 'v'], ['y'])], ['y']));
    expect(parts.stages.map(({ segment, sites }) => [segment, sites.length])).toEqual([
      [undefined, 1],
      [undefined, 0],
    ]);
  });

  it('gives a mask of constants from the first segment, and makes it again where nodes read it', () => {
    const nodes = [
      makeNode('Less', ['one', 'one'], ['mask']),
      makeNode('Less', ['one', 'one'], ['seen']),
      makeNode('Attention', ['q', 'k', 'v', 'mask'], ['a']),
      makeNode('Where', ['seen', 'x', 'one'], ['z']),
      makeNode('Add', ['a', 'z'], ['b']),
      makeNode('Where', ['mask', 'b', 'a'], ['y']),
    ];
    const parts = cutOf(modelOf(nodes, ['y']));
    const made = parts.stages.map(
      ({ segment }) => segment && [segment.nodes.flatMap(({ outputs }) => outputs), segment.gives.toSorted()],
    );
    expect(made).toEqual([
      [
        ['mask', 'seen', 'z'],
        ['mask', 'z'],
      ],
      [['mask', 'b', 'y'], ['y']],
    ]);
    expect(walk(parts)).toContain('y');
  });

  it('makes random numbers once', () => {
    const nodes = [
      makeNode('RandomNormal', [], ['r'], { shape: [1, 2, 1, 8] }),
      makeNode('Add', ['x', 'r'], ['s']),
      makeNode('Attention', ['q', 'k', 'v'], ['a']),
      makeNode('Add', ['a', 's'], ['b']),
      makeNode('Add', ['b', 'r'], ['y']),
    ];
    const { stages } = cutOf(modelOf(nodes, ['y']));
    expect(stages.map(({ segment }) => segment!.nodes.filter(({ op }) => op === 'RandomNormal').length)).toEqual([
      1, 0,
    ]);
  });

  it('loses what nobody reads', () => {
    const { stages } = cutOf(modelOf([makeNode('Neg', ['x'], ['n']), makeNode('Abs', ['x'], ['y'])], ['y']));
    expect(stages.map(({ segment }) => segment!.nodes.map(({ op }) => op))).toEqual([['Abs']]);
  });

  it('keeps what a graph inside a node reads', () => {
    const body = makeModel({
      opset: 23,
      nodes: [makeNode('Neg', ['n'], ['m'])],
      inputs: [],
      outputs: [makeValueInfo('m', 'float32')],
    });
    const branch = readModel(body.bytes).graph.message;
    const condition = makeNode('Less', ['x', 'one'], ['c']);
    const choice = makeNode('If', ['c'], ['y'], { then_branch: { graph: branch }, else_branch: { graph: branch } });
    const { stages } = cutOf(modelOf([makeNode('Abs', ['x'], ['n']), condition, choice], ['y']));
    expect(stages[0].segment!.nodes.map(({ op }) => op)).toEqual(['Abs', 'Less', 'If']);
  });
});
