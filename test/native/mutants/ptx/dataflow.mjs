// Which lines of a kernel matter to what checks see of it, by the flow of values alone.
// Reader: scripts/ptx-mutants.mjs. A change of any other is no mutant that counts.

const hasEffect = /^(?:st\.|ret|bar\.|cp\.async|shfl|vote|ldmatrix)/;

// A branch decides something where the checks take both ways. nvcc asks, for one, whether 64 bits are needed to divide.
function decides(kernel, index, reached) {
  const statement = kernel.statements[index];
  if (!statement.opcode.startsWith('bra') || !statement.guard) return false;
  const target = kernel.statements[kernel.labels.get(statement.operands)];
  return reached.has(target?.line) && reached.has(kernel.statements[index + 1]?.line);
}

/**
 * Of the lines that checks come to, those with an effect, and those whose results are read by another of them: a value that
 * only lines read to which no check comes is as good as one that is not computed.
 * @param {Set<number>} reached lines
 */
export function linesThatMatter(kernel, reached) {
  const mattering = new Set();
  const read = new Set();
  for (let before = -1; before < mattering.size; ) {
    before = mattering.size;
    kernel.statements.forEach((statement, index) => {
      if (mattering.has(statement.line) || !reached.has(statement.line)) return;
      const isRead = statement.writes.some((register) => read.has(register));
      if (!isRead && !hasEffect.test(statement.opcode) && !decides(kernel, index, reached)) return;
      mattering.add(statement.line);
      for (const register of statement.reads) read.add(register);
    });
  }
  return mattering;
}
