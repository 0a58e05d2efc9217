// NodeProto: an operator, what goes in and out by name, and its attributes.
// Reader: someone who looks for operators in a graph. Attributes are read when they are asked for.
// Source: onnx.proto of onnx/onnx.

import type { Message } from './message.js';
import { attributeFields, nodeFields as fields } from './numbers.js';
import { StoredTensor } from './tensor.js';

/** A node of a graph. */
export class Node {
  readonly op: string;
  /** '' is ONNX's own, which some files call 'ai.onnx'. */
  readonly domain: string;
  readonly name: string;
  /** Names of values; '' where an optional input is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];

  constructor(readonly message: Message) {
    this.op = message.text(fields.opType) ?? '';
    const domain = message.text(fields.domain) ?? '';
    this.domain = domain === 'ai.onnx' ? '' : domain;
    this.name = message.text(fields.name) ?? '';
    this.inputs = message.texts(fields.input);
    this.outputs = message.texts(fields.output);
  }

  /** A whole number or a float; undefined where the attribute is absent or of another kind. */
  number(name: string): number | undefined {
    const attribute = this.#attribute(name);
    return attribute?.integer(attributeFields.i) ?? attribute?.float(attributeFields.f);
  }

  text(name: string): string | undefined {
    return this.#attribute(name)?.text(attributeFields.s);
  }

  integers(name: string): readonly number[] | undefined {
    const attribute = this.#attribute(name);
    return attribute?.all(attributeFields.ints).length ? attribute.integers(attributeFields.ints) : undefined;
  }

  floats(name: string): readonly number[] | undefined {
    const attribute = this.#attribute(name);
    return attribute?.all(attributeFields.floats).length ? attribute.floats(attributeFields.floats) : undefined;
  }

  tensor(name: string): StoredTensor | undefined {
    const tensor = this.#attribute(name)?.message(attributeFields.t, 'TensorProto');
    return tensor && new StoredTensor(tensor);
  }

  get attributeNames(): string[] {
    return this.#attributes().map((attribute) => attribute.text(attributeFields.name) ?? '');
  }

  /** The graphs inside: branches, bodies of loops. */
  get graphs(): Message[] {
    return this.#attributes().flatMap((attribute) => [
      ...attribute.messages(attributeFields.g, 'GraphProto'),
      ...attribute.messages(attributeFields.graphs, 'GraphProto'),
    ]);
  }

  #attributes(): Message[] {
    return this.message.messages(fields.attribute, 'AttributeProto');
  }

  #attribute(name: string): Message | undefined {
    return this.#attributes().find((attribute) => attribute.text(attributeFields.name) === name);
  }
}
