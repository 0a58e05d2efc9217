// All-pairs cover: the fewest combinations (greedily) in which every two levels of different factors meet once.
// Reader: someone adding a factor to the option grid. Idea: D. M. Cohen et al., The AETG System, 1997.

/** Indices of levels per factor; `sizes` is how many levels each factor has. */
export function pairwise(sizes: readonly number[]): number[][] {
  const uncovered = new Set<string>();
  const id = (f: number, i: number, g: number, j: number): string =>
    f < g ? `${f}.${i}-${g}.${j}` : `${g}.${j}-${f}.${i}`;
  sizes.forEach((n, f) => {
    for (let g = f + 1; g < sizes.length; g++) {
      for (let i = 0; i < n; i++) for (let j = 0; j < sizes[g]; j++) uncovered.add(id(f, i, g, j));
    }
  });

  const rows: number[][] = [];
  for (const pair of uncovered) {
    const row = new Array<number>(sizes.length).fill(-1);
    for (const part of pair.split('-')) {
      const [factor, level] = part.split('.').map(Number);
      row[factor] = level;
    }
    row.forEach((level, f) => {
      if (level >= 0) return;
      let best = -1;
      for (let offset = 0; offset < sizes[f]; offset++) {
        const i = (rows.length + offset) % sizes[f]; // so that ties spread over all levels
        const gain = row.filter((j, g) => j >= 0 && uncovered.has(id(f, i, g, j))).length;
        if (gain > best) [best, row[f]] = [gain, i];
      }
    });
    for (let f = 0; f < row.length; f++) {
      for (let g = f + 1; g < row.length; g++) uncovered.delete(id(f, row[f], g, row[g]));
    }
    rows.push(row);
  }
  return rows;
}
