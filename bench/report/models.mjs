// The part of bench/RESULTS.md that bench/suites/models.mjs measured, and its targets. Reader: as report.mjs.
import { ratioSections, ratioTargets } from './ratio-rows.mjs';

const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

/** @param {object | null} result of bench/suites/models.mjs */
export function modelSections(result) {
  const sections = ratioSections(
    result,
    'Models in onnxruntime',
    'A model whole in onnxruntime, and with its attention in tilewise (`fuse`, or `patch` under transformers.js), its threads not ' +
      'spinning. Batch 1, float32.',
    'npm run bench:models',
  );
  if (!result) return sections;
  const { name, whole, fused, ratio } = result.memory;
  return [...sections, `Peak memory, ${name}: ${mib(whole)} whole, ${mib(fused)} fused, ${ratio.toFixed(2)}x.`];
}

/** @returns {import('./targets.mjs').Target[]} */
export function modelTargets(result) {
  const { name, ratio, most } = result.memory;
  return [
    ...ratioTargets(result),
    {
      text: `peak memory: at most ${most}x`,
      measured: `${ratio.toFixed(2)}x (${name})`,
      isMet: ratio <= most,
      short: Math.max(0, ratio / most - 1),
    },
  ];
}
