// Writes a graph node by node, as exporters' graphs are: constants have names and are there once. Reader: someone who writes the
// graph of a model, for a client or a benchmark.

import { makeModel, makeNode, makeTensor } from '../../dist/adapters/onnx/make.js';

/** Nodes and weights of a graph while it is written. */
export class GraphWriter {
  nodes = [];
  initializers = [];
  #names = new Set();

  /** Adds a node with one output; returns the output's name. */
  node(op, inputs, attributes, { domain = '', as = `${op}_${this.nodes.length}` } = {}) {
    this.nodes.push(makeNode(op, inputs, [as], attributes, domain));
    return as;
  }

  /** A constant: whole numbers or one float. */
  constant(type, dims, data, name = `${type}_${dims.join('x')}_${data}`) {
    if (!this.#names.has(name)) {
      this.initializers.push(makeTensor(name, type, dims, data));
      this.#names.add(name);
    }
    return name;
  }

  whole(...numbers) {
    return this.constant('int64', [numbers.length], BigInt64Array.from(numbers, BigInt));
  }

  float(value) {
    return this.constant('float32', [], Float32Array.of(value));
  }

  /** x · weightᵀ, as exporters write a linear layer. */
  linear(x, { data, dims: [outputs, inputs] }, name) {
    const transposed = new Float32Array(data.length);
    for (let i = 0; i < inputs; ++i)
      for (let o = 0; o < outputs; ++o) transposed[i * outputs + o] = data[o * inputs + i];
    return this.node('MatMul', [x, this.constant('float32', [inputs, outputs], transposed, name)]);
  }

  norm(x, { data, dims }, epsilon, name) {
    const variance = this.node('ReduceMean', [this.node('Pow', [x, this.float(2)])], { axes: [-1] });
    const root = this.node('Sqrt', [this.node('Add', [variance, this.float(epsilon)])]);
    const normal = this.node('Div', [x, root]);
    return this.node('Mul', [this.constant('float32', dims, data, name), normal]);
  }

  /** The model. @param ends its inputs and outputs, by makeValueInfo() */
  model(ends) {
    return makeModel({ opset: 17, nodes: this.nodes, initializers: this.initializers, ...ends });
  }
}
