// Models read from a file: weights stay there, and segments have them again, each in its place.
// Reader: someone who changes model-file.ts, pieces.ts or segment-model.ts. What the bytes of the whole file say is the reference.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { GraphView } from '../../dist/adapters/onnx/graph-view.js';
import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { type Model, readModel } from '../../dist/adapters/onnx/model.js';
import { readModelFile } from '../../dist/adapters/onnx/model-file.js';
import { externalLocation, graphFields, modelFields, tensorFields } from '../../dist/adapters/onnx/numbers.js';
import { lengthOf, putTogether } from '../../dist/adapters/onnx/pieces.js';
import { findSites } from '../../dist/adapters/onnx/sites/find.js';
import { bytesField, integerField, textField } from '../../dist/adapters/onnx/wire.js';
import { cut, type SwappedSite } from '../../dist/adapters/onnxruntime/segments/cut.js';
import { type Crossing, segmentModel } from '../../dist/adapters/onnxruntime/segments/segment-model.js';
import { expectError, thrownBy } from '../support/expect-error.js';

const fixtures = fileURLToPath(new URL('../clients/fixtures', import.meta.url));
const graphs = readdirSync(fixtures).filter((name) => name.endsWith('.onnx'));
const temporary = mkdtempSync(path.join(tmpdir(), 'tilewise-onnx-'));
afterAll(() => rmSync(temporary, { recursive: true }));

/** A file of these bytes. */
function fileOf(name: string, bytes: Uint8Array): string {
  const file = path.join(temporary, name);
  writeFileSync(file, bytes);
  return file;
}

/** The models of a model's segments. @param crossing what is known of every value between them */
function segmentsOf(model: Model, crossing: Crossing = { type: 'float32' }): Uint8Array[] {
  const folder = model.file && path.dirname(model.file);
  const view = new GraphView(model, folder);
  const sites = findSites(model, folder).filter((site): site is SwappedSite => site.swap !== undefined);
  return cut(view, sites).flatMap(({ segment }) => {
    const pieces = segment && segmentModel(model, view, segment, () => crossing);
    return pieces ? [putTogether(pieces, new Uint8Array(lengthOf(pieces)))] : [];
  });
}

/** Names, types, dims and numbers; those as text, which is compared faster. */
const numbersOf = (model: Model, folder?: string) =>
  model.graph.initializers.map((tensor) => {
    const { buffer } = tensor.data(folder);
    return [tensor.name, tensor.type, tensor.dims, Buffer.from(buffer).toString('base64')];
  });

describe.each(graphs)('%s', (name) => {
  const file = path.join(fixtures, name);
  const bytes = readFileSync(file);
  const model = readModelFile(file);

  it('is read without its weights', () => {
    const left = model.graph.initializers.filter(({ external }) => external !== undefined);
    expect(left.length).toBeGreaterThan(0);
    const weights = left.reduce((sum, { external }) => sum + external!.length!, 0);
    expect(model.message.bytes.length).toBeLessThan(bytes.length - 0.95 * weights);
  });

  it('has the numbers and nodes that its bytes have', () => {
    const whole = readModel(bytes);
    expect(numbersOf(model, fixtures)).toEqual(numbersOf(whole));
    const nodesOf = ({ graph }: Model) =>
      graph.nodes.map(({ message }) => Buffer.from(message.bytes).toString('base64'));
    expect(nodesOf(model)).toEqual(nodesOf(whole));
  });

  it('has segments with the weights that they read, and those of its bytes have them as well', () => {
    const [fromFile, fromBytes] = [model, readModel(bytes)].map((one) => segmentsOf(one));
    expect(fromFile.map((segment) => segment.length)).toEqual(fromBytes.map((segment) => segment.length));
    const numbers = (segment: Uint8Array) => numbersOf(readModel(segment));
    expect(fromFile.map(numbers)).toEqual(fromBytes.map(numbers));
  });
});

