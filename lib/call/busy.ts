// The warning that others hold our processors: onnxruntime's threads go on spinning after a run, and halve our speed.
// Reader: someone who got TILEWISE_BUSY, or wonders why not. Idea: Linux counts how long a thread waited for a processor
// (/proc/<pid>/schedstat); elsewhere nothing is counted, and nothing said.

import { readFileSync } from 'node:fs';
import { type NativeRunTimes, native } from '../native/native.js';

/** What the watch asks, and how it speaks. */
export interface BusySystem {
  /** Of the threads that work on calls. */
  runTimes(): NativeRunTimes;
  /** Whether onnxruntime is loaded into this process. */
  hasOnnxruntime(): boolean;
  warn(message: string): void;
}

/** Calls between two looks. */
const callsPerLook = 50;
/** Most looks between two questions whether onnxruntime is loaded. */
const mostUnasked = 63;
/** The part of their time that threads may wait before it is worth a word. */
const bearable = 0.3;

export class BusyWatch {
  readonly #system: BusySystem;
  #calls = 0;
  #before: NativeRunTimes = { ran: 0, waited: 0 };
  #hasSpoken = false;
  /** Looks until the next question, and how many there were before it. */
  #unasked = 0;
  #pause = 0;

  constructor(system: BusySystem) {
    this.#system = system;
  }

  /** Takes note of a call; warns once, when threads waited too long over the last calls. */
  count(): void {
    if (this.#hasSpoken || ++this.#calls < callsPerLook) return;
    this.#calls = 0;
    const now = this.#system.runTimes();
    const [ran, waited] = [now.ran - this.#before.ran, now.waited - this.#before.waited];
    this.#before = now;
    const part = waited / (ran + waited);
    if (!(part > bearable) || !this.#findsOnnxruntime()) return;
    this.#hasSpoken = true;
    this.#system.warn(
      `tilewise's threads waited for a processor ${Math.round(part * 100)} % of their time, and onnxruntime is loaded: its ` +
        "threads go on spinning after a run. Create sessions with { extra: { session: { intra_op: { allow_spinning: '0' } } } }",
    );
  }

  /** Says nothing from here on: onnxruntime's threads are known not to spin, so that others hold the processors. */
  rest(): void {
    this.#hasSpoken = true;
  }

  /** Asks ever more seldom while the answer is no, which takes as long as dozens of calls. */
  #findsOnnxruntime(): boolean {
    if (--this.#unasked > 0) return false;
    this.#pause = Math.min(2 * this.#pause + 1, mostUnasked);
    this.#unasked = this.#pause;
    return this.#system.hasOnnxruntime();
  }
}

/** The watch of this thread. */
export const busyWatch = new BusyWatch({
  runTimes: () => native.runTimes(),
  hasOnnxruntime() {
    try {
      // Files that are loaded, whatever folders are called.
      return /\/(lib)?onnxruntime[^/\n]*$/m.test(readFileSync('/proc/self/maps', 'latin1'));
    } catch {
      return false;
    }
  },
  warn: (message) => process.emitWarning(message, { code: 'TILEWISE_BUSY' }),
});
