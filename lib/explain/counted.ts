// A counted explanation: the numbers, and how they print themselves. Reader: someone who follows String(explain(...)).

import type { Counts, Explanation } from './explanation.js';
import { drawSVG, drawText } from './picture.js';
import type { Scene } from './scene.js';
import { describeCounts } from './text.js';

export class CountedExplanation implements Explanation {
  declare readonly idealSpeedup: Explanation['idealSpeedup'];
  declare readonly tiles: Explanation['tiles'];
  declare readonly pairs: Explanation['pairs'];
  declare readonly flops: number;
  declare readonly bytes: number;
  declare readonly bytesTouched: number;
  declare readonly workspace?: number;
  declare readonly worstHead?: Explanation['worstHead'];
  declare readonly selection?: Explanation['selection'];
  declare readonly maskPattern?: Explanation['maskPattern'];
  declare readonly backend: Explanation['backend'];
  readonly #scene: Scene;

  constructor(counts: Counts, scene: Scene) {
    Object.assign(this, counts);
    this.#scene = scene;
  }

  toString(): string {
    return [`pattern   ${this.#scene.title}`, ...describeCounts(this), '', drawText(this.#scene)].join('\n');
  }

  toSVG(): string {
    return drawSVG(this.#scene);
  }
}
