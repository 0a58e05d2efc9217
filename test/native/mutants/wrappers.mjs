// Mistakes in the wrappers of instructions: operands, constraints and clobbers of inline assembly. The emulated GPU cannot
// notice one, as it compiles their twins; what nvcc makes of them must show it on the PTX machine.
// Reader: scripts/wrapper-mutants.mjs. Those in clobbers may change nothing that nvcc writes.
import { mutant } from './mutant.mjs';

const wrapper = mutant('wrapper', 'cuda/prims/ptx/');
const results = '{%0, %1, %2, %3}, [%4];"';
const ldmatrix = (keyword) => `asm${keyword}("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)`;
const accumulators = (constraint) => [0, 1, 2, 3].map((i) => `"${constraint}f"(d[${i}])`).join(', ');
const product = '{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \\';
// wgmma's text, which names each register, from its type to the constraint of its first sum.
const numbered = (count) => Array.from({ length: count }, (_, i) => `%${i}`);
const wgmma = (type, width, operands, constraint = '"+f"') => {
  const names = numbered(width / 2);
  const rows = names.flatMap((_, i) => (i % 16 === 0 ? [names.slice(i, i + 16).join(', ')] : []));
  return `${type}.${type} {" "${rows.join(', " "')}" "}, ${operands}; }" : ${constraint}(d[0])`;
};
const shared = '%32, %33, p, 1, 1, %35, %36';
const registers = '{%32, %33, %34, %35}, %36, p, 1, 1, %38';
const wgmmaShapes = (name, type, operands, changed, constraint) =>
  wrapper(name, 'wgmma_shapes.inc', wgmma(type, 64, operands), wgmma(type, 64, changed, constraint));
const copy = (size) => `${size} ::"r"(to), "l"(from), "r"(bytes)`;

