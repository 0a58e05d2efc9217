// Bits of 32-bit registers: which may be set, which somebody reads. Shows that another constant of an `and` changes none
// that matter, as in addresses, whose parts are masked more than once. Where a statement is not known, all bits are.
// Reader: equivalence.mjs.
import { statementOf } from './statements.mjs';

const all = 0xffffffff;
const deepest = 8; // statements in a row: more are seldom, and loops must end

const writersOf = (kernel, register) => kernel.statements.filter(({ writes }) => writes.includes(register));
const partsOf = ({ opcode, operands }) => ({ name: opcode.split('.')[0], operands: operands.split(/,\s*/) });
const isNumber = (text) => /^-?\d+$/.test(text);
/** Every bit up to the highest one of these. */
const upTo = (bits) => (bits === 0 ? 0 : all >>> Math.clz32(bits));

// Where an operation of 32 bits has a number for its last operand.
function withNumber(statement) {
  const { name, operands } = partsOf(statement);
  const [, from, number] = operands;
  const isKnown = /^\w+\.[bsu]32$/.test(statement.opcode) && operands.length === 3 && isNumber(number);
  return isKnown ? { name, from, number: Number(number) } : {};
}

function mayBeSet(kernel, register, depth = 0) {
  const [writer, ...others] = writersOf(kernel, register);
  if (!writer || others.length > 0 || writer.guard || depth === deepest) return all;
  const { name, from, number } = withNumber(writer);
  const bits = () => mayBeSet(kernel, from, depth + 1);
  if (name === 'and') return (bits() & number) >>> 0;
  if (name === 'shl' && number < 32) return (bits() << number) >>> 0;
  if (writer.opcode === 'shr.u32' && number < 32) return bits() >>> number;
  return all;
}

// The bits of a register that one statement reads.
function readBy(kernel, statement, register, depth) {
  if (statement.guard || !/^\w+(?:\.lo)?\.[bsu]32$/.test(statement.opcode)) return all;
  const { name, from, number } = withNumber(statement);
  const result = () => read(kernel, statement.writes[0], depth + 1);
  if (from === register && name === 'and') return (result() & number) >>> 0;
  if (from === register && name === 'shl' && number < 32) return result() >>> number;
  if (/^(?:or|xor)$/.test(statement.opcode.split('.')[0])) return result();
  if (/^(?:add|sub|mul|mad)$/.test(statement.opcode.split('.')[0])) return upTo(result());
  return all;
}
function read(kernel, register, depth = 0) {
  if (depth === deepest) return all;
  const users = kernel.statements.filter(({ reads }) => reads.includes(register));
  return users.reduce((bits, user) => (bits | readBy(kernel, user, register, depth)) >>> 0, 0);
}

/** Another number in an `and`, where each bit that it changes is zero in the other operand, or read by nobody. */
export function changesBitsThatNobodyReads(kernel, { statement, replacement }) {
  const changed = statementOf(replacement);
  if (statement.opcode !== 'and.b32' || changed?.opcode !== 'and.b32' || statement.guard || changed.guard) return false;
  const [before, after] = [statement, changed].map(withNumber);
  const isRestSame = before.from === after.from && changed.writes.join() === statement.writes.join();
  if (!before.name || !after.name || !isRestSame) return false;
  const differing = (before.number ^ after.number) >>> 0;
  return (differing & mayBeSet(kernel, before.from) & read(kernel, statement.writes[0])) === 0;
}
