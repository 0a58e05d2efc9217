// A machine's description (machine.mjs) in words. Apart from it, so that reports can be written on another machine.
// Reader: someone who wants more said about the machine.

/** The description as lines for the terminal and for RESULTS.md. */
export function machineLines(machine) {
  const peak = (p) => {
    const fma = Object.entries(p.fma).map(([set, gflops]) => `${set} ${gflops.toFixed(0)}`);
    const threads = `${p.threads} thread${p.threads === 1 ? '' : 's'}`;
    return `${threads}: FMA peak ${fma.join(', ')} GFLOP/s (float32); read bandwidth ${p.bandwidth.toFixed(1)} GB/s`;
  };
  return [
    `${machine.cpu}, ${machine.processors} processors, ${machine.architecture}, ${machine.memoryGiB.toFixed(0)} GiB`,
    `node ${machine.node}, tilewise ${machine.tilewise} at commit ${machine.commit}, ${machine.date}`,
    `instruction sets ${machine.instructionSets.join(', ')}; default ${machine.defaultInstructionSet}, ${machine.threads} threads`,
    ...machine.peaks.map(peak),
    `"cold" data rotates over ${machine.coldMiB.toFixed(0)} MiB (last-level cache ${machine.lastLevelCacheMiB.toFixed(0)} MiB)`,
  ];
}
