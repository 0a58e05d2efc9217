// The names of a picture's curves, each beside a line of its color. Reader: someone who draws another picture.

/** @param {{name: string, color: string}[]} curves @param {number} left where the lines begin */
export const legend = (curves, left) =>
  curves.map(
    ({ name, color }, i) =>
      `<line x1="${left}" x2="${left + 24}" y1="${60 + 20 * i}" y2="${60 + 20 * i}" stroke="${color}" stroke-width="2"/>` +
      `<text x="${left + 32}" y="${64 + 20 * i}">${name}</text>`,
  );
