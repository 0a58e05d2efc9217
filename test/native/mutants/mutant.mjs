// How a table states a seeded bug: in `file` the text `find`, which stands there once, becomes `replace`.
// Reader: someone who adds a table.
export const mutant =
  (family, folder) =>
  (name, file, find, replace = '') => ({ family, name, file: `${folder}${file}`, find, replace });
