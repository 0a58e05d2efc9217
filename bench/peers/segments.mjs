// onnxruntime as a fused model uses it, and what its own runs cost: those of the segments, one after the other, without attention.
// Reader: someone who asks how near a fused model is to what it can be. What is left above this is attention and what is around it.

/** An onnxruntime that remembers the last run of each of its sessions, and can repeat them. */
export function watchedRuns({ InferenceSession, Tensor }) {
  const sessions = [];
  const create = async (...args) => {
    const session = await InferenceSession.create(...args);
    const one = { session, last: undefined };
    sessions.push(one);
    const run = (...given) => {
      one.last = given;
      return session.run(...given);
    };
    return { outputMetadata: session.outputMetadata, run, release: () => session.release() };
  };
  const repeat = async () => {
    for (const { session, last } of sessions) if (last) await session.run(...last);
  };
  return { ort: { Tensor, InferenceSession: { create } }, repeat };
}
