// Pages that are printed from the code or from results: written, or with `--check` on the command line compared.
// Assumes that paths are relative to the repository. Reader: whoever adds such a page.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const isCheck = process.argv.includes('--check');

/**
 * Writes a page. With `--check` nothing is written: a page that differs is named, and the exit status becomes 1.
 * @param {string} name of the file @param {string} text @param {string} command that writes it
 */
export function putPage(name, text, command) {
  const file = path.join(root, name);
  if (!isCheck) {
    writeFileSync(file, text);
    console.log(`wrote ${name}`);
  } else if (!existsSync(file) || readFileSync(file, 'utf8') !== text) {
    console.error(`${name} is out of date: ${command}`);
    process.exitCode = 1;
  }
}

/**
 * The text of a page with another body between `<!-- <section>:begin … -->` and `<!-- <section>:end -->`.
 * @throws when the page has no such marks
 */
export function withSection(name, section, body) {
  const text = readFileSync(path.join(root, name), 'utf8');
  const marked = new RegExp(`(<!-- ${section}:begin[^>]*-->\n)[\\s\\S]*?(<!-- ${section}:end -->)`);
  if (!marked.test(text)) throw new Error(`${name} has no ${section}:begin and ${section}:end marks`);
  return text.replace(marked, (_, begin, end) => `${begin}${body}\n${end}`);
}
