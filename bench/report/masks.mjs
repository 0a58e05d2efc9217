// The part of bench/RESULTS.md that bench/suites/masks.mjs measured. Reader: as report.mjs.
import { ratioSections } from './ratio-rows.mjs';

/** @param {object | null} result of bench/suites/masks.mjs */
export const maskSections = (result) =>
  ratioSections(
    result,
    'Masks and biases',
    'The same rule said in a mask or a bias, as exporters write it, and in few words. Batch 1 where nothing else is said, one thread.',
    'npm run bench:masks',
  );
