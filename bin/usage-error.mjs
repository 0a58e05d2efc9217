// Mistakes on the command line: one line on stderr, exit code 2. Reader: someone who adds a command.

export class UsageError extends Error {}
