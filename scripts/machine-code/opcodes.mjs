// The instructions of Ampere and Hopper (sm_80, sm_90a) that the kernels consist of, by the low nine bits of their words.
// Reader: someone who meets an instruction that the table does not have. NVIDIA documents names, no encodings. `by`: a line
// of PTX; on one of the architectures a kernel with it has more of the opcode than its twin without, which
// test/devices/machine-code.test.ts compiles and counts. Rows without are read off our kernels, beside their PTX.
//
// reads: registers a, b, c of the word; capitals are pairs. p, q: predicates at bits 87 and 77; u: one at bit 68.
// gives: r, a register; rr, two; P, predicates at bits 81 and 84; none; or what lanes.mjs has a rule for.

// Lanes part and meet again, too far for predicates.
const branch = '@%p1 bra L; st.global.u32 [%rd1+64], %r1; barrier.sync 1, 64; st.global.u32 [%rd1+64], %r2; L:';

function row(name, reads, gives, by) {
  const letters = [...reads];
  return {
    name,
    registers: letters.filter((letter) => 'abc'.includes(letter)),
    pairs: letters.filter((letter) => 'ABC'.includes(letter)).map((letter) => letter.toLowerCase()),
    predicates: letters.filter((letter) => 'pqu'.includes(letter)),
    gives,
    by,
  };
}

