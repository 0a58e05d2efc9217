// The guide's table of operators has every input, output and attribute that an operator's file knows.
// Reader: someone who adds one: it needs a row, or a word in one.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { contribAttention } from '../../dist/adapters/onnx/sites/operators/contrib-attention.js';
import { groupQueryAttention } from '../../dist/adapters/onnx/sites/operators/group-query-attention.js';
import { multiHeadAttention } from '../../dist/adapters/onnx/sites/operators/multi-head-attention.js';
import { onnxAttention } from '../../dist/adapters/onnx/sites/operators/onnx-attention.js';

const guide = readFileSync(new URL('../../docs/guide/onnxruntime.md', import.meta.url), 'utf8');

/** The second cells of an operator's rows, up to the next operator. */
function namesOf(operator: string): string[] {
  const rows = guide.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
  const begin = rows.findIndex((cells) => cells[1] === operator);
  expect(begin, operator).toBeGreaterThan(0);
  const end = rows.findIndex((cells, i) => i > begin && cells[1] !== '');
  return rows.slice(begin, end).flatMap((cells) => cells[2].split(', '));
}

it.each([
  ['`Attention` of ONNX, opset 23 to 26', onnxAttention],
  ['`Attention` of com.microsoft', contribAttention],
  ['`MultiHeadAttention`', multiHeadAttention],
  ['`GroupQueryAttention`', groupQueryAttention],
] as const)('%s has a row for each', (title, { inputs, outputs, attributes }) => {
  const known = [...inputs, ...outputs.slice(1), ...attributes];
  const listed = namesOf(title);
  expect(known.filter((name) => !listed.includes(name))).toEqual([]);
  const others = listed.filter((name) => !known.includes(name));
  expect(others).toEqual(title.startsWith('`Group') ? ['attributes of quantized caches'] : []);
});
