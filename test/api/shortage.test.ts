// A process that is short of memory or of threads: errors have a code, and what can go on does.
// Reader: someone who runs in a small container. Each case has a Node of its own with few addresses, on systems that have
// `ulimit -v`.

import { describe, expect, it } from 'vitest';
import { runScript } from '../support/script.js';

/** Prints the code of what a call ends in. */
const prelude = `
  const { attention, attentionSync, mergeAttentionSync, setNumThreads, Tensor } = await importTilewise();
  const code = async (run) => { try { await run(); return 'fine'; } catch (error) { return error.code ?? String(error); } };
  const zeros = (dims, strides) => new Tensor('float32', new Float32Array(512), dims, { strides });
`;

const run = async (source: string, v: number, s = 8192) => {
  const { stdout, stderr } = await runScript(prelude + source, [], { limits: { v, s } });
  expect(stderr).toBe('');
  return stdout.trim();
};

describe.runIf(process.platform === 'linux')('a process short of memory', () => {
  it('gets ERR_TILEWISE_OUT_OF_MEMORY for results', async () => {
    // 2 GiB of results; q, k and v are 64 numbers.
    const source = `
      const q = zeros([1, 2 ** 20, 8, 64], [0, 0, 0, 1]);
      const k = zeros([1, 1, 8, 64], [0, 0, 0, 1]);
      const copied = zeros([1, 2 ** 10, 2 ** 10, 8, 64], [0, 0, 0, 0, 0]);
      console.log(await code(() => attentionSync(q, k, k)), await code(() => attention(q, k, k)), await code(() => copied.getData()));
    `;
    expect(await run(source, 2_500_000)).toBe(Array(3).fill('ERR_TILEWISE_OUT_OF_MEMORY').join(' '));
  });

  it('gets ERR_TILEWISE_OUT_OF_MEMORY while a request is read', async () => {
    // Key lengths are copied: 2 GiB of them, untouched, do not fit twice. lib/ would have refused so many.
    const source = `
      const { native } = await import(${JSON.stringify(new URL('../../dist/native/native.js', import.meta.url).href)});
      const { fields, views: slots } = native.ops.attention;
      const numbers = new Float64Array(fields.length);
      for (const name of ['batch', 'sequences', 'queryHeads', 'kvHeads', 'queries', 'keys', 'headDim', 'valueDim']) {
        numbers[fields.indexOf(name)] = 1;
      }
      const lengths = new Int32Array(2 ** 29);
      const views = slots.map((name) => (name === 'keyLengths' ? lengths : /^(query|key|value|out)$/.test(name) ? new Float32Array(1) : undefined));
      const wanted = ['run', 'submit', 'supports'];
      console.log((await Promise.all(wanted.map((name) => code(() => native[name]('attention', numbers, views))))).join(' '));
    `;
    expect(await run(source, 4_500_000)).toBe(Array(3).fill('ERR_TILEWISE_OUT_OF_MEMORY').join(' '));
  });

  it('works on with the threads that it gets', async () => {
    // The first round loads what Node loads at a first use: where threads have taken the addresses, V8 ends the process for that.
    const source = `
      const q = zeros([1, 512, 64, 8], [0, 0, 0, 1]);
      const all = async () =>
        [await code(() => attentionSync(q, q, q)), await code(() => attention(q, q, q)), await code(() => attentionSync(q, q, q))].join(' ');
      setNumThreads(1);
      process.stdout.write(await all());
      setNumThreads(64);
      process.stdout.write(' ' + (await all()));
    `;
    // Stacks of 100 MB: what the last one leaves is enough for everything else.
    expect(await run(source, 3_000_000, 100_000)).toBe(Array(6).fill('fine').join(' '));
  });
});
