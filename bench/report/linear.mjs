// The part of bench/RESULTS.md that bench/suites/linear.mjs measured. Reader: as report.mjs.
import { ratioSections } from './ratio-rows.mjs';

/** @param {object | null} result of bench/suites/linear.mjs */
export const linearSections = (result) =>
  ratioSections(
    result,
    'Linear attention, the delta rule, local linear attention',
    'Against dense causal attention, against each other, against a graph in onnxruntime, and a step against reading and writing its ' +
      'state. Batch 1, float32, one thread.',
    'npm run bench:linear',
  );
