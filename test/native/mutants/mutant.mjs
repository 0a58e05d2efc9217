// How a table states a seeded bug: in `file` the text `find`, which stands there once, becomes `replace`.
// Reader: someone who adds a table.
export const mutant =
  (family, folder) =>
  (name, file, find, replace = '') => ({ family, name, file: `${folder}${file}`, find, replace });

// Matches the text however it is broken into lines.
const patternOf = (text) => new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/\s+/g, '\\s+'), 'g');

/** How often a bug applies to a source; it should once. */
export const placesOf = (source, { find }) => source.match(patternOf(find))?.length ?? 0;

export function seeded(source, { find, replace }) {
  // Space at either end of the text may have matched the end of a line.
  const [before, after] = [/^\s/, /\s$/].map((space) => (space.test(find) ? '\n' : ''));
  return source.replace(patternOf(find), () => before + replace + after);
}
