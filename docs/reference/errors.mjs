// The list of error codes, from the docstrings of `ErrorCode`. Assumes that each code of that type has one, right before it.
// Reader: someone who added a code. generate.mjs writes the page errors.md.
import { readFileSync } from 'node:fs';

const source = new URL('../../lib/check/errors.ts', import.meta.url);

/** Every code with its docstring. */
function errorCodes() {
  const [type] = readFileSync(source, 'utf8').match(/export type ErrorCode =[\s\S]*?';/);
  const entry = /\/\*\*\s*([^*]+?)\s*\*\/\s*\|\s*'(\w+)'/g;
  const codes = [...type.matchAll(entry)].map(([, what, code]) => ({ code, what }));
  if (codes.length !== type.match(/'ERR_/g).length) throw new Error('a code of ErrorCode has no docstring');
  return codes;
}

/** The page in Markdown. */
export function errorsPage() {
  return [
    '# Errors',
    '',
    'Every argument is checked before native code runs. An error is a `TypeError` (wrong kind of value), a `RangeError` (wrong size or',
    'value) or a `TilewiseError`. Its message names the argument, its value and what would be accepted. Its `code` is stable: compare',
    'codes, never messages. Asynchronous calls reject, their `…Sync` twins throw. [gpu.md](../guide/gpu.md#errors) says what helps with',
    'those of a GPU.',
    '',
    '| `code` | when |',
    '| --- | --- |',
    ...errorCodes().map(({ code, what }) => `| \`${code}\` | ${what} |`),
  ].join('\n');
}
