// The statements of a kernel in PTX text: guard, opcode, registers. As nvcc writes them, one a line.
// Reader: mutations.mjs, equivalence.mjs. emulator/ptx reads PTX for what it says; this, to change it and to ask which
// registers a line reads and writes.

const statementForm = /^(\s*)(?:@(!?)(%?\w+)\s+)?([a-z][\w.:]*)(?:\s+(.*?))?\s*;\s*$/;
const tokenForm =
  /(?<register>%(?:p|rs|rd|r|f)\d+|\b[pq]\b)|(?<number>-?\b(?:0f[0-9A-Fa-f]{8}|\d+)\b)|(?<name>[%$]?[A-Za-z_$][\w.$]*)/g;
const writesNothing = /^(?:st\.|bra|ret|bar\.(?!red)|cp\.async)/;

/** The width of a register by its name: registers of one width may stand for each other. */
export const widthOf = (register) => (/^[pq]$/.test(register) ? 'p' : /[a-z]+/.exec(register)[0]);

function resultsIn(opcode, operands) {
  if (writesNothing.test(opcode)) return 0;
  if (operands.startsWith('{')) return operands.slice(0, operands.indexOf('}')).split(',').length;
  return /^[^,]*\|/.test(operands) ? 2 : 1;
}

/** A line as a statement; null for a label, a brace, a directive. */
export function statementOf(text) {
  const [, indent, negation, guard, opcode, operands = ''] = statementForm.exec(text) ?? [];
  if (!opcode || operands.includes(';')) return null;
  const results = resultsIn(opcode, operands);
  const tokens = [...operands.matchAll(tokenForm)].map((match, i) => ({
    kind: Object.keys(match.groups).find((kind) => match.groups[kind] !== undefined),
    text: match[0],
    at: match.index,
    isResult: i < results,
    isAddress: operands.lastIndexOf('[', match.index) > operands.lastIndexOf(']', match.index),
    isOffset: operands[match.index - 1] === '+',
    group: operands.slice(0, match.index).split('}').length, // between braces, counted from the left
  }));
  const registers = (isResult) =>
    tokens.filter((token) => token.kind === 'register' && token.isResult === isResult).map((token) => token.text);
  return {
    text,
    indent,
    guard: guard ? { register: guard, isNegated: negation === '!' } : null,
    opcode,
    operands,
    tokens,
    writes: registers(true),
    reads: [...registers(false), ...(guard ? [guard] : [])],
  };
}

/** The line of a statement with something else in some of its parts. */
export function written(
  statement,
  { guard = statement.guard, opcode = statement.opcode, operands = statement.operands },
) {
  const before = guard ? `@${guard.isNegated ? '!' : ''}${guard.register} ` : '';
  return `${statement.indent}${before}${opcode}${operands ? ` ${operands}` : ''};`;
}

/** Operands with other texts for some of its tokens. */
export function replaced(statement, changes) {
  let operands = statement.operands;
  for (const token of [...statement.tokens].reverse()) {
    if (!changes.has(token)) continue;
    operands = operands.slice(0, token.at) + changes.get(token) + operands.slice(token.at + token.text.length);
  }
  return operands;
}

/** Lines of the kernel's body, from 0, in the lines of a module. */
function bodyOf(lines, name) {
  const head = lines.findIndex((line) => line.includes('.entry') && line.includes(`${name}(`));
  if (head < 0) throw new Error(`there is no kernel ${name}`);
  const begin = lines.indexOf('{', head);
  return { begin: begin + 1, end: lines.indexOf('}', begin) };
}

/**
 * The statements of kernels, in order, each with its line (from 1), and where labels are.
 * @param {string[]} lines of the module
 * @param {string[]} names
 */
export function kernelsOf(lines, names) {
  const statements = [];
  const labels = new Map(); // to the index of the statement that follows
  for (const { begin, end } of names.map((name) => bodyOf(lines, name))) {
    for (let i = begin; i < end; ++i) {
      const label = /^(\$\w+):/.exec(lines[i]);
      if (label) labels.set(label[1], statements.length);
      const statement = statementOf(lines[i]);
      if (statement && !/^\s*\./.test(lines[i])) statements.push({ ...statement, line: i + 1 });
    }
  }
  return { name: names[0], statements, labels };
}