it('segments say what is known of values that cross', () => {
  const model = readModelFile(path.join(fixtures, 'bert-eager-script17.onnx'));
  const stated = new Set([...model.graph.valueInfos, ...model.graph.inputs].map(({ name }) => name));
  const crossing = { type: 'float32', dims: [undefined, 3] } as const;
  const inputs = segmentsOf(model, crossing)
    .flatMap((segment) => readModel(segment).graph.inputs)
    .filter(({ name }) => !stated.has(name));
  expect(inputs.length).toBeGreaterThan(0);
  for (const { type, dims } of inputs) expect({ type, dims }).toEqual(crossing);
});

describe('a weight', () => {
  const weights = makeTensor(
    'w',
    'float32',
    [4096],
    Float32Array.from({ length: 4096 }, (_, i) => i),
  );
  const modelOf = (tensor: typeof weights) =>
    makeModel({
      opset: 23,
      nodes: [makeNode('Add', ['x', 'w'], ['y'])],
      initializers: [tensor],
      inputs: [makeValueInfo('x', 'float32', [4096])],
      outputs: [makeValueInfo('y', 'float32')],
    });

  it('that is said to be in the model is left in the file all the same', () => {
    const said = weights.with({ [tensorFields.dataLocation]: [integerField(tensorFields.dataLocation, 0)] });
    const [tensor] = readModelFile(fileOf('said.onnx', modelOf(said).bytes)).graph.initializers;
    expect(tensor.external?.location).toBe('said.onnx');
    expect(tensor.data(temporary)[4095]).toBe(4095);
  });

  it('beside the model stays a reference in segments', () => {
    const entry = (key: string, value: string) =>
      bytesField(
        tensorFields.externalData,
        Uint8Array.from([...textField(1, key).whole, ...textField(2, value).whole]),
      );
    const outside = weights.with({
      [tensorFields.rawData]: [],
      [tensorFields.dataLocation]: [integerField(tensorFields.dataLocation, externalLocation)],
      [tensorFields.externalData]: [entry('location', 'missing.data'), entry('offset', '64'), entry('length', '16384')],
    });
    const [segment] = segmentsOf(readModelFile(fileOf('outside.onnx', modelOf(outside).bytes)));
    const [tensor] = readModel(segment).graph.initializers;
    expect(tensor.external).toEqual({ location: 'missing.data', offset: 64, length: 16384 });
  });

  it('of another field than raw_data is read', () => {
    const floats = new Float32Array(2048).fill(0.5);
    const typed = weights.with({
      [tensorFields.dims]: [integerField(tensorFields.dims, 2048)],
      [tensorFields.rawData]: [bytesField(tensorFields.floatData, new Uint8Array(floats.buffer))],
    });
    const [tensor] = readModelFile(fileOf('typed.onnx', modelOf(typed).bytes)).graph.initializers;
    expect(tensor.external).toBeUndefined();
    expect(tensor.data()).toEqual(floats);
  });

  it('is refused when the file has changed', () => {
    const file = fileOf('changed.onnx', modelOf(weights).bytes);
    const model = readModelFile(file);
    writeFileSync(file, 'short');
    expectError(
      thrownBy(() => segmentsOf(model)),
      { code: 'ERR_TILEWISE_INVALID_FILE', type: RangeError, says: ['of a file of 5'] },
    );
  });
});

describe('a file that is no model', () => {
  const whole = readFileSync(path.join(fixtures, graphs[0]));
  it.each([
    ['text', Buffer.from('{"model": 1}')],
    ['nothing', Buffer.alloc(0)],
    ['an end that is missing', whole.subarray(0, whole.length - 100)],
    [
      'a tensor that is longer than its graph',
      putTogether(
        [bytesField(modelFields.graph, Uint8Array.of(graphFields.initializer * 8 + 2, 200)).whole],
        new Uint8Array(4),
      ),
    ],
  ])('is refused as its bytes are: %s', (_, bytes) => {
    const error = thrownBy(() => readModelFile(fileOf('wrong.onnx', bytes))) as Error;
    const ofBytes = thrownBy(() => readModel(bytes)) as Error;
    expect([error.message, (error as { code?: string }).code]).toEqual([ofBytes.message, 'ERR_TILEWISE_INVALID_FILE']);
  });

  it('is what the file system says where there is none', () => {
    expect(() => readModelFile(path.join(temporary, 'none.onnx'))).toThrow(/ENOENT/);
  });
});
