// What scripts/machine-code.mjs knows of machine code is so, and the mistake that it is there for is found: a shuffle of the
// whole warp where only some lanes are, as cuda/attention and cuda/selection once had it. Reader: someone who adds an
// opcode, or whose kernel is named by it.

import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readCubin } from '../../scripts/machine-code/cubin.mjs';
import { divergenceOf } from '../../scripts/machine-code/divergence.mjs';
import { opcodes } from '../../scripts/machine-code/opcodes.mjs';
import { root } from '../support/script.js';

const scratch = mkdtempSync(join(tmpdir(), 'tilewise-machine-code-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const architectures = ['sm_80', 'sm_90a'];

function assemble(ptx: string, architecture: string) {
  const cubin = ptx.replace(/ptx$/, `${architecture}.cubin`);
  execFileSync('ptxas', [`-arch=${architecture}`, '-o', cubin, ptx]);
  return readCubin(readFileSync(cubin));
}

/** An entry of PTX that loads numbers, different in each lane, runs a line and stores its results. */
const entry = (name: string, line: string) => `.visible .entry ${name}(.param .u64 numbers) {
  .reg .b32 %r<10>; .reg .f32 %f<10>; .reg .b64 %rd<2>; .reg .pred %p<2>;
  ld.param.u64 %rd1, [numbers];
  cvta.to.global.u64 %rd1, %rd1;
  mov.u32 %r4, %tid.x;
  mul.wide.u32 %rd0, %r4, 64;
  add.s64 %rd1, %rd1, %rd0;
  ld.global.u32 %r1, [%rd1]; ld.global.u32 %r2, [%rd1+4]; ld.global.u32 %r3, [%rd1+8];
  ld.global.f32 %f1, [%rd1+12]; ld.global.f32 %f2, [%rd1+16]; ld.global.f32 %f3, [%rd1+20];
  setp.ne.s32 %p1, %r3, 0;
  mov.u32 %r9, %r1;
  mov.f32 %f9, %f1;
  ${line}
  st.global.u32 [%rd1+24], %r9;
  st.global.f32 [%rd1+28], %f9;
  ret;
}
`;

describe.runIf(spawnSync('nvcc', ['--version']).status === 0)('the table of opcodes', () => {
  const rows = [...opcodes].filter(([, { by }]) => by);
  const ptx = join(scratch, 'rows.ptx');
  const entries = rows.map(([opcode, { by }]) => entry(`row_${opcode}`, by ?? ''));
  writeFileSync(ptx, ['.version 8.0', '.target sm_80', '.address_size 64', entry('twin', ''), ...entries].join('\n'));

  it('has what ptxas makes of each line of PTX', () => {
    const met = new Set<string>();
    for (const architecture of architectures) {
      const kernels = assemble(ptx, architecture);
      const count = (kernel: string, opcode: number) => {
        const code = kernels.get(kernel)?.code ?? Buffer.alloc(0);
        let found = 0;
        for (let at = 0; at < code.length; at += 16) if ((code.readUInt32LE(at) & 0x1ff) === opcode) ++found;
        return found;
      };
      for (const [opcode, { name }] of rows) if (count(`row_${opcode}`, opcode) > count('twin', opcode)) met.add(name);
    }
    expect([...met].sort()).toEqual(rows.map(([, { name }]) => name).sort());
  });
});

describe.runIf(spawnSync('nvcc', ['--version']).status === 0)('a shuffle of the whole warp', () => {
  // Two kernels of ours, from their own sources as they are or with the mistake.
  const source = `
    #include "cuda/prims/kernel.h"
    #include "cuda/attention/sm80/instances.h"
    #include "cuda/selection/lists.h"
    namespace tilewise::cuda {
    TW_KERNEL(keep_chunks, SelectionParams, kListThreads, 4) { keepChunks(p); }
    TW_ATTENTION_KERNEL(decode, window, WindowOrRanges, float16, f16, 32)
    }`;
  const mistakes = [
    ['cuda/tiles/best.h', 'st_shared(buffer + (warp * kValues', 'st_shared(buffer + (warp_id() * kValues'],
    ['cuda/attention/sm80/epilogue.h', 'Memory::state(row, warp), state', 'Memory::state(row, warp_id()), state'],
  ] as const;

  function compile(name: string, isWrong: boolean) {
    const folder = join(scratch, name);
    for (const floor of ['core', 'cuda']) cpSync(join(root, floor), join(folder, floor), { recursive: true });
    for (const [file, right, wrong] of isWrong ? mistakes : []) {
      const text = readFileSync(join(folder, file), 'utf8');
      expect(text).toContain(right);
      writeFileSync(join(folder, file), text.replace(right, wrong));
    }
    writeFileSync(join(folder, 'kernel.cu'), source);
    const ptx = join(folder, 'kernel.ptx');
    execFileSync('nvcc', [
      '-std=c++17',
      '-ptx',
      '-arch=compute_80',
      '-I',
      folder,
      '-o',
      ptx,
      join(folder, 'kernel.cu'),
    ]);
    return ptx;
  }

  it('is found in a branch by the lane, and nowhere else', { timeout: 180_000 }, () => {
    const [right, wrong] = [compile('right', false), compile('wrong', true)];
    for (const architecture of architectures) {
      for (const [name, { code }] of assemble(right, architecture)) {
        const { found, collectives, unknown } = divergenceOf(code, architecture === 'sm_90a');
        expect({ architecture, name, found, unknown }).toEqual({ architecture, name, found: [], unknown: [] });
        expect(collectives).toBeGreaterThan(2);
      }
      const faulty = assemble(wrong, architecture);
      expect(faulty.size).toBe(2);
      for (const { code } of faulty.values()) {
        const { found } = divergenceOf(code, architecture === 'sm_90a');
        expect(found.map(({ name }) => name)).toContain('BRA.DIV to WARPSYNC');
      }
    }
  });
});
