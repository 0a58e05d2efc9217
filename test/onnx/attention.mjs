// ONNX's Attention operator (opset 23 to 25) said in calls of this package's public API.
// Reader: someone who moves an ONNX model over, or who doubts that the API can say all of it.
// What the operator adds to attention() is bookkeeping: 3-D inputs, the cache that grows by concatenation, masks shorter
// than the keys, and the score matrix as an output.

import { attentionSync, Tensor } from '../../dist/index.js';

/** A tensor of the operator as a view [batch, heads, tokens, dim]. 3-D inputs are [batch, tokens, heads * dim]. */
function headsFirst(tensor, heads) {
  const { type, data, dims } = tensor;
  if (dims.length === 4) return new Tensor(type, data, dims);
  const [batch, tokens, width] = dims;
  return new Tensor(type, data, [batch, tokens, heads, width / heads]).transpose([0, 2, 1, 3]);
}

/** Past and new keys (or values) one after the other: [batch, heads, past + new, dim]. */
function concatenate(past, fresh) {
  const [batch, heads, tokens, dim] = fresh.dims;
  const before = past ? past.dims[2] : 0;
  const data = new fresh.data.constructor(batch * heads * (before + tokens) * dim);
  const [batchStride, headStride, tokenStride] = fresh.strides;
  let at = 0;
  for (let head = 0; head < batch * heads; head++) {
    if (past) data.set(past.data.subarray(head * before * dim, (head + 1) * before * dim), at);
    at += before * dim;
    for (let token = 0; token < tokens; token++) {
      const row = Math.floor(head / heads) * batchStride + (head % heads) * headStride + token * tokenStride;
      data.set(fresh.data.subarray(fresh.offset + row, fresh.offset + row + dim), at);
      at += dim;
    }
  }
  return new Tensor(fresh.type, data, [batch, heads, before + tokens, dim]);
}

/** A mask whose last axis is shorter than the keys hides the rest (a last axis of 1 repeats, as broadcasting says). */
function padMask(mask, keys) {
  const length = mask.dims.at(-1);
  if (length === keys || length === 1) return new Tensor(mask.type, mask.data, mask.dims);
  const dims = [...mask.dims.slice(0, -1), keys];
  const rows = mask.data.length / length;
  const hidden = { bool: 0, float32: -Infinity, float16: 0xfc00, bfloat16: 0xff80 }[mask.type];
  const data = new mask.data.constructor(rows * keys).fill(hidden);
  for (let row = 0; row < rows; row++) data.set(mask.data.subarray(row * length, (row + 1) * length), row * keys);
  return new Tensor(mask.type, data, dims);
}

/** Values that turn the output into the softmax itself: one identity matrix, read by every batch entry and head. */
function identity(type, batch, heads, keys) {
  const one = { float32: 1, float16: 0x3c00, bfloat16: 0x3f80 }[type];
  const data = new (type === 'float32' ? Float32Array : Uint16Array)(keys * keys);
  for (let key = 0; key < keys; key++) data[key * keys + key] = one;
  return new Tensor(type, data, [batch, heads, keys, keys], { strides: [0, 0, keys, 1] });
}

/** The part of a broadcastable [batch, heads, queries, keys] operand that one key of one batch entry sees. */
function cell(operand, entry, key) {
  const rank = operand.dims.length;
  let view = operand;
  if (operand.dims[rank - 1] > 1) view = view.slice(rank - 1, key, key + 1);
  if (rank === 4 && operand.dims[0] > 1) view = view.slice(0, entry, entry + 1);
  return view;
}

/**
 * Runs one Attention node. `inputs` holds `{ type, data, dims }` by the operator's names (Q, K, V, attn_mask, past_key,
 * past_value, nonpad_kv_seqlen), `attributes` what the node carries. Returns the operator's outputs by name;
 * `qk_matmul_output`, which no fused attention has at hand, only when `wantsScores`.
 */
