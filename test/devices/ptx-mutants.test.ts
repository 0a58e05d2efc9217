// Which mutants of PTX are no mistake: what each rule accepts, and what it must not. Reader: someone who adds a rule to
// test/native/mutants/ptx/equivalence.mjs. Expected: PTX ISA, shfl.sync, st, and, cp.async.commit_group.
import { describe, expect, it } from 'vitest';
import { reasonOfEquivalence } from '../native/mutants/ptx/equivalence.mjs';
import { kernelsOf } from '../native/mutants/ptx/statements.mjs';

/** The reason why `line`, the only one of its text, may become `replacement` in a kernel of these statements. */
function reasonOf(statements: string[], line: string, replacement: string) {
  const lines = ['.visible .entry k(', ')', '{', ...statements, '\tret;', '}'];
  const kernels = kernelsOf(lines, ['k']);
  const index = kernels.statements.findIndex(({ text }) => text === line);
  const statement = kernels.statements[index];
  if (!statement) throw new Error(`there is no ${line}`);
  return reasonOfEquivalence(kernels, { index, statement, replacement });
}

const sameShuffles = 'every shuffle reads the same lanes, or all lanes have the same';

describe('shuffles that read the same lanes', () => {
  const shuffle = (mode: string, offset: string) => [
    'mov.u32 %r1, 31;',
    'mov.u32 %r2, -1;',
    'mov.u32 %r3, 7;',
    `shfl.sync.${mode}.b32 %r9|%p1, %r8, ${offset}, %r1, %r2;`,
  ];
  const reason = sameShuffles;

  it('have another bound that no lane comes to', () => {
    expect(reasonOf(shuffle('idx', '%r3'), 'mov.u32 %r1, 31;', 'mov.u32 %r1, 30;')).toBe(reason);
    expect(reasonOf(shuffle('idx', '0'), 'mov.u32 %r1, 31;', 'mov.u32 %r1, 32;')).toBe(reason);
    expect(reasonOf(shuffle('idx', '%r3'), 'mov.u32 %r3, 7;', 'mov.u32 %r3, 39;')).toBe(reason);
  });

  it('do not, where a lane comes to the bound', () => {
    expect(reasonOf(shuffle('bfly', '%r3'), 'mov.u32 %r1, 31;', 'mov.u32 %r1, 30;')).toBeUndefined();
    expect(reasonOf(shuffle('idx', '31'), 'mov.u32 %r1, 31;', 'mov.u32 %r1, 30;')).toBeUndefined();
    const upTo0 = shuffle('up', '%r3').map((line) => line.replace('%r1, 31', '%r1, 0'));
    expect(reasonOf(upTo0, 'mov.u32 %r1, 0;', 'mov.u32 %r1, 1;')).toBeUndefined();
    expect(reasonOf(shuffle('idx', '%r3'), 'mov.u32 %r3, 7;', 'mov.u32 %r3, 8;')).toBeUndefined();
  });

  it('are not known to, where the lane is not', () => {
    expect(reasonOf(shuffle('idx', '%r7'), 'mov.u32 %r1, 31;', 'mov.u32 %r1, 30;')).toBeUndefined();
    const twice = ['mov.u32 %r3, 8;', ...shuffle('idx', '%r3')];
    expect(reasonOf(twice, 'mov.u32 %r1, 31;', 'mov.u32 %r1, 30;')).toBeUndefined();
    const guarded = shuffle('idx', '%r3').map((line) => line.replace('mov.u32 %r3', '@%p7 mov.u32 %r3'));
    expect(reasonOf(guarded, 'mov.u32 %r1, 31;', 'mov.u32 %r1, 30;')).toBeUndefined();
  });

  it('do not, where the number is also a value or a mask, or used elsewhere', () => {
    const value = ['mov.u32 %r1, 31;', 'shfl.sync.idx.b32 %r9|%p1, %r1, 0, %r1, -1;'];
    expect(reasonOf(value, 'mov.u32 %r1, 31;', 'mov.u32 %r1, 30;')).toBeUndefined();
    const mask = ['mov.u32 %r1, 31;', 'shfl.sync.idx.b32 %r9|%p1, %r8, 0, %r1, %r1;'];
    expect(reasonOf(mask, 'mov.u32 %r1, 31;', 'mov.u32 %r1, 30;')).toBeUndefined();
    const elsewhere = [...shuffle('idx', '0'), 'st.global.u32 [%rd1], %r1;'];
    expect(reasonOf(elsewhere, 'mov.u32 %r1, 31;', 'mov.u32 %r1, 30;')).toBeUndefined();
  });

  it('do not, where another value goes round, or other lanes take part', () => {
    const line = 'shfl.sync.idx.b32 %r9|%p1, %r8, %r3, %r1, %r2;';
    const swapped = 'shfl.sync.idx.b32 %r9|%p1, %r1, %r3, %r8, %r2;';
    expect(reasonOf(shuffle('idx', '%r3'), line, swapped)).toBeUndefined();
    const guarded = shuffle('idx', '%r3').map((text) => text.replace('shfl', '@%p2 shfl'));
    expect(reasonOf(guarded, `@%p2 ${line}`, line)).toBeUndefined();
  });
});

