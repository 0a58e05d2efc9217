// Memory of this process as Linux counts it. Reader: someone who measures peaks. resourceUsage().maxRSS is not it: a child's begins
// with its parent's.
import { readFileSync } from 'node:fs';

/** Bytes of a field of /proc/self/status: VmRSS now, VmHWM at most. */
export function statusBytes(field) {
  const match = readFileSync('/proc/self/status', 'utf8').match(new RegExp(`${field}:\\s+(\\d+) kB`));
  return Number(match[1]) * 1024;
}
