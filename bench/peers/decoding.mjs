// onnxruntime's operators over a cache, as calls for a group of the bench of caches.
// Reader: someone who adds a peer there. The graphs are those of graphs.mjs; float32 alone, as there.
import { feedsFor, peerGraphs } from './graphs.mjs';
import { loadOnnxRuntime, openSession } from './onnxruntime.mjs';

export class DecodingPeers {
  #onnxruntime;
  #threads;
  #sessions = [];

  constructor(threads) {
    this.#threads = threads;
  }

  /** Over keys and values that are there, heads first. */
  reading(shape, operands) {
    return this.#callsOf(['Attention-23', 'Attention-24'], shape, operands);
  }

  /** With a token that is appended, by a copy of the others. */
  stepping(shape, operands) {
    return this.#callsOf(['GroupQueryAttention'], shape, operands);
  }

  async #callsOf(names, { dtype, tokens, heads, kvHeads, headDim }, { q, layers }) {
    if (dtype !== 'float32') return [];
    const shape = { queries: 1, keys: tokens, heads, kvHeads, headDim, dtype, causal: false };
    this.#onnxruntime ??= loadOnnxRuntime();
    const { Tensor } = this.#onnxruntime;
    const contenders = [];
    for (const name of names) {
      const graph = peerGraphs[name](shape);
      const session = await openSession(this.#onnxruntime, graph.bytes, this.#threads);
      this.#sessions.push(session);
      const feeds = layers.map(({ k, v }) => feedsFor(graph, shape, { q, k, v }, Tensor));
      let turn = 0;
      const call = () => session.run(feeds[turn++ % feeds.length]);
      contenders.push({ name: `onnxruntime ${name}`, isAsync: true, call });
    }
    return contenders;
  }

  /** Ends the sessions of the last group. */
  async release() {
    for (const session of this.#sessions.splice(0)) await session.release();
  }
}