describe('shuffles of what all lanes have', () => {
  // The warp's index, as every kernel asks for it: lane 0 of all 32.
  const thread = 'mov.u32 %r5, %tid.x;';
  const index = 'shr.s32 %r8, %r5, 5;';
  const constants = ['mov.u32 %r1, 31;', 'mov.u32 %r2, -1;', 'mov.u32 %r3, 0;'];
  const shuffle = 'shfl.sync.idx.b32 %r9|%p1, %r8, %r3, %r1, %r2;';
  const kernel = [thread, index, ...constants, shuffle];

  it('may read any lane, or none that there is', () => {
    expect(reasonOf(kernel, 'mov.u32 %r3, 0;', 'mov.u32 %r3, 1;')).toBe(sameShuffles);
    expect(reasonOf(kernel, shuffle, shuffle.replace('%r3, %r1', '%r1, %r3'))).toBe(sameShuffles);
    expect(reasonOf(kernel.with(1, 'mov.u32 %r8, 4;'), 'mov.u32 %r3, 0;', 'mov.u32 %r3, -1;')).toBe(sameShuffles);
  });

  it('may not have fewer members, or another value', () => {
    expect(reasonOf(kernel, 'mov.u32 %r2, -1;', 'mov.u32 %r2, -2;')).toBeUndefined();
    const few = kernel.with(3, 'mov.u32 %r2, 15;');
    expect(reasonOf(few, 'mov.u32 %r3, 0;', 'mov.u32 %r3, 1;')).toBeUndefined();
    expect(reasonOf(kernel, shuffle, shuffle.replace('%r8, %r3', '%r3, %r8'))).toBeUndefined();
    expect(reasonOf(kernel, index, 'shr.s32 %r8, %r5, 6;')).toBeUndefined();
  });

  it('may not, where lanes differ, or may', () => {
    for (const changed of [
      kernel.with(1, 'shr.s32 %r8, %r5, 4;'),
      kernel.with(1, 'and.b32 %r8, %r5, 5;'),
      kernel.with(1, '@%p2 shr.s32 %r8, %r5, 5;'),
      kernel.with(0, 'mov.u32 %r5, %laneid;'),
      [...kernel, 'add.s32 %r5, %r5, 256;'],
      [...kernel, 'add.s32 %r8, %r5, 1;'],
    ]) {
      expect(reasonOf(changed, 'mov.u32 %r3, 0;', 'mov.u32 %r3, 1;')).toBeUndefined();
    }
  });

  it('may not, where somebody asks whether there is such a lane', () => {
    const asked = [...kernel, '@%p1 bra $L_end;'];
    expect(reasonOf(asked, 'mov.u32 %r3, 0;', 'mov.u32 %r3, 1;')).toBeUndefined();
  });
});