export const wrapperMutants = [
  wrapper(
    'ldmatrix: two results swapped',
    'matrix.h',
    `x4.shared.b16 ${results}`,
    'x4.shared.b16 {%0, %2, %1, %3}, [%4];"',
  ),
  wrapper('ldmatrix: .trans dropped', 'matrix.h', 'x4.trans.shared', 'x4.shared'),
  wrapper('mma: the registers of b swapped', 'matrix.h', product, product.replace('%8, %9', '%9, %8')),
  wrapper('mma: two registers of a swapped', 'matrix.h', product, product.replace('%5, %6', '%6, %5')),
  wrapper('mma: sums are written only', 'matrix.h', `${accumulators('+')} \\`, `${accumulators('=')} \\`),
  wrapper('mma: float16 for bfloat16', 'matrix.h', 'TW_MMA_M16N8K16("bf16")', 'TW_MMA_M16N8K16("f16")'),
  wrapper('cp.async: no source size, so no zeros', 'async_copy.h', '16, %2;"', '16, 16;"'),
  wrapper('cp.async: twice the bytes of a row', 'async_copy.h', '"r"(bytes)', '"r"(bytes * 2)'),
  wrapper('cp.async: no memory clobber', 'async_copy.h', `${copy('16, %2;"')} : "memory"`, copy('16, %2;"')),
  wrapper('wait_group: no memory clobber', 'async_copy.h', '"n"(Pending) : "memory"', '"n"(Pending)'),
  wrapper('wait_group: one group too many may be pending', 'async_copy.h', '"n"(Pending)', '"n"(Pending + 1)'),
  wrapper('commit_group: forgotten', 'async_copy.h', 'asm volatile("cp.async.commit_group;" ::: "memory");'),
  wrapper(
    'ldmatrix: not volatile, no memory clobber',
    'matrix.h',
    `${ldmatrix(' volatile')}\n               : "memory"`,
    ldmatrix(''),
  ),
  wrapper(
    'ld.shared: not volatile, no memory clobber',
    'shared.h',
    'asm volatile("ld.shared.b32 %0, [%1];" : "=r"(value) : "r"(from) : "memory")',
    'asm("ld.shared.b32 %0, [%1];" : "=r"(value) : "r"(from))',
  ),
  wrapper(
    'st.shared.v4: two values swapped',
    'shared.h',
    '[%0], {%1, %2, %3, %4};" ::"r"(to)',
    '[%0], {%1, %2, %4, %3};" ::"r"(to)',
  ),
  wrapper(
    'st.shared: 16 bits of 32',
    'shared.h',
    'st.shared.b32 [%0], %1;" ::"r"(to), "r"(value)',
    'st.shared.b16 [%0], %1;" ::"r"(to), "h"(uint16_t(value))',
  ),
  wrapper('cvt: low and high swapped', 'math.h', '"cvt.rn.bf16x2.f32 %0, %1, %2;"', '"cvt.rn.bf16x2.f32 %0, %2, %1;"'),
  wrapper(
    'shfl_xor: half a warp in the mask',
    'warp.h',
    'float shfl_xor(float value, int mask) { return __shfl_xor_sync(0xffffffff,',
    'float shfl_xor(float value, int mask) { return __shfl_xor_sync(0x0000ffff,',
  ),
  wrapper(
    'shfl_xor: pieces of 2 lanes',
    'warp.h',
    'float shfl_xor(float value, int mask) { return __shfl_xor_sync(0xffffffff, value, mask)',
    'float shfl_xor(float value, int mask) { return __shfl_xor_sync(0xffffffff, value, mask, 2)',
  ),
  wrapper('sync_block does nothing', 'barrier.h', '{ __syncthreads(); }', '{}'),
  wrapper('sync_warp does nothing', 'barrier.h', '{ __syncwarp(); }', '{}'),
  wrapper(
    'st.global.v4: a store of 8 bytes',
    'global.h',
    'st.global.v4.b32 [%0], {%1, %2, %3, %4};',
    'st.global.v2.b32 [%0], {%1, %2};',
  ),
  wrapper('to_tf32 does not round', 'math.h', 'cvt.rna.tf32.f32 %0, %1;', 'mov.b32 %0, %1;'),
  wrapper('bar.arrive for bar.sync', 'barrier.h', '"bar.sync %0, %1;"', '"bar.arrive %0, %1;"'),
  wgmmaShapes('wgmma: the descriptors of a and b swapped', 'bf16', shared, '%33, %32, p, 1, 1, %35, %36'),
  wgmmaShapes('wgmma: the transpositions swapped', 'f16', shared, '%32, %33, p, 1, 1, %36, %35'),
  wgmmaShapes('wgmma: two registers of a swapped', 'bf16', registers, '{%32, %34, %33, %35}, %36, p, 1, 1, %38'),
  wgmmaShapes('wgmma: a transposition left out', 'bf16', registers, '{%32, %33, %34, %35}, %36, p, 1, 1, 0'),
  wgmmaShapes('wgmma: a sum is written only', 'bf16', registers, registers, '"=f"'),
  wrapper(
    'wgmma: what was there is always kept',
    'wgmma.h',
    '<A == Major::mn, B == Major::mn>(d, a, b, keep)',
    '<A == Major::mn, B == Major::mn>(d, a, b, true)',
  ),
  wrapper('wgmma_fence does nothing', 'wgmma.h', 'asm volatile("wgmma.fence.sync.aligned;" ::: "memory");'),
  wrapper('wgmma_commit does nothing', 'wgmma.h', 'asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");'),
  wrapper('wgmma_wait: one group too many may be pending', 'wgmma.h', '"n"(Pending)', '"n"(Pending + 1)'),
  wrapper(
    'fence_proxy_async does nothing',
    'mbarrier.h',
    'asm volatile("fence.proxy.async.shared::cta;" ::: "memory");',
  ),
  wrapper('stmatrix: two values swapped', 'matrix.h', '[%0], {%1, %2, %3, %4};"', '[%0], {%1, %3, %2, %4};"'),
  wrapper(
    'elect_one: all but one',
    'warp.h',
    'elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p',
    'elect.sync _|p, 0xffffffff; selp.u32 %0, 0, 1, p',
  ),
  wrapper('mbarrier_init: one arrival too many', 'mbarrier.h', '"r"(count)', '"r"(count + 1)'),
  wrapper('mbarrier_wait: the other parity', 'mbarrier.h', '"r"(parity)', '"r"(parity ^ 1)'),
  wrapper('mbarrier_wait: tries once', 'mbarrier.h', 'while (!isOver);', 'while (false);'),
  wrapper('expect_tx: half of the bytes', 'mbarrier.h', '"r"(barrier), "r"(bytes)', '"r"(barrier), "r"(bytes / 2)'),
  wrapper(
    'expect_tx: only arrives',
    'mbarrier.h',
    'mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;',
    'mbarrier.arrive.shared::cta.b64 _, [%0];',
  ),
  wrapper(
    'fence_mbarrier_init does nothing',
    'mbarrier.h',
    'asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");',
  ),
  wrapper('tma_load: coordinates swapped', 'tma.h', 'TW_TMA_LOAD("2d", "%3, %4"', 'TW_TMA_LOAD("2d", "%4, %3"'),
  wrapper('tma_load: the last coordinates swapped', 'tma.h', '"%3, %4, %5, %6, %7"', '"%3, %4, %5, %7, %6"'),
  wrapper('tma_store: coordinates swapped', 'tma.h', '"3d", "%2, %3, %4"', '"3d", "%2, %4, %3"'),
  wrapper(
    'tma_store: four dimensions of five',
    'tma.h',
    'TW_TMA_STORE("5d", "%2, %3, %4, %5, %6"',
    'TW_TMA_STORE("4d", "%2, %3, %4, %5"',
  ),
  wrapper('tma_store_commit does nothing', 'tma.h', 'asm volatile("cp.async.bulk.commit_group;" ::: "memory");'),
  wrapper('tma_store_wait: one group too many may be pending', 'tma.h', '"n"(Pending)', '"n"(Pending + 1)'),
];
