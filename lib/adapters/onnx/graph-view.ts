// A graph as its readers walk it: who makes a value, who reads it, and which values are constants.
// Reader: someone who matches nodes. Refused is what ONNX forbids: a value that is made twice, or is read before it is made, so
// that whoever walks from a value to what it is made of comes to an end.

import { Tensor } from '../../tensor/tensor.js';
import type { DataType, DataTypes } from '../../tensor/types.js';
import { malformed } from '../files.js';
import { type Graph, type Model, readGraph, type ValueInfo } from './model.js';
import type { Node } from './node.js';
import type { StoredTensor } from './tensor.js';

/** Graphs inside graphs are refused from here on. */
const maxDepth = 32;

/** Constants of more numbers are weights: nobody asks for their values. */
const maxNumbers = 4096;

/** A graph, indexed. */
export class GraphView {
  readonly graph: Graph;
  /** Of ONNX's own operators. */
  readonly opset: number;
  readonly initializers: ReadonlyMap<string, StoredTensor>;
  readonly infos: ReadonlyMap<string, ValueInfo>;
  readonly #producers = new Map<string, Node>();
  readonly #consumers = new Map<string, Node[]>();
  readonly #outputs: ReadonlySet<string>;
  readonly #reads = new Map<Node, readonly string[]>();

  /** @param folder of the model, where external data is */
  constructor(
    model: Model,
    readonly folder?: string,
  ) {
    this.graph = model.graph;
    this.opset = model.opsets.get('') ?? 0;
    const { initializers, valueInfos, inputs, outputs, nodes } = model.graph;
    this.initializers = new Map(initializers.map((tensor) => [tensor.name, tensor]));
    this.infos = new Map([...valueInfos, ...inputs, ...outputs].map((info) => [info.name, info]));
    this.#outputs = new Set(outputs.map(({ name }) => name));
    for (const node of nodes) {
      const reads = [...new Set([...node.inputs, ...capturedBy(node)])].filter((name) => name !== '');
      this.#reads.set(node, reads);
      for (const name of reads) {
        const consumers = this.#consumers.get(name);
        if (consumers) consumers.push(node);
        else this.#consumers.set(name, [node]);
      }
      for (const name of node.outputs.filter((output) => output !== '')) this.#make(name, node);
    }
  }

  /** Takes a node as what makes a value. Nodes come in their order. */
  #make(name: string, node: Node): void {
    if (this.#producers.has(name)) throw malformed('GraphProto', `'${name}' is made twice`);
    if (this.#consumers.has(name)) throw malformed('GraphProto', `'${name}' is read before it is made`);
    this.#producers.set(name, node);
  }

  producer(name: string): Node | undefined {
    return this.#producers.get(name);
  }

  consumers(name: string): readonly Node[] {
    return this.#consumers.get(name) ?? [];
  }

  /** The names that a node reads, those of graphs inside it included. */
  reads(node: Node): readonly string[] {
    return this.#reads.get(node) ?? [];
  }

  isOutput(name: string): boolean {
    return this.#outputs.has(name);
  }

  /** The one node that reads a value; undefined if there are others, or the caller of the graph reads it. */
  soleConsumer(name: string): Node | undefined {
    const nodes = this.consumers(name);
    return nodes.length === 1 && !this.isOutput(name) ? nodes[0] : undefined;
  }

  /** The tensor that a value always is: of an initializer or a Constant, through Identity. */
  constant(name: string): StoredTensor | undefined {
    let value = name;
    let node = this.producer(value);
    while (node?.op === 'Identity') {
      value = node.inputs[0];
      node = this.producer(value);
    }
    if (!node) return this.initializers.get(value);
    return node.op === 'Constant' && node.domain === '' ? node.tensor('value') : undefined;
  }

  /** The numbers that a value always is, if they are few. */
  numbers(name: string): readonly number[] | undefined {
    const tensor = this.constant(name);
    if (tensor) return tensor.size > maxNumbers ? undefined : numbersOf(tensor, this.folder);
    const node = this.producer(name);
    if (node?.op !== 'Constant' || node.domain !== '') return undefined;
    const one = node.number('value_int') ?? node.number('value_float');
    return one === undefined ? (node.integers('value_ints') ?? node.floats('value_floats')) : [one];
  }

  /** The one number that a value always is. */
  scalar(name: string): number | undefined {
    const numbers = this.numbers(name);
    return numbers?.length === 1 ? numbers[0] : undefined;
  }
}

/** The names of outer values that the graphs inside a node read. */
function capturedBy(node: Node, depth = 0): string[] {
  if (depth > maxDepth) throw malformed('GraphProto', `graphs are ${depth} deep inside each other`);
  return node.graphs.flatMap((message) => {
    const graph = readGraph(message);
    const own = new Set([
      ...graph.inputs.map(({ name }) => name),
      ...graph.initializers.map(({ name }) => name),
      ...graph.nodes.flatMap(({ outputs }) => outputs),
    ]);
    const read = graph.nodes.flatMap((inner) => [...inner.inputs, ...capturedBy(inner, depth + 1)]);
    return [...read, ...graph.outputs.map(({ name }) => name)].filter((name) => !own.has(name));
  });
}

function numbersOf(tensor: StoredTensor, folder: string | undefined): number[] | undefined {
  const { type } = tensor;
  if (type === undefined || type === 'string') return undefined;
  const data = tensor.data(folder);
  const isHalf = type === 'float16' || type === 'bfloat16';
  const numbers = isHalf
    ? new Tensor<DataType>(type, data as DataTypes[DataType], [data.length]).astype('float32').data
    : data;
  return Array.from(numbers as ArrayLike<number | bigint>, Number);
}