describe('bits that a mask lets through', () => {
  const reason = 'the bits that change are zero or not read';
  const mask = 'and.b32 %r2, %r1, 16;';
  const store = (register: string) => `st.global.u32 [%rd1], ${register};`;

  it('may be others that are zero', () => {
    const low = 'and.b32 %r2, %r1, 248;';
    const shifted = ['shl.b32 %r1, %r7, 3;', low, store('%r2')];
    expect(reasonOf(shifted, low, 'and.b32 %r2, %r1, 249;')).toBe(reason);
    expect(reasonOf(shifted, low, 'and.b32 %r2, %r1, 247;')).toBeUndefined();
    const high = ['shr.u32 %r1, %r7, 28;', mask.replace('16', '15'), store('%r2')];
    expect(reasonOf(high, 'and.b32 %r2, %r1, 15;', 'and.b32 %r2, %r1, 31;')).toBe(reason);
    expect(reasonOf(high.with(0, 'shr.s32 %r1, %r7, 28;'), high[1]!, 'and.b32 %r2, %r1, 31;')).toBeUndefined();
  });

  it('may be others that nobody reads', () => {
    for (const users of [
      ['xor.b32 %r3, %r2, %r4;', 'and.b32 %r5, %r3, 48;', store('%r5')],
      ['or.b32 %r3, %r4, %r2;', 'and.b32 %r5, %r3, 48;', store('%r5')],
    ]) {
      expect(reasonOf([mask, ...users], mask, 'and.b32 %r2, %r1, 17;')).toBe(reason);
      expect(reasonOf([mask, ...users], mask, 'and.b32 %r2, %r1, 15;')).toBeUndefined();
    }
    const shifted = ['shl.b32 %r3, %r2, 27;', store('%r3')];
    expect(reasonOf([mask, ...shifted], mask, 'and.b32 %r2, %r1, 48;')).toBe(reason);
    expect(reasonOf([mask, ...shifted], mask, 'and.b32 %r2, %r1, 24;')).toBeUndefined();
  });

  it('may not, where a sum carries them, another statement reads them, or a guard decides', () => {
    for (const users of [
      ['add.s32 %r3, %r2, %r4;', 'and.b32 %r5, %r3, 48;', store('%r5')],
      ['mad.lo.s32 %r3, %r2, %r2, %r4;', 'and.b32 %r5, %r3, 48;', store('%r5')],
      ['xor.b32 %r3, %r2, %r4;', 'and.b32 %r5, %r3, 48;', store('%r5'), store('%r2')],
      ['xor.b32 %r3, %r2, %r4;', '@%p1 and.b32 %r3, %r3, 48;', store('%r3')],
      ['setp.eq.s32 %p1, %r2, 0;', '@%p1 bra $L_end;'],
      ['add.s64 %rd2, %r2, 1;', 'and.b64 %rd3, %rd2, 48;', 'st.global.u64 [%rd1], %rd3;'],
    ]) {
      expect(reasonOf([mask, ...users], mask, 'and.b32 %r2, %r1, 17;')).toBeUndefined();
    }
    const twice = ['shl.b32 %r1, %r7, 3;', 'add.s32 %r1, %r1, %r7;', mask, store('%r2')];
    expect(reasonOf(twice, mask, 'and.b32 %r2, %r1, 17;')).toBeUndefined();
  });
});

describe('results that nobody reads', () => {
  const load = 'ld.shared.v4.b32 {%r1, %r2, %r3, %r4}, [%r5];';
  const statements = [load, 'st.global.v2.b32 [%rd1], {%r1, %r4};'];

  it('may change places', () => {
    const reason = 'nobody reads the results that change places';
    expect(reasonOf(statements, load, 'ld.shared.v4.b32 {%r1, %r3, %r2, %r4}, [%r5];')).toBe(reason);
  });

  it('may not change places with one that is read, or with an address', () => {
    for (const line of [
      'ld.shared.v4.b32 {%r2, %r1, %r3, %r4}, [%r5];',
      'ld.shared.v4.b32 {%r4, %r2, %r3, %r1}, [%r5];',
      'ld.shared.v4.b32 {%r1, %r2, %r3, %r4}, [%r6];',
      '@%p1 ld.shared.v4.b32 {%r1, %r3, %r2, %r4}, [%r5];',
    ]) {
      expect(reasonOf(statements, load, line)).toBeUndefined();
    }
  });

  it('are not those that guard a statement', () => {
    const vote = 'shfl.sync.idx.b32 %r1|%p1, %r7, 0, %r8, %r9;';
    const guarded = [vote, 'setp.eq.s32 %p2|%p3, %r1, 0;', '@%p3 bra $L_end;'];
    expect(reasonOf(guarded, 'setp.eq.s32 %p2|%p3, %r1, 0;', 'setp.eq.s32 %p3|%p2, %r1, 0;')).toBeUndefined();
  });
});

describe('stores into whose place the same thread stores again', () => {
  const store = 'st.shared.v4.b32 [%r1], {%r2, %r2, %r2, %r2};';
  const dropped = `// ${store}`;
  const copy = 'cp.async.cg.shared.global [%r1], [%rd1], 16, %r3;';
  const reason = 'the same thread stores again before anybody may look';

  it('may be left out, or store something else', () => {
    expect(reasonOf([store, 'add.s32 %r4, %r4, 1;', copy], store, dropped)).toBe(reason);
    expect(reasonOf([store, copy], store, 'st.shared.v4.b32 [%r1], {%r2, %r2, %r4, %r2};')).toBe(reason);
  });

  it('may not, where somebody may look before', () => {
    for (const between of ['bar.sync 0;', 'ld.shared.b32 %r4, [%r9];', '@%p1 bra $L_end;', '$L_loop:']) {
      expect(reasonOf([store, between, copy], store, dropped)).toBeUndefined();
    }
    expect(reasonOf([store], store, dropped)).toBeUndefined();
  });

  it('may not, where something is left of them', () => {
    for (const second of [
      'st.shared.b32 [%r1], %r3;',
      `@%p1 ${copy}`,
      copy.replace('%r1', '%r7'),
      copy.replace('[%r1]', '[%r1+16]'),
    ]) {
      expect(reasonOf([store, second], store, dropped)).toBeUndefined();
    }
    expect(reasonOf([store, 'add.s32 %r1, %r1, 16;', copy], store, dropped)).toBeUndefined();
  });

  it('may not store elsewhere, or in more threads', () => {
    expect(reasonOf([store, copy], store, store.replace('[%r1]', '[%r2]'))).toBeUndefined();
    expect(reasonOf([`@%p1 ${store}`, copy], `@%p1 ${store}`, store)).toBeUndefined();
    const global = store.replace('shared', 'global');
    expect(reasonOf([global, global.replace('%r2,', '%r3,')], global, `// ${global}`)).toBeUndefined();
  });
});

