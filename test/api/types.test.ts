// The public types, as a compiler sees them: `npm run types` is what checks this file, running it only loads it.
// Reader: someone who changes a signature. A line under @ts-expect-error must not compile.

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
  mergeAttention,
  neighborhoodAttention,
  type Pattern,
  s2AttentionSync,
  slidingWindow,
  Tensor,
  type TensorLike,
  type TilewiseError,
} from '../../dist/index.js';

/** Compiles what it is given and never runs it. */
const compiles = (what: string, _: () => unknown) => it(what, () => {});

declare const q: TensorLike;

compiles('lse is there where returnLse asks for it, and may be missing elsewhere', () => {
  expectTypeOf(attentionSync(q, q, q, { returnLse: true }).lse).toEqualTypeOf<Tensor>();
  expectTypeOf(attentionSync(q, q, q).lse).toEqualTypeOf<Tensor | undefined>();
  expectTypeOf(attention(q, q, q)).resolves.toEqualTypeOf<AttentionResult<Tensor>>();
  expectTypeOf(attention(q, q, q, { returnLse: true })).resolves.toEqualTypeOf<Required<AttentionResult<Tensor>>>();
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
    Required<AttentionResult<Theirs>>
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
    'window' | 'neighborhood' | 'stridedShards' | 'blocks' | 'hierarchical'
  >();
  expectTypeOf(causal()).toExtend<Pattern>();
  const pattern = slidingWindow({ left: 3 });
  // @ts-expect-error they are frozen
  pattern.left = 4;
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
