// The public types, as a compiler sees them: `npm run types` is what checks this file, running it only loads it.
// Reader: someone who changes a signature. A line under @ts-expect-error must not compile.

import * as ort from 'onnxruntime-common';
import { expectTypeOf, it } from 'vitest';
import {
  type AttentionOptions,
  type AttentionResult,
  attention,
  attentionSync,
  type BlockMask,
  blockSparseAttention,
  causal,
  createBlockMask,
  createBlockMaskSync,
  type DataTypes,
  explain,
  type FloatType,
  hipAttentionSync,
  maskPattern,
  mergeAttention,
  mergeAttentionSync,
  neighborhoodAttention,
  type Pattern,
  s2AttentionSync,
  slidingWindow,
  sparseQueryAttentionSync,
  Tensor,
  type TensorLike,
  type TilewiseError,
} from '../../dist/index.js';

/** Compiles what it is given and never runs it. */
const compiles = (what: string, _: () => unknown) => it(what, () => {});

declare const q: TensorLike;

compiles('lse is there where returnLse asks for it, and may be missing elsewhere', () => {
  expectTypeOf(attentionSync(q, q, q, { returnLse: true }).lse).toEqualTypeOf<Tensor<'float32'>>();
  expectTypeOf(attentionSync(q, q, q).lse).toEqualTypeOf<Tensor<'float32'> | undefined>();
  expectTypeOf(attention(q, q, q)).resolves.toEqualTypeOf<AttentionResult>();
  expectTypeOf(attention(q, q, q, { returnLse: true })).resolves.toEqualTypeOf<Required<AttentionResult>>();
});

compiles('results have the type of q', () => {
  const half = new Tensor('bfloat16', new Uint16Array(4), [1, 1, 1, 4]);
  const single = new Tensor('float32', new Float32Array(4), [1, 1, 1, 4]);
  expectTypeOf(attentionSync(half, half, half).out).toEqualTypeOf<Tensor<'bfloat16'>>();
  expectTypeOf(attentionSync(single, single, single).out.data).toEqualTypeOf<Float32Array>();
  expectTypeOf(attentionSync(q, q, q).out).toEqualTypeOf<Tensor<FloatType>>();
  const plain = { type: 'float16', data: new Uint16Array(4), dims: [1, 1, 1, 4] } as const;
  expectTypeOf(attentionSync(plain, q, q).out).toEqualTypeOf<Tensor<'float16'>>();
  const read = { dtype: 'float32', data: new Float32Array(4), shape: [1, 1, 1, 4] } as const;
  expectTypeOf(attentionSync(read, q, q).out).toEqualTypeOf<Tensor<'float32'>>();
  expectTypeOf(
    s2AttentionSync(half, q, q, { blockSize: 1, localBlocks: 1, vertStride: 1 }).out.type,
  ).toEqualTypeOf<'bfloat16'>();
  expectTypeOf(sparseQueryAttentionSync(single, q, q).out).toEqualTypeOf<Tensor<'float32'>>();
  expectTypeOf(hipAttentionSync(half, q, q).out).toEqualTypeOf<Tensor<'bfloat16'>>();
  const part = attentionSync(half, half, half, { returnLse: true });
  expectTypeOf(mergeAttentionSync([part, part])).toEqualTypeOf<
    Required<AttentionResult<Tensor<'bfloat16'>, Tensor<'float32'>>>
  >();
  expectTypeOf(attention(single, q, q, { Tensor })).resolves.toEqualTypeOf<AttentionResult<Tensor<'float32'>>>();
});

compiles("results in onnxruntime's class are its tensors of that type", () => {
  const single = new ort.Tensor('float32', new Float32Array(4), [1, 1, 1, 4]);
  const { out, lse } = attentionSync(single, single, single, { Tensor: ort.Tensor, returnLse: true });
  expectTypeOf(out).toExtend<ort.TypedTensor<'float32'>>();
  expectTypeOf(lse).toExtend<ort.TypedTensor<'float32'>>();
  expectTypeOf(out.data).toExtend<Float32Array>();
  expectTypeOf(out.reshape([4]).data).toExtend<Float32Array>();
  const half = { type: 'float16', data: new Uint16Array(4), dims: [1, 1, 1, 4] } as const;
  expectTypeOf(attentionSync(half, half, half, { Tensor: ort.Tensor }).out.type).toEqualTypeOf<'float16'>();
  expectTypeOf(attentionSync(q, q, q, { Tensor: ort.Tensor }).out).toExtend<ort.Tensor>();
});

compiles('tensors keep their type through views and take another one by astype()', () => {
  const tensor = Tensor.from([[1, 2]]);
  expectTypeOf(tensor).toEqualTypeOf<Tensor<'float32'>>();
  expectTypeOf<Tensor<'float32'>['data']>().toEqualTypeOf<Float32Array>();
  expectTypeOf(tensor.select(0, 0).squeeze().reshape([2]).contiguous()).toEqualTypeOf<Tensor<'float32'>>();
  expectTypeOf(tensor.astype('float16')).toEqualTypeOf<Tensor<'float16'>>();
  expectTypeOf(Tensor.zeros('int32', [2])).toEqualTypeOf<Tensor<'int32'>>();
  expectTypeOf(Tensor.from([1, 2], 'bfloat16')).toEqualTypeOf<Tensor<'bfloat16'>>();
  expectTypeOf(Tensor.from(new ort.Tensor('float32', new Float32Array(1), [1]))).toEqualTypeOf<Tensor<'float32'>>();
  new Tensor('float32', Buffer.alloc(4), [1]);
  // @ts-expect-error bytes that are no Buffer are not known to be aligned
  new Tensor('float32', new Uint8Array(4), [1]);
  // @ts-expect-error numbers do not become int32 by rounding
  tensor.astype('int32');
});