describe('groups of copies that become one', () => {
  const commit = 'cp.async.commit_group;';
  const first = '  cp.async.commit_group;';
  const dropped = `// ${first}`;
  const copy = 'cp.async.cg.shared.global [%r1], [%rd1], 16, %r3;';
  const wait = 'cp.async.wait_group 0;';
  const reason = 'its copies join the next group, which no wait can tell';

  it('are all that every wait waits for', () => {
    expect(reasonOf([copy, first, copy, commit, wait], first, dropped)).toBe(reason);
    const loop = [first, '$L_loop:', copy, '@%p1 bra $L_loop;', commit, wait];
    expect(reasonOf(loop, first, dropped)).toBe(reason);
  });

  it('are all, whatever the waits of a kernel after it', () => {
    expect(reasonOf([copy, first, copy, commit, wait, 'ret;', 'cp.async.wait_group 1;'], first, dropped)).toBe(reason);
  });

  it('are not, where a wait comes first on some way, or none follows', () => {
    for (const between of [wait, '@%p1 bra $L_wait;', 'bra.uni $L_wait;', `@%p1 ${commit}`]) {
      const statements = [copy, first, between, ...(between.includes(commit) ? [] : [commit]), '$L_wait:', wait];
      expect(reasonOf(statements, first, dropped)).toBeUndefined();
    }
    expect(reasonOf([copy, first], first, dropped)).toBeUndefined();
  });

  it('are all that a wait leaves pending, where enough others follow', () => {
    const some = 'cp.async.wait_group 1;';
    expect(reasonOf([copy, first, copy, commit, copy, commit, some, wait], first, dropped)).toBe(reason);
    expect(reasonOf([copy, first, copy, commit, some, copy, commit, wait], first, dropped)).toBeUndefined();
    const loop = ['$L_loop:', copy, first, '@%p1 bra $L_loop;', commit, some, wait];
    expect(reasonOf(loop, first, dropped)).toBeUndefined();
    expect(reasonOf(loop.with(5, wait), first, dropped)).toBe(reason);
  });
});

describe('branches whose ways are the same statements', () => {
  const branch = '@%p1 bra $L_taken;';
  const ways = (first: string[], second: string[]) => [
    ...[branch, 'bra.uni $L_other;', '$L_taken:', ...first, 'bra.uni $L_meet;'],
    ...['$L_other:', ...second, '$L_meet:', 'st.global.u32 [%rd1], %r1;'],
  ];
  const sync = 'bar.sync 0;';
  const reason = 'both ways of the branch are the same statements';

  it('may take either', () => {
    expect(reasonOf(ways([sync], [sync]), branch, '@!%p1 bra $L_taken;')).toBe(reason);
    expect(reasonOf(ways([sync, 'mov.u32 %r1, 3;'], [sync, 'mov.u32 %r1, 3;']), branch, 'bra $L_taken;')).toBe(reason);
    expect(reasonOf(ways([], []), branch, 'bra $L_taken;')).toBe(reason);
  });

  it('may not, where one differs, is longer or parts again', () => {
    for (const [first, second] of [
      [[sync], ['bar.sync 1;']],
      [[sync], []],
      [[], [sync]],
      [['mov.u32 %r1, 3;'], ['mov.u32 %r1, 4;']],
      [
        ['@%p2 bra $L_meet;', sync],
        ['@%p2 bra $L_meet;', 'bar.sync 1;'],
      ],
    ] as const) {
      expect(reasonOf(ways([...first], [...second]), branch, 'bra $L_taken;')).toBeUndefined();
    }
    expect(reasonOf([sync, '$L_taken:', sync, branch], branch, 'bra $L_taken;')).toBeUndefined();
    expect(reasonOf(ways([sync], [sync]), branch, '@%p1 bra $L_other;')).toBeUndefined();
  });
});
