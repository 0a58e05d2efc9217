import { attention, Tensor } from 'tilewise';

const [batch, tokens, heads, dim] = [1, 1024, 8, 64];
const random = () => Float32Array.from({ length: batch * tokens * heads * dim }, () => Math.random() - 0.5);
const q = new Tensor('float32', random(), [batch, tokens, heads, dim]);
const k = new Tensor('float32', random(), [batch, tokens, heads, dim]);
const v = new Tensor('float32', random(), [batch, tokens, heads, dim]);

const { out, lse } = await attention(q, k, v, { causal: true, returnLse: true });
console.log(out.dims, lse.dims); // [ 1, 1024, 8, 64 ] [ 1, 8, 1024 ]