compiles('lengths and page tables come as typed arrays, arrays or tensors', () => {
  const table = new Tensor('int32', Int32Array.of(0), [1, 1]);
  attention(q, q, q, { keyLengths: [1], cuSeqlensQ: Int32Array.of(0, 1), cuSeqlensK: BigInt64Array.of(0n, 1n) });
  attention(q, q, q, { keyStarts: [0], keyMask: new Tensor('int64', BigInt64Array.of(1n), [1, 1]) });
  attention(q, q, q, { keyLengths: table.squeeze(0), pages: { table, pageSize: 1 } });
  attention(q, q, q, { keyLengths: [1, 1], pages: { table: [[0, 1], [2]], pageSize: 1 } });
});

compiles('results are of the class that `Tensor` names', () => {
  class Theirs {
    constructor(
      readonly type: string,
      readonly data: Float32Array,
      readonly dims: readonly number[],
    ) {}
  }
  expectTypeOf(attentionSync(q, q, q, { Tensor: Theirs }).out).toEqualTypeOf<Theirs>();
  expectTypeOf(attention(q, q, q, { Tensor: Theirs, returnLse: true })).resolves.toEqualTypeOf<
    Required<AttentionResult<Theirs, Theirs>>
  >();
});

compiles('tensors of other libraries are tensors', () => {
  attention({ type: 'float32', data: new Float32Array(4), dims: [1, 1, 1, 4] }, q, q);
  attention({ dtype: 'float16', data: new Uint16Array(4), shape: [1, 1, 1, 4] }, q, q);
  // @ts-expect-error a typed array says nothing about its dims
  attention(new Float32Array(4), q, q);
});

compiles('a tensor knows the array of its type', () => {
  const tensor = new Tensor('bfloat16', new Uint16Array(4), [2, 2]);
  expectTypeOf(tensor.data).toEqualTypeOf<DataTypes['bfloat16']>();
  // @ts-expect-error int32 is not kept in a Float32Array
  new Tensor('int32', new Float32Array(4), [2, 2]);
});

compiles('options have the names and values of the documentation, and no others', () => {
  expectTypeOf<'causal' | 'window' | 'align' | 'alibiSlopes' | 'keyLengths'>().toExtend<keyof AttentionOptions>();
  // @ts-expect-error no such option
  attention(q, q, q, { casual: true });
  // @ts-expect-error layouts are 'bnhd' and 'bhnd'
  attention(q, q, q, { layout: 'bsnh' });
  // @ts-expect-error kernelSize is required
  neighborhoodAttention(q, q, q, {});
  // @ts-expect-error vertStride is a number
  s2AttentionSync(q, q, q, { blockSize: 64, localBlocks: 16, vertStride: '8' });
});

compiles('patterns are told apart by their kind, and plain values', () => {
  expectTypeOf<Pattern['kind']>().toEqualTypeOf<
    | 'window'
    | 'neighborhood'
    | 'stridedShards'
    | 'blocks'
    | 'ranges'
    | 'sampledBlocks'
    | 'documents'
    | 'slices'
    | 'power'
    | 'hierarchical'
  >();
  expectTypeOf(causal()).toExtend<Pattern>();
  const pattern = slidingWindow({ left: 3 });
  // @ts-expect-error they are frozen
  pattern.left = 4;
  slidingWindow({ recentTokens: [16, Infinity], sinkTokens: Int32Array.of(4, 0) });
  attention(q, q, q, { window: { left: [3, 4] }, sinkTokens: [1, 2] });
  // @ts-expect-error a pair has a number for all heads
  attention(q, q, q, { window: [[3, 4], 0] });
});

compiles('explain() wants the lengths of a problem, as tokens or as queries and keys', () => {
  expectTypeOf(explain(causal(), { queryHeads: 8, kvHeads: 2, headDim: 64, tokens: 100 }).pairs.useful).toBeNumber();
  // @ts-expect-error heads are counted for queries and for keys
  explain(causal(), { heads: 8, headDim: 64, tokens: 100 });
});

compiles('a block mask goes into calls as it is; a predicate answers at once', () => {
  const sizes = { queries: 8, keys: 8 };
  expectTypeOf(createBlockMask(() => true, sizes)).resolves.toEqualTypeOf<BlockMask>();
  const blockMask = createBlockMaskSync((_batch, _head, query, key) => key <= query, sizes);
  expectTypeOf(blockMask.kvIndices.data).toEqualTypeOf<Int32Array>();
  blockSparseAttention(q, q, q, { blockMask, onProgress: (done, total) => done / total });
  // @ts-expect-error a promise is neither true nor false
  createBlockMask(async () => true, sizes);
  // @ts-expect-error there is nothing else that a predicate may ignore
  blockSparseAttention(q, q, q, { blockMask, predicate: () => true, predicateIgnores: ['query'] });
  expectTypeOf(explain(causal(), { queryHeads: 1, kvHeads: 1, headDim: 8, tokens: 8 }).idealSpeedup).toExtend<{
    average: number;
    worst: number;
    overCausal?: number;
  }>();
});

compiles('parts of a merge carry their lse', () => {
  const part = attentionSync(q, q, q, { returnLse: true });
  mergeAttention([part, part]);
  // @ts-expect-error a part without lse has no weight
  mergeAttention([attentionSync(q, q, q)]);
});

compiles('errors have a code', () => {
  expectTypeOf<TilewiseError['code']>().toExtend<string>();
});

compiles('what maskPattern() finds goes into attention(), once it is known to be something', () => {
  const found = maskPattern({ type: 'bool', data: Uint8Array.of(1), dims: [1, 1] });
  if (found) attention(q, q, q, found);
  // @ts-expect-error there may be no such options
  attention(q, q, q, maskPattern(q));
});
