// quantizeKv(): keys or values as codes of 8, 4 or 2 bits, unpacked, as quantised caches keep them.
// Reader: someone who measures what a format costs in quality, or has kernels of their own. Keys per channel, values per token:
// KIVI (arXiv 2402.02750); 8 bits symmetric per token are what most servers have.

import { mismatch } from '../call/shape.js';
import { allocating, showDims, TilewiseError, TilewiseTypeError } from '../check/errors.js';
import { checkInteger, checkNames, checkOneOf, maxTokens, namesOf } from '../check/validate.js';
import { type CodeForm, CodePlaces, checkBits, unpackRow } from '../stores/codes.js';
import { axesOf } from '../tensor/axes.js';
import { cpu } from '../tensor/devices.js';
import { Tensor } from '../tensor/tensor.js';
import type { TensorLike } from '../tensor/types.js';
import { floatTypes, isOnHost, readTensor, sizeOf, type View } from '../tensor/views.js';
import { type Layout, layouts } from './attention/options.js';
import { encode } from './encode.js';

/** Which numbers share a scale: `'channel'`, consecutive tokens of one channel; `'token'`, consecutive channels of one token. */
export type QuantizationAxis = 'channel' | 'token';

export interface QuantizeKvOptions {
  /** Bits of a code: 8, 4 or 2. */
  bits: 8 | 4 | 2;
  /**
   * `'asymmetric'` (default): a scale and a minimum per group. `'symmetric'`: 8 bits, one scale per token and head, max|x| / 127,
   * without `axis` and `group`.
   */
  scheme?: 'asymmetric' | 'symmetric';
  /** Keys per channel, values per token. */
  axis?: QuantizationAxis;
  /** Numbers of a group; per token it divides the dim. */
  group?: number;
  /** Axes of x: `'bnhd'` (default) or `'bhnd'`; codes, scales and mins have the same. */
  layout?: Layout;
}

/** x is codes * scales + mins. */
export interface QuantizedKv {
  /** [batch, tokens, heads, dim]; per channel without the tokens that fill no group. Symmetric codes count from 128. */
  codes: Tensor<'uint8'>;
  /** Per channel [batch, tokens / group, heads, dim], per token [batch, tokens, heads, dim / group]; symmetric: groups of a head. */
  scales: Tensor<'float32'>;
  /** As `scales`. */
  mins: Tensor<'float32'>;
  /** Tokens that have codes. */
  tokens: number;
}

const names = namesOf<QuantizeKvOptions>({ bits: 1, scheme: 1, axis: 1, group: 1, layout: 1 });
const axisNames = ['channel', 'token'] as const;
const schemes = ['asymmetric', 'symmetric'] as const;

/**
 * Codes of keys or values: per group scale = (max - min) / (2^bits - 1) and code = round((x - min) / scale), in float32. Equal
 * numbers have scale 0 and code 0. A group with a NaN or an infinity has a minimum of NaN.
 * @param x [batch, tokens, heads, dim], or as `layout` says; any strides, any float type, in the process's memory
 * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION,
 *   ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_DTYPE, ERR_TILEWISE_SHAPE_MISMATCH, ERR_TILEWISE_WRONG_DEVICE
 */
