// onnxruntime-node for the benchmarks: its version, and sessions in it. Reader: someone who wants another version.
import { loadPeer } from './install.mjs';

export const loadOnnxRuntime = () => loadPeer('onnxruntime-node', '1.30.0');

export function openSession(onnxruntime, bytes, threads) {
  return onnxruntime.InferenceSession.create(bytes, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
  });
}
