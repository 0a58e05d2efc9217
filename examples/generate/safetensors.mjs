// Reads a safetensors file: eight bytes of length, that many of JSON, then the tensors one after the other.
// Reader: someone with weights of their own. Only float16 is read here; Tensor's astype() does the rest.
import { readFileSync } from 'node:fs';
import { Tensor } from 'tilewise';

/** The tensors of a file as float32, by name, and its metadata. */
export function readSafetensors(file) {
  const bytes = readFileSync(file);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const { __metadata__: metadata = {}, ...entries } = JSON.parse(bytes.toString('utf8', 8, 8 + headerLength));
  const tensors = Object.entries(entries).map(([name, { dtype, shape, data_offsets: offsets }]) => {
    if (dtype !== 'F16') throw new TypeError(`${file}: '${name}' is ${dtype}, only F16 is read here`);
    const [begin, end] = offsets.map((offset) => 8 + headerLength + offset);
    const bits = new Uint16Array(Uint8Array.prototype.slice.call(bytes, begin, end).buffer);
    return [name, new Tensor('float16', bits, shape).astype('float32')];
  });
  return { metadata, tensors: Object.fromEntries(tensors) };
}
