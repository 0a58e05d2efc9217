// The part of bench/RESULTS.md that bench/suites/selectors.mjs measured. Reader: as report.mjs.
import { ratioSections } from './ratio-rows.mjs';

/** @param {object | null} result of bench/suites/selectors.mjs */
export const selectorSections = (result) =>
  ratioSections(
    result,
    'Selecting keys',
    'A decode step that selects pages first, against one over all keys; statistics of attention against its scores. One thread.',
    'npm run bench:selectors',
  );
