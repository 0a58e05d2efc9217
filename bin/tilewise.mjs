#!/usr/bin/env node
// tilewise: the command line. Each command is a file in commands/ with its own usage and options.
// Reader: someone who adds a command.

import process from 'node:process';
import * as explain from './commands/explain.mjs';
import * as onnx from './commands/onnx.mjs';
import { UsageError } from './usage-error.mjs';

const commands = { explain, onnx };

async function run(argv) {
  const [name, ...rest] = argv;
  const isKnown = Object.hasOwn(commands, name ?? '');
  if (argv.length === 0 || argv.includes('--help') || argv.includes('-h')) {
    const asked = isKnown ? [commands[name]] : Object.values(commands);
    return asked.map(({ usage }) => usage).join('\n\n');
  }
  if (!isKnown) {
    const known = Object.keys(commands).join(', ');
    throw new UsageError(`there is no command '${name}', only ${known}; see tilewise --help`);
  }
  return commands[name].run(rest);
}

try {
  console.log(await run(process.argv.slice(2)));
} catch (error) {
  const isOurs = error instanceof UsageError || error.code?.startsWith('ERR_TILEWISE_');
  if (!isOurs) throw error;
  console.error(`tilewise: ${error.message}`);
  process.exitCode = 2;
}
