// The options that run.mjs and families.mjs share. Reader: whoever adds one.
import { parseArgs } from 'node:util';

/** --filter: cases whose name matches; --json: where results go; --quick: few samples; --list: names only. */
export function runOptions() {
  const { values } = parseArgs({
    options: {
      filter: { type: 'string', default: '' },
      json: { type: 'string' },
      quick: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
  });
  return values;
}