export const opcodes = new Map([
  // Integers, bits and selection.
  [0x002, row('MOV', 'b', 'r')],
  [0x003, row('P2R', '', 'bits of predicates')],
  [0x004, row('R2P', 'a', 'predicates of bits')],
  [0x005, row('CS2R', '', 'zeros')],
  [0x007, row('SEL', 'abp', 'r', 'selp.s32 %r9, 5, 9, %p1;')],
  [0x00c, row('ISETP', 'abpu', 'comparison', '{ .reg .pred q; setp.lt.s32 q, %r1, %r2; selp.s32 %r9, %r3, %r2, q; }')],
  [0x00f, row('VIMNMX3', 'abc', 'r', '{ .reg .b32 t; min.s32 t, %r1, %r2; min.s32 %r9, t, %r3; }')],
  [0x010, row('IADD3', 'abcpq', 'sum and carry', 'sub.s32 %r9, %r1, %r2;')],
  [0x011, row('LEA', 'abcp', 'sum and carry', '{ .reg .b32 t; shl.b32 t, %r1, 3; add.s32 %r9, t, %r2; }')],
  [0x012, row('LOP3', 'abcp', 'logic', 'xor.b32 %r9, %r1, %r2;')],
  [0x013, row('IABS', 'b', 'r', 'abs.s32 %r9, %r1;')],
  [0x016, row('PRMT', 'abc', 'bytes', 'prmt.b32 %r9, %r1, %r2, 0x6240;')],
  [0x017, row('IMNMX', 'abp', 'r', 'min.s32 %r9, %r1, %r2;')],
  [0x019, row('SHF', 'abc', 'shift', 'shf.l.wrap.b32 %r9, %r1, %r2, %r3;')],
  [0x01c, row('PLOP3', 'pqu', 'P')],
  [0x024, row('IMAD', 'abcp', 'product', 'mad.lo.s32 %r9, %r1, %r2, %r3;')],
  [
    0x025,
    row(
      'IMAD.WIDE',
      'abCp',
      'rr and carry',
      '{ .reg .s64 t; mul.wide.s32 t, %r1, %r2; cvt.u32.u64 %r9, t; shr.u64 t, t, 32; cvt.u32.u64 %r9, t; }',
    ),
  ],
  [0x027, row('IMAD.HI', 'abCp', 'r and carry', 'mul.hi.u32 %r9, %r1, %r2;')],
  [0x036, row('VIADD', 'ab', 'sum')],
  [0x045, row('I2FP', 'b', 'r', 'cvt.rn.f32.s32 %f9, %r1;')],
  [0x046, row('VIADDMNMX', 'abc', 'r', '{ .reg .b32 t; add.s32 t, %r1, %r2; min.s32 %r9, t, %r3; }')],
  [0x048, row('VIMNMX', 'abp', 'r', 'min.s32 %r9, %r1, %r2;')],
  [0x100, row('FLO', 'b', 'r', '{ .reg .u32 t; bfind.u32 t, %r1; mov.b32 %r9, t; }')],
  [0x109, row('POPC', 'b', 'r', 'popc.b32 %r9, %r1;')],
  // Floats and conversions.
  [0x008, row('FSEL', 'abp', 'r', 'selp.f32 %f9, 0f40A00000, 0f41100000, %p1;')],
  [0x009, row('FMNMX', 'abp', 'r', 'max.f32 %f9, %f1, %f2;')],
  [0x00a, row('FSET', 'abp', 'r', '{ .reg .f32 t; set.lt.f32.f32 t, %f1, %f2; add.f32 %f9, t, %f3; }')],
  [0x00b, row('FSETP', 'abp', 'P', '{ .reg .pred q; setp.lt.f32 q, %f1, %f2; selp.s32 %r9, %r3, %r2, q; }')],
  [0x020, row('FMUL', 'ab', 'r', 'mul.rn.f32 %f9, %f1, %f2;')],
  [0x021, row('FADD', 'ab', 'r', 'add.rn.f32 %f9, %f1, %f2;')],
  [0x023, row('FFMA', 'abc', 'r', 'fma.rn.f32 %f9, %f1, %f2, %f3;')],
  [0x035, row('HFMA2', 'abc', 'r', 'fma.rn.f16x2 %r9, %r1, %r2, %r3;')],
  [0x03e, row('F2FP', 'ab', 'r', 'cvt.rn.f16x2.f32 %r9, %f1, %f2;')],
  [0x102, row('FCHK', 'ab', 'P', 'div.rn.f32 %f9, %f1, %f2;')],
  [0x105, row('F2I', 'b', 'r', 'cvt.rzi.s32.f32 %r9, %f1;')],
  [0x106, row('I2F', 'b', 'r', 'cvt.rn.f32.s32 %f9, %r1;')],
  [0x108, row('MUFU', 'b', 'r', 'ex2.approx.ftz.f32 %f9, %f1;')],
  [0x111, row('F2I.64', 'b', 'rr', '{ .reg .s64 t; cvt.rzi.s64.f32 t, %f1; cvt.u32.u64 %r9, t; }')],
  [0x112, row('I2F.64', 'B', 'r', '{ .reg .s64 t; mov.b64 t, {%r1, %r2}; cvt.rn.f32.s64 %f9, t; }')],
  // Memory: the same in all lanes when the address is.
  [0x180, row('LD', 'A', 'load', 'ld.u32 %r9, [%rd1+64];')],
  [0x181, row('LDG', 'A', 'load', '{ .reg .b32 t; ld.global.u32 t, [%rd1+64]; add.s32 %r9, t, %r1; }')],
  [0x182, row('LDC', 'a', 'load')],
  [0x184, row('LDS', 'a', 'load', 'ld.shared.u32 %r9, [%r1];')],
  [0x185, row('ST', '', 'none', 'st.u32 [%rd1+64], %r1;')],
  [0x186, row('STG', '', 'none', 'st.global.u32 [%rd1+64], %r1;')],
  [0x188, row('STS', '', 'none', 'st.shared.u32 [%r1], %r2;')],
  [0x1ae, row('LDGSTS', '', 'none', 'cp.async.cg.shared.global [%r1], [%rd1], 16;')],
  [0x1af, row('LDGDEPBAR', '', 'none', 'cp.async.commit_group;')],
  [0x11a, row('DEPBAR', '', 'none', 'cp.async.commit_group; cp.async.wait_group 0;')],
  // Of a whole warp, or a block.
  [0x006, row('VOTE', '', 'same', 'vote.sync.ballot.b32 %r9, %p1, 0xffffffff;')],
  [0x03b, row('LDSM', '', 'fragment', 'ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r9, %r5, %r6, %r7}, [%r1];')],
  [
    0x03c,
    row(
      'HMMA',
      '',
      'fragment',
      'mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f9, %f5, %f6, %f7}, {%r1, %r2, %r3, %r1}, {%r2, %r3}, {%f1, %f2, %f3, %f1};',
    ),
  ],
  [0x11b, row('ENDCOLLECTIVE', '', 'none')],
  [0x11c, row('B2R', '', 'same', '{ .reg .pred q; barrier.red.or.pred q, 0, %p1; selp.s32 %r9, %r3, %r2, q; }')],
  [0x11d, row('BAR', '', 'none', 'barrier.sync 0;')],
  [0x119, row('S2R', '', 'special', 'mov.u32 %r9, %laneid;')],
  [0x148, row('WARPSYNC', '', 'none')],
  [0x189, row('SHFL', '', 'shuffle', 'shfl.sync.bfly.b32 %r9, %r1, 1, 0x1f, 0xffffffff;')],
  // Where to go on.
  [0x118, row('NOP', '', 'none')],
  [0x141, row('BSYNC', '', 'none', branch)],
  [0x142, row('BREAK', '', 'none')],
  [0x144, row('CALL', '', 'none')],
  [0x145, row('BSSY', '', 'none', branch)],
  [0x147, row('BRA', '', 'none', branch)],
  [0x14d, row('EXIT', '', 'none', '@%p1 exit;')],
  [0x150, row('RET', '', 'none')],
  // Uniform registers: one for the warp, no lane has its own.
  [0x082, row('UMOV', '', 'none')],
  [0x083, row('UP2UR', '', 'none')],
  [0x086, row('VOTEU', '', 'none')],
  [0x087, row('USEL', '', 'none')],
  [0x08c, row('UISETP', '', 'none')],
  [0x090, row('UIADD3', '', 'none')],
  [0x091, row('ULEA', '', 'none')],
  [0x092, row('ULOP3', '', 'none')],
  [0x099, row('USHF', '', 'none')],
  [0x09c, row('UPLOP3', '', 'none')],
  [0x0a4, row('UIMAD', '', 'none')],
  [0x0a5, row('UIMAD.WIDE', '', 'none')],
  [0x0b9, row('ULDC', '', 'none')],
  [0x0ca, row('R2UR', '', 'none')],
  [0x1c2, row('R2UR', '', 'none')],
  [0x1c3, row('S2UR', '', 'none')],
]);
