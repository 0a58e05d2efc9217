// Where results go, and how they are written.
// Reader: whoever looks for a result. bench/results/ is committed; report.mjs reads it.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The file to write: the one asked for, else bench/results/<name> after a whole run, else none.
 * @param {string} name @param {{json?: string, filter: string, quick: boolean}} options of the command line
 */
export function resultFile(name, { json, filter, quick }) {
  if (json) return path.resolve(json);
  return quick || filter ? undefined : fileURLToPath(new URL(`../results/${name}`, import.meta.url));
}

/** Writes text, or anything else as JSON in the layout that the repository's formatter has. */
export function writeResult(file, content) {
  const onOneLine = (list) =>
    list
      .replace(/\s*\n\s*/g, ' ')
      .replace('[ ', '[')
      .replace(' ]', ']');
  const json = () => JSON.stringify(content, null, 2).replace(/\[\n\s+["\d][^[\]{}]*\]/g, onOneLine);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, typeof content === 'string' ? content : `${json()}\n`);
  console.log(`wrote ${file}`);
}
