// ONNX models: what is read is there, what is written back is the same bytes, and what is no model is refused with a code.
// Reader: someone who changes lib/adapters/onnx. The fixtures are graphs as PyTorch's exporters write them.

import { closeSync, ftruncateSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { Message } from '../../dist/adapters/onnx/message.js';
import { type Model, readModel } from '../../dist/adapters/onnx/model.js';
import {
  type ElementType,
  elementTypes,
  entryFields,
  graphFields,
  modelFields,
  nodeFields,
  tensorFields,
} from '../../dist/adapters/onnx/numbers.js';
import { StoredTensor } from '../../dist/adapters/onnx/tensor.js';
import { bytesField, type Field, floatField, integerField, textField } from '../../dist/adapters/onnx/wire.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectForAll } from '../support/property.js';

const code = 'ERR_TILEWISE_INVALID_FILE';
const fixtures = fileURLToPath(new URL('../clients/fixtures', import.meta.url));
const graphs = readdirSync(fixtures).filter((name) => name.endsWith('.onnx'));
const temporary = mkdtempSync(path.join(tmpdir(), 'tilewise-onnx-'));
afterAll(() => rmSync(temporary, { recursive: true }));

const parts = (number: number, messages: readonly Message[]): Field[] =>
  messages.map(({ bytes }) => bytesField(number, bytes));

/** Every part of a model taken out, and put in again. */
function rebuilt({ graph, message }: Model): Uint8Array {
  const inner = graph.message.with({
    [graphFields.node]: parts(
      graphFields.node,
      graph.nodes.map((node) =>
        node.message.with({
          [nodeFields.input]: node.inputs.map((name) => textField(nodeFields.input, name)),
          [nodeFields.opType]: [textField(nodeFields.opType, node.op)],
          [nodeFields.attribute]: parts(
            nodeFields.attribute,
            node.message.messages(nodeFields.attribute, 'AttributeProto'),
          ),
        }),
      ),
    ),
    [graphFields.initializer]: parts(
      graphFields.initializer,
      graph.initializers.map((tensor) =>
        tensor.message.with({
          [tensorFields.dims]: tensor.dims.map((length) => integerField(tensorFields.dims, length)),
        }),
      ),
    ),
    [graphFields.input]: parts(
      graphFields.input,
      graph.inputs.map((info) => info.message),
    ),
  });
  return message.with({ [modelFields.graph]: parts(modelFields.graph, [inner]) }).bytes;
}

describe.each(graphs)('%s', (name) => {
  const bytes = readFileSync(path.join(fixtures, name));
  const model = readModel(bytes);

  it('is the same bytes after every part was taken out and put in again', () => {
    expect(Buffer.compare(rebuilt(model), bytes)).toBe(0);
  });

  it('has the opset of its name, inputs that are fed, and weights of the sizes that their dims say', () => {
    const { inputs } = JSON.parse(readFileSync(path.join(fixtures, `${name}.json`), 'utf8'));
    expect(model.opsets.get('')).toBe(Number(/(\d+)\.onnx$/.exec(name)![1]));
    expect(model.graph.inputs.map((input) => [input.name, input.type])).toEqual(
      inputs.map((input: { name: string; type: string }) => [input.name, input.type]),
    );
    expect(model.graph.outputs.map((output) => output.name)).toEqual(['y']);
    expect(model.graph.initializers.length).toBeGreaterThan(10);
    for (const tensor of model.graph.initializers) expect(tensor.data().length).toBe(tensor.size);
  });
});

describe('an edit', () => {
  it('of one node changes that node alone, and leaves unknown fields where they are', () => {
    const unknown = [integerField(1000, 5), floatField(1001, 0.5), bytesField(1002, Uint8Array.of(1, 2, 3))];
    const nodes = ['a', 'b', 'c'].map((name) => makeNode('Neg', [name], [`-${name}`]));
    const odd = nodes.map((node) => new Message('NodeProto', [unknown[0], ...node.fields, unknown[1], unknown[2]]));
    const model = readModel(makeModel({ opset: 17, nodes: odd, inputs: [], outputs: [] }).bytes);
    const renamed = model.graph.nodes.map(({ message }, i) =>
      i === 1 ? message.with({ [nodeFields.opType]: [textField(nodeFields.opType, 'Abs')] }) : message,
    );
    const inner = model.graph.message.with({ [graphFields.node]: parts(graphFields.node, renamed) });
    const after = Buffer.from(model.message.with({ [modelFields.graph]: parts(modelFields.graph, [inner]) }).bytes);
    const expected = Buffer.from(model.message.bytes);
    expected.write('Abs', expected.indexOf('Neg', expected.indexOf('-b')), 'latin1');
    expect(after.equals(expected)).toBe(true);
  });
});

describe('a tensor', () => {
  const stored = (type: ElementType, dims: number[], ...fields: Field[]): StoredTensor =>
    StoredTensor.read(
      new Message('TensorProto', [
        ...dims.map((length) => integerField(tensorFields.dims, length)),
        integerField(tensorFields.dataType, elementTypes[type]),
        ...fields,
      ]).bytes,
    );
  const raw = (...bytes: number[]): Field => bytesField(tensorFields.rawData, Uint8Array.from(bytes));

  it.each<[ElementType, Field[], ArrayLike<number | bigint>]>([
    ['float32', [raw(0, 0, 128, 63, 0, 0, 0, 192)], Float32Array.of(1, -2)],
    ['float32', [floatField(tensorFields.floatData, 1), floatField(4, -2)], Float32Array.of(1, -2)],
    ['int64', [raw(255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0)], BigInt64Array.of(-1n, 1n)],
    ['int64', [integerField(tensorFields.int64Data, -1), integerField(7, 1)], BigInt64Array.of(-1n, 1n)],
    ['float16', [raw(0, 60, 0, 192)], Uint16Array.of(0x3c00, 0xc000)],
    [
      'float16',
      [integerField(tensorFields.int32Data, 0x3c00), integerField(5, 0xc000)],
      Uint16Array.of(0x3c00, 0xc000),
    ],
    ['bool', [raw(1, 0)], Uint8Array.of(1, 0)],
    ['int8', [integerField(tensorFields.int32Data, -3), integerField(5, 4)], Int8Array.of(-3, 4)],
    [
      'uint32',
      [integerField(tensorFields.uint64Data, 2 ** 32 - 1), integerField(11, 0)],
      Uint32Array.of(2 ** 32 - 1, 0),
    ],
    [
      'uint64',
      [integerField(tensorFields.uint64Data, 2n ** 64n - 1n), integerField(11, 0)],
      BigUint64Array.of(2n ** 64n - 1n, 0n),
    ],
  ])('of %s has its numbers, raw or in the field of their own (%#)', (type, fields, expected) => {
    const tensor = stored(type, [1, 2], ...fields);
    expect(tensor.type).toBe(type);
    expect(tensor.data()).toEqual(expected);
  });

  it('of no dims is one number', () =>
    expect(stored('float32', [], raw(0, 0, 128, 63)).data()).toEqual(Float32Array.of(1)));

  it.each<[string, () => unknown, typeof code | 'ERR_TILEWISE_DTYPE', string]>([
    ['a negative length', () => stored('bool', [-1]), code, '[-1]'],
    ['fewer elements than the dims say', () => stored('bool', [3], raw(1, 0)).data(), code, '[3] and 2 elements'],
    ['dims that overflow', () => stored('bool', [2 ** 40, 2 ** 40], raw(1)).data(), code, '1 elements'],
    ['half an element', () => stored('float32', [1], raw(0, 0)).data(), code, 'within an element'],
    ['strings', () => stored('string', [1]).data(), 'ERR_TILEWISE_DTYPE', 'data type 8'],
  ])('with %s is refused', (_, read, expected, says) => expectError(thrownBy(read), { code: expected, says: [says] }));
});

describe('external data', () => {
  const external = (entries: Record<string, string>, dims = [2]): StoredTensor =>
    StoredTensor.read(
      makeTensor('w', 'float32', dims, new Uint8Array(0)).with({
        [tensorFields.rawData]: [],
        [tensorFields.dataLocation]: [integerField(tensorFields.dataLocation, 1)],
        [tensorFields.externalData]: Object.entries(entries).map(([key, value]) =>
          bytesField(
            tensorFields.externalData,
            new Message('Entry', [textField(entryFields.key, key), textField(entryFields.value, value)]).bytes,
          ),
        ),
      }).bytes,
    );
  const offset = 5 * 2 ** 29; // 2.5 GB
  const file = openSync(path.join(temporary, 'weights.data'), 'w');
  ftruncateSync(file, offset + 16);
  writeSync(file, new Uint8Array(Float32Array.of(1.5, -2.5).buffer), 0, 8, offset);
  closeSync(file);

  it('is read from behind 2 GB, and is a reference until then', () => {
    const tensor = external({ location: 'weights.data', offset: `${offset}`, length: '8', checksum: 'unread' });
    expect(tensor.external).toEqual({ location: 'weights.data', offset, length: 8 });
    expect(tensor.data(temporary)).toEqual(Float32Array.of(1.5, -2.5));
  });

  it('is found where a name leaves a folder of the model again', () => {
    const tensor = external({ location: 'none/.././weights.data', offset: `${offset}` });
    expect(tensor.data(temporary)).toEqual(Float32Array.of(1.5, -2.5));
  });

  it('without offset and length begins with the file, and is as long as the dims say', () =>
    expect(external({ location: 'weights.data' }).data(temporary)).toEqual(new Float32Array(2)));

  it.each<[string, Record<string, string>, string]>([
    ['above the model', { location: '../weights.data' }, '../weights.data'],
    ['above the model by detours', { location: 'a/..\\..\\weights.data' }, 'a/..'],
    ['above the model, with one name for two', { location: 'a\\b/../../weights.data' }, '../../weights.data'],
    ['that is the folder', { location: 'a/..' }, 'a/..'],
    ['at an absolute path', { location: '/etc/passwd' }, '/etc/passwd'],
    ['on a drive', { location: 'C:weights.data' }, 'C:weights.data'],
    ['nowhere', {}, "''"],
    ['at no offset', { location: 'weights.data', offset: '-8' }, "offset '-8'"],
    ['of no length', { location: 'weights.data', length: '8x' }, "length '8x'"],
    ['that is not there', { location: 'none.data' }, 'ENOENT'],
    ['behind the end', { location: 'weights.data', offset: `${offset + 12}` }, `of a file of ${offset + 16}`],
    ['of another length than the dims say', { location: 'weights.data', length: '12' }, '12 bytes, and the tensor 8'],
  ])('%s is refused', (_, entries, says) =>
    expectError(
      thrownBy(() => external(entries).data(temporary)),
      { code, type: RangeError, says: [says] },
    ),
  );

  it('of a model in memory is refused', () =>
    expectError(
      thrownBy(() => external({ location: 'weights.data' }).data()),
      { code, type: RangeError, says: ['no folder'] },
    ));
});

describe('what is no model', () => {
  it.each<[unknown]>([['model.onnx'], [undefined], [new ArrayBuffer(8)]])('%o', (value) =>
    expectError(
      thrownBy(() => readModel(value as Uint8Array)),
      { code, type: TypeError, says: ['Uint8Array'] },
    ),
  );

  it('no bytes', () =>
    expectError(
      thrownBy(() => readModel(new Uint8Array(0))),
      { code, type: RangeError, says: ['no graph'] },
    ));

  it('a model with bytes changed or cut off is read, or refused with the code', () => {
    const weight = makeTensor('w', 'float32', [2], Float32Array.of(1, 2));
    const node = makeNode('Gemm', ['x', 'w'], ['y'], { alpha: 0.5, transB: 1, perm: [0, 1], mode: 'm', value: weight });
    const value = makeValueInfo('x', 'float32', ['batch', 2]);
    const whole = makeModel({
      opset: 17,
      nodes: [node],
      initializers: [weight],
      inputs: [value],
      outputs: [makeValueInfo('y', 'float32')],
    }).bytes;
    const change = fc.tuple(fc.nat(whole.length - 1), fc.nat(255));
    let refused = 0;
    expectForAll(fc.tuple(fc.nat(whole.length), fc.array(change, { maxLength: 3 })), 3000, ([length, changes]) => {
      const bytes = whole.slice(0, length);
      for (const [at, byte] of changes) if (at < length) bytes[at] = byte;
      try {
        const { graph } = readModel(bytes);
        for (const tensor of graph.initializers) tensor.data(temporary);
        for (const one of graph.nodes) for (const name of one.attributeNames) one.number(name);
      } catch (error) {
        expect((error as { code?: string }).code).toMatch(/^ERR_TILEWISE_(INVALID_FILE|DTYPE)$/);
        ++refused;
      }
    });
    expect(refused).toBeGreaterThan(100);
  });
});
