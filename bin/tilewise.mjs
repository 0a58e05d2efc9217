#!/usr/bin/env node
// tilewise: the command line. Each command is a file in commands/ with its own usage and options.
// Reader: someone who adds a command.

import process from 'node:process';
import * as explain from './commands/explain.mjs';
import { UsageError } from './usage-error.mjs';

const commands = { explain };

async function run(argv) {
  const [name, ...rest] = argv;
  if (argv.length === 0 || argv.includes('--help') || argv.includes('-h')) return explain.usage;
  if (!Object.hasOwn(commands, name)) {
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