export function quantizeKv(x: TensorLike, options: QuantizeKvOptions): QuantizedKv {
  checkNames('quantizeKv()', options, names);
  const bits = checkBits('bits', options.bits);
  const layout = options.layout === undefined ? 'bnhd' : checkOneOf('layout', options.layout, layouts);
  const isSymmetric = options.scheme !== undefined && checkOneOf('scheme', options.scheme, schemes) === 'symmetric';
  if (isSymmetric) refuseBesideSymmetric(bits, options);
  const axis = isSymmetric ? 'token' : checkOneOf('axis', options.axis as QuantizationAxis, axisNames);
  const view = readTensor('x', x, floatTypes);
  if (view.dims.length !== 4) {
    throw mismatch(
      `\`x\` must have 4 axes, [batch, tokens, heads, dim] or as \`layout\` says, not ${showDims(view.dims)}`,
    );
  }
  if (!isOnHost(view)) {
    throw new TilewiseError(
      'ERR_TILEWISE_WRONG_DEVICE',
      "`x` lies on a device; bring it to the process's memory with to('cpu')",
    );
  }
  const axes = axesOf(4, layout === 'bhnd');
  const dim = view.dims[axes.dim];
  const group = isSymmetric ? dim : checkInteger('group', options.group, 1, maxTokens);
  if (axis === 'token' && dim % group !== 0) {
    throw mismatch(`\`group\` must divide the dim of \`x\`, ${dim}, when \`axis\` is 'token', not ${group}`);
  }
  const tokens = axis === 'channel' ? Math.floor(view.dims[axes.token] / group) * group : view.dims[axes.token];
  const codeDims = view.dims.with(axes.token, tokens);
  const scaleDims =
    axis === 'channel'
      ? codeDims.with(axes.token, tokens / group)
      : codeDims.with(axes.dim, dim === 0 ? 0 : dim / group);
  const result: QuantizedKv = {
    codes: new Tensor('uint8', new Uint8Array(sizeOf(codeDims)), codeDims),
    scales: new Tensor('float32', new Float32Array(sizeOf(scaleDims)), scaleDims),
    mins: new Tensor('float32', new Float32Array(sizeOf(scaleDims)), scaleDims),
    tokens,
  };
  if (result.codes.data.length > 0) {
    const order = [axes.batch, axes.token, axes.head, axes.dim];
    fill(result, inOrder(view, order), order, { axis, bits, dim, group, tokens }, isSymmetric);
  }
  return result;
}

/** The same numbers with axes in this order. */
const inOrder = <V extends Pick<View, 'dims' | 'strides'>>(view: V, order: readonly number[]): V => ({
  ...view,
  dims: order.map((axis) => view.dims[axis]),
  strides: order.map((axis) => view.strides[axis]),
});

/** Encodes x, [batch, tokens, heads, dim], as a block for each batch entry, and takes the blocks apart. */
function fill(to: QuantizedKv, x: View, order: readonly number[], form: CodeForm, isSymmetric: boolean): void {
  const [batch, perEntry, heads] = x.dims;
  const { axis, dim, group, tokens } = form;
  const places = new CodePlaces(form);
  const data = allocating(() => new Uint8Array(batch * heads * places.bytes));
  const none: CodeForm = { axis: 'token', bits: form.bits, dim: 0, group: 1, tokens };
  const blocks = { heads, forms: { keys: form, values: none }, isSymmetric, data };
  const slots = Int32Array.from({ length: batch * tokens }, (_, i) => Math.floor(i / tokens) * perEntry + (i % tokens));
  const keys = Int32Array.from(Array.from({ length: batch }, (_, b) => [b, 0, tokens, b * tokens]).flat());
  encode(cpu, blocks, { keys: x, values: undefined, slots, runs: { keys, values: new Int32Array(0) } });
  const floats = new Float32Array(data.buffer);
  const row = new Uint8Array(places.channels);
  const [codeStrides, scaleStrides] = [to.codes, to.scales].map(({ strides }) => order.map((a) => strides[a]));
  const [rows, columns] = axis === 'channel' ? [tokens / group, dim] : [tokens, dim / group];
  for (let b = 0; b < batch; ++b)
    for (let head = 0; head < heads; ++head) {
      const at = (b * heads + head) * places.bytes;
      for (let t = 0; t < tokens; ++t) {
        unpackRow(data, at + t * places.rowBytes, places, row);
        to.codes.data.set(row.subarray(0, dim), b * codeStrides[0] + t * codeStrides[1] + head * codeStrides[2]);
      }
      for (let r = 0; r < rows; ++r)
        for (let c = 0; c < columns; ++c) {
          const from = at / 4 + r * places.scaleByRow + c * places.scaleByChannel;
          const into = b * scaleStrides[0] + r * scaleStrides[1] + head * scaleStrides[2] + c;
          to.scales.data[into] = floats[from + places.scalesAt / 4];
          to.mins.data[into] = floats[from + places.minsAt / 4];
        }
    }
}

function refuseBesideSymmetric(bits: number, { axis, group }: QuantizeKvOptions): void {
  const what =
    bits !== 8
      ? '`bits` must be 8'
      : axis !== undefined
        ? '`axis` must be left out'
        : group !== undefined
          ? '`group` must be left out'
          : undefined;
  if (!what) return;
  throw new TilewiseTypeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `${what} when \`scheme\` is 'symmetric': a scale per token and head`,
  );
}