export function runAttention(inputs, attributes, { wantsScores, device }) {
  const { Q, K, V, attn_mask, past_key, past_value, nonpad_kv_seqlen } = inputs;
  const q = headsFirst(Q, attributes.q_num_heads);
  const k = concatenate(past_key, headsFirst(K, attributes.kv_num_heads));
  const v = concatenate(past_value, headsFirst(V, attributes.kv_num_heads));
  const [batch, heads, queries] = q.dims;
  const keys = k.dims[2];
  const lengths = nonpad_kv_seqlen && Int32Array.from(nonpad_kv_seqlen.data, Number);
  const { left_window_size: left = -1, right_window_size: right = -1 } = attributes;

  // Query i is at i + what the cache held: behind the past, at the end of an external cache, else at the top left.
  const offsetOf = (entry) => (lengths ? lengths[entry] - queries : past_key ? past_key.dims[2] : 0);
  const mask = attn_mask && padMask(attn_mask, keys);
  const isBoolean = mask?.type === 'bool';

  const scoring = {
    layout: 'bhnd',
    device,
    ...(attributes.scale !== undefined && { scale: attributes.scale }),
    ...(attributes.softcap > 0 && { softcap: attributes.softcap }),
  };
  const masking = {
    causal: attributes.is_causal === 1,
    window: [left, right],
    ...(mask && { [isBoolean ? 'mask' : 'bias']: mask }),
  };
  const aligned = lengths ? { align: 'bottom-right', keyLengths: lengths } : { align: { offset: offsetOf(0) } };
  const attend = (values) => attentionSync(q, k, values, { ...scoring, ...masking, ...aligned }).out;

  const out = attend(v);
  const is3d = Q.dims.length === 3;
  const outputs = {
    Y: is3d ? mergeHeads(out) : out,
    present_key: k,
    present_value: v,
  };
  if (!wantsScores) return outputs;

  const mode = attributes.qk_matmul_output_mode ?? 0;
  if (mode === 3) {
    outputs.qk_matmul_output = attend(identity(v.type, batch, v.dims[1], keys));
    return outputs;
  }

  // The lse of a query that sees one key is that key's score. Mode 0 is the product, 1 has softcap, 2 bias and mask too.
  // (With softcap ONNX's reference implementation returns mode 1 for mode 0; its specification says the plain product.)
  const scores = new Float32Array(batch * heads * queries * keys);
  for (let entry = 0; entry < batch; entry++) {
    for (let key = 0; key < keys; key++) {
      const one = (tensor, token) => tensor.slice(0, entry, entry + 1).slice(2, token, token + 1);
      const { softcap, ...plain } = scoring;
      const { lse } = attentionSync(q.slice(0, entry, entry + 1), one(k, key), one(v, key), {
        ...plain,
        ...(mode >= 1 && softcap && { softcap }),
        ...(mode === 2 && {
          ...masking,
          align: { offset: offsetOf(entry) - key },
          ...(mask && { [isBoolean ? 'mask' : 'bias']: cell(mask, entry, key) }),
          ...(lengths && { keyLengths: Int32Array.of(key < lengths[entry] ? 1 : 0) }),
        }),
        returnLse: true,
      });
      for (let row = 0; row < heads * queries; row++) {
        scores[(entry * heads * queries + row) * keys + key] = lse.data[row];
      }
    }
  }
  outputs.qk_matmul_output = new Tensor('float32', scores, [batch, heads, queries, keys]);
  return outputs;
}

/** [batch, heads, tokens, dim] to [batch, tokens, heads * dim], copied. */
function mergeHeads(tensor) {
  const [batch, heads, tokens, dim] = tensor.dims;
  const data = new tensor.data.constructor(tensor.data.length);
  for (let head = 0; head < batch * heads; head++) {
    for (let token = 0; token < tokens; token++) {
      const row = tensor.data.subarray((head * tokens + token) * dim, (head * tokens + token + 1) * dim);
      data.set(row, ((Math.floor(head / heads) * tokens + token) * heads + (head % heads)) * dim);
    }
  }
  return new Tensor(tensor.type, data, [batch, tokens, heads * dim]);
}
