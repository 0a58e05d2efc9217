// What a mutant of PTX text changes: one statement, in one of these ways. Each gives the lines that may stand in place of
// a statement, none where it does not apply. Swaps that change nothing by the algebra of the instruction are left out.
// Reader: whoever adds a kind of mistake. What the machine refuses to read, as ptxas would, is no mutant.
import { replaced, widthOf, written } from './statements.mjs';

const isPlus = /^(?:add|min|max|and|or|xor|mul|mad|fma|setp\.(?:eq|ne|neu|nan))\b/;
const drop = (statement) => `${statement.indent}// ${statement.text.trim()}`;
const when = (isSo, ...lines) => (isSo ? lines : []);

// Two sources, or two results, of one width. The first two sources of a sum or product may be exchanged by rights.
function swaps(statement) {
  const registers = statement.tokens.filter((token) => token.kind === 'register' && !token.isAddress);
  const sources = statement.tokens.filter((token) => !token.isResult);
  const isCommutative = (a, b) => isPlus.test(statement.opcode) && sources.indexOf(a) < 2 && sources.indexOf(b) < 2;
  return registers.flatMap((a, i) =>
    registers
      .slice(i + 1)
      .filter((b) => a.text !== b.text && widthOf(a.text) === widthOf(b.text) && a.isResult === b.isResult)
      .filter((b) => a.isResult || !isCommutative(a, b))
      .map((b) => {
        const changes = new Map([
          [a, b.text],
          [b, a.text],
        ]);
        return written(statement, { operands: replaced(statement, changes) });
      }),
  );
}

// One more and one less, but in comparisons and names of barriers, where both often are right; a float twice as large, or
// one for zero, also as an integer, which is larger than any size; of an address, one access further.
const exponentBit = 0x00800000n;
function neighbours(statement, token) {
  if (token.text.startsWith('0f')) {
    const bits = BigInt(`0x${token.text.slice(2)}`);
    const other = bits === 0n || bits === 0x80000000n ? 0x3f800000n : bits ^ exponentBit;
    return [`0f${other.toString(16).toUpperCase().padStart(8, '0')}`];
  }
  const number = BigInt(token.text);
  if (number > exponentBit || number < -exponentBit) return [String(number ^ exponentBit)];
  const bytes = token.isOffset ? accessBytes(statement.opcode) : 1n;
  const isLargestShift = statement.opcode.startsWith('shr.s') && token.text === '31'; // 32 is taken for it
  return [...(isLargestShift ? [] : [number + bytes]), number - bytes].map(String);
}

function accessBytes(opcode) {
  if (/ldmatrix|cp\.async/.test(opcode)) return 16n;
  const [, count = '1', bits] = /\.(?:v(\d)\.)?[busf](\d+)$/.exec(opcode);
  return (BigInt(count) * BigInt(bits)) / 8n;
}

function otherNumbers(statement) {
  return statement.tokens
    .filter((token) => token.kind === 'number' && !/^(?:setp|bar)\b/.test(statement.opcode))
    .flatMap((token) =>
      neighbours(statement, token).map((text) =>
        written(statement, { operands: replaced(statement, new Map([[token, text]])) }),
      ),
    );
}

// An operation for its neighbour; comparisons are left alone, whose limits often are where two ways give the same.
const neighbourOf = new Map(
  [
    ['min', 'max'],
    ['add', 'sub'],
    ['bf16', 'f16'],
    ['bf16x2', 'f16x2'],
    ['bfly', 'up'],
  ].flatMap(([a, b]) => [
    [a, b],
    [b, a],
  ]),
);
function otherOperations(statement, opcodes) {
  const parts = statement.opcode.split('.');
  const others = parts.map((part, i) => parts.with(i, neighbourOf.get(part)).join('.'));
  return others.filter((opcode) => opcodes.has(opcode)).map((opcode) => written(statement, { opcode }));
}

const isWait = /^cp\.async\.(?:wait|commit)_group$/;
const isBarrier = /^bar\.(?:warp\.)?sync$/;

/** By kind: the lines that a statement may become. */
export const mutations = {
  'registers swapped': swaps,
  'number changed': otherNumbers,
  'operation changed': otherOperations,
  'guard dropped': (statement) => when(statement.guard, written(statement, { guard: null })),
  'guard flipped': (statement) =>
    when(
      statement.guard,
      written(statement, { guard: { ...statement.guard, isNegated: !statement.guard?.isNegated } }),
    ),
  'transposition changed': (statement) =>
    when(
      statement.opcode.startsWith('ldmatrix'),
      written(statement, {
        opcode: statement.opcode.includes('.trans')
          ? statement.opcode.replace('.trans', '')
          : statement.opcode.replace('.shared', '.trans.shared'),
      }),
    ),
  'barrier dropped': (statement) => when(isBarrier.test(statement.opcode), drop(statement)),
  'wait dropped': (statement) => when(isWait.test(statement.opcode), drop(statement)),
  'wait for one group fewer': (statement) =>
    when(
      statement.opcode === 'cp.async.wait_group',
      written(statement, { operands: String(Number(statement.operands) + 1) }),
    ),
  'copy widened': (statement) =>
    when(
      statement.opcode.startsWith('cp.async.cg'),
      written(statement, { operands: statement.operands.replace(/, 16, %r\d+$/, ', 16, 16') }),
    ),
  'store dropped': (statement) => when(statement.opcode.startsWith('st.'), drop(statement)),
};
