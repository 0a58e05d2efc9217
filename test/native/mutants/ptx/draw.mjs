// Mutants by seed: which kernel, which kind of mistake, which line.
// Reader: scripts/ptx-mutants.mjs.
import { mutations } from './mutations.mjs';

/** Whole numbers below n, the same for the same seed: a counter, its bits mixed as murmur3 ends. */
export function randomOf(seed) {
  let counter = seed | 0;
  return (n) => {
    counter = (counter + 0x9e3779b9) | 0;
    let bits = Math.imul(counter ^ (counter >>> 16), 0x85ebca6b);
    bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
    return ((bits ^ (bits >>> 16)) >>> 0) % n;
  };
}

/** So many of them, each once. */
export function sample(items, count, random) {
  const left = [...items];
  return Array.from({ length: Math.min(count, left.length) }, () => left.splice(random(left.length), 1)[0]);
}

/**
 * By kind, every mutant of a kernel: a statement by its index, and the line that takes its place.
 * @param {Set<string>} opcodes that nvcc writes: others are not tried
 */
export function mutantsOf(kernel, opcodes) {
  return Object.entries(mutations)
    .map(([kind, linesFor]) => ({
      kind,
      mutants: kernel.statements.flatMap((statement, index) =>
        linesFor(statement, opcodes).map((replacement) => ({ kind, index, statement, replacement })),
      ),
    }))
    .filter(({ mutants }) => mutants.length > 0);
}

/** One of them: kinds are as likely as each other, however many lines each applies to. */
export function drawMutant(byKind, random) {
  const { mutants } = byKind[random(byKind.length)];
  return mutants[random(mutants.length)];
}
