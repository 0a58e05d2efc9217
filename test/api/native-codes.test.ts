// What native code refuses of requests for codes. Reader: someone who changes binding/requests/encode.cc.

import { describe, expect, it } from 'vitest';
import { native } from '../../dist/native/native.js';
import { expectError, thrownBy } from '../support/expect-error.js';

const { fields, views: names } = native.ops.encode;

/** Two blocks of 4 tokens and 2 heads, keys of 3 channels in groups of 2 tokens, values of 4 channels in groups of 2. */
const sound = {
  numbers: {
    heads: [2],
    pages: [2],
    pageSize: [4],
    blockTokens: [4],
    keyDim: [3],
    keyGroup: [2],
    keyBits: [4],
    wideKeyBits: [8],
    valueDim: [4],
    valueGroup: [2],
    valueBits: [4],
    wideValueBits: [8],
    keysOffset: [0, 24, 6, 3, 1],
    valuesOffset: [0, 32, 8, 4, 1],
  },
  views: {
    blocks: new Uint8Array(2048),
    keys: new Float32Array(48),
    values: new Float32Array(64),
    slots: Int32Array.of(7, 0, 3, 4),
    keyRuns: Int32Array.of(1, 0, 4, 0),
    valueRuns: Int32Array.of(0, 1, 3, 1),
    wide: new Uint8Array(2048),
    narrowed: Int32Array.of(0, 1),
  },
};

function run(numbers: Record<string, number[]>, views: Record<string, ArrayBufferView | undefined>): unknown {
  const request = new Float64Array(fields.length);
  for (const [name, values] of Object.entries({ ...sound.numbers, ...numbers })) {
    request.set(values, fields.indexOf(name));
  }
  const given: Record<string, ArrayBufferView | undefined> = { ...sound.views, ...views };
  return native.run(
    'encode',
    request,
    names.map((name) => given[name]),
  );
}

describe('requests for codes', () => {
  it('runs the request that the next test spoils', () => {
    expect(run({}, {})).toBeUndefined();
  });

  it.each<[string, Record<string, number[]>, Record<string, ArrayBufferView | undefined>, string]>([
    ['codes of 3 bits', { keyBits: [3] }, {}, '2, 4 or 8 bits'],
    ['groups that divide nothing', { keyGroup: [3] }, {}, 'groups must divide'],
    ['groups of values that divide nothing', { valueGroup: [3] }, {}, 'groups must divide'],
    ['symmetric codes per channel', { isSymmetric: [1] }, {}, 'symmetric'],
    ['no blocks', {}, { blocks: undefined }, 'need blocks'],
    ['blocks that are not there', {}, { blocks: new Uint8Array(64) }, 'outside its blocks'],
    ['rows beyond their memory', {}, { keys: new Float32Array(47) }, 'reaches'],
    ['slots beyond the pages', {}, { slots: Int32Array.of(8, 0, 3, 4) }, 'slots'],
    ['negative slots', {}, { slots: Int32Array.of(-1, 0, 3, 4) }, 'slots'],
    ['runs beyond a block', {}, { valueRuns: Int32Array.of(0, 2, 3, 1) }, 'outside its blocks'],
    ['runs beyond the slots', {}, { valueRuns: Int32Array.of(0, 1, 3, 2) }, 'outside its blocks'],
    ['runs of other blocks', {}, { valueRuns: Int32Array.of(2, 0, 3, 0) }, 'outside its blocks'],
    ['half a group', {}, { keyRuns: Int32Array.of(1, 0, 3, 0) }, 'whole groups'],
    ['a run of three numbers', {}, { keyRuns: Int32Array.of(1, 0, 4) }, 'four numbers'],
    ['keys without a dim', { keyDim: [0] }, {}, 'no rows of this kind'],
    ['codes that gain bits', { wideKeyBits: [2] }, {}, 'gain no bits'],
    ['wide blocks that are not there', {}, { narrowed: Int32Array.of(2, 1) }, 'does not exist'],
    ['narrow blocks that are not there', {}, { narrowed: Int32Array.of(0, 2) }, 'does not exist'],
    ['half a pair', {}, { narrowed: Int32Array.of(0) }, 'two numbers'],
  ])('refuses %s', (_, numbers, views, says) => {
    const error = thrownBy(() => run(numbers, views));
    expectError(error, { code: 'ERR_TILEWISE_OUT_OF_BOUNDS', says: [says] });
  });
});
