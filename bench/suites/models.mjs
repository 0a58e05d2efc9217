// `npm run bench:models`: models in onnxruntime, whole and with attention in tilewise: time in turns, memory in processes of their
// own. Reader: someone who asks whether fuse() pays. docs/measurements/benchmarks.md explains the method.
//   npm run bench:models -- --filter causal   only groups whose name matches (a regular expression), or memory
//   npm run bench:models -- --quick           few tokens and samples: does it run at all
//   npm run bench:models -- --json out.json   write there; an unfiltered full run writes bench/results/models.json
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { peerFolder } from '../peers/install.mjs';
import { stackModel } from '../peers/stacks.mjs';
import { allThreads } from '../timing/machine.mjs';
import { largeStack, modelGroups } from './model-cases.mjs';
import { runOptions } from './options.mjs';
import { runRatioSuite } from './ratio-suite.mjs';

const options = runOptions();
const sampling = { mustRest: true, ...(options.quick ? { samples: 3, minMs: 20 } : { samples: 5, minMs: 120 }) };

/** Peak memory of the large stack, whole and fused. */
function measureMemory() {
  if (!new RegExp(options.filter).test('memory')) return {};
  const file = `${peerFolder}models/stack.onnx`;
  mkdirSync(`${peerFolder}models`, { recursive: true });
  writeFileSync(file, stackModel(largeStack));
  const script = fileURLToPath(new URL('model-memory.mjs', import.meta.url));
  const bytesOf = (form) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, form, file, '384'], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`the memory of a model is not measured: ${stderr}`);
    return Number(stdout);
  };
  const [whole, fused] = [bytesOf('whole'), bytesOf('fused')];
  const memory = { name: 'BERT-base, six layers, N=384', whole, fused, ratio: fused / whole, most: 1.2 };
  const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  console.log(`\n${memory.name}: peak of ${mib(whole)} whole, ${mib(fused)} fused, ${memory.ratio.toFixed(2)}x`);
  return { memory };
}

await runRatioSuite('models.json', modelGroups(allThreads, options.quick), options, sampling, measureMemory);
