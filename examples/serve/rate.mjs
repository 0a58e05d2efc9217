// How many of something there were per second, lately. Reader: engine.mjs.

const seconds = 2;

export class Rate {
  #events = [];

  add(count) {
    this.#forget();
    this.#events.push({ time: performance.now(), count });
  }

  perSecond() {
    this.#forget();
    return this.#events.reduce((sum, { count }) => sum + count, 0) / seconds;
  }

  #forget() {
    const oldest = performance.now() - 1000 * seconds;
    while (this.#events.length > 0 && this.#events[0].time < oldest) this.#events.shift();
  }
}
