// The figures that the kernels hold themselves to on an H200, checked against a result of versus.py; of no result at all,
// each is 'not measured'. Reader: as ../targets.mjs.
import { atLeast, percent, times } from '../report/targets.mjs';

const tflops = (x) => `${x.toFixed(0)} TFLOP/s`;

/** @param {object[]} figures of figures.mjs */
export function gpuTargets(figures) {
  const of = (group, test = () => true) => figures.filter((figure) => figure.group === group && test(figure));
  const at8k = (pattern) =>
    of('dense', (f) => f.pattern === pattern && f.keys === 8192 && f.dim === 128 && f.dtype === 'bfloat16');
  const withPeer = of('dense', (f) => f.flashRatio);
  return [
    atLeast('forward beside FlashAttention-2 in PyTorch, every shape', 1, withPeer, (f) => f.flashRatio, times),
    atLeast('full, D=128, 8k tokens, bfloat16', 350, at8k('full'), (f) => f.tflops, tflops),
    atLeast('causal, D=128, 8k tokens, bfloat16', 300, at8k('causal'), (f) => f.tflops, tflops),
    atLeast(
      "families, speed-up over our own dense attention, of the planner's average bound",
      0.9,
      of('family', (f) => f.ofBound),
      (f) => f.ofBound,
      percent,
    ),
    atLeast(
      'decode, 64k keys and more, of the copy bandwidth',
      0.8,
      of('decode', (f) => f.ofCopy && f.keys >= 65536),
      (f) => f.ofCopy,
      percent,
    ),
    atLeast(
      'HiP, selection and attention, over our own dense attention, 32k keys and more',
      1,
      of('hip', (f) => f.speedup && f.keys >= 32768),
      (f) => f.speedup,
      times,
    ),
  ];
}
