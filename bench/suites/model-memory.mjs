// Peak memory of a model, in a fresh process: `node bench/suites/model-memory.mjs <whole|fused> <file> <tokens>` prints the bytes.
// Reader: someone whose server holds several models. Linux only. Opened from a path and run three times.
import { fuse } from 'tilewise/onnxruntime';
import { loadOnnxRuntime } from '../peers/onnxruntime.mjs';
import { stackFeeds } from '../peers/stacks.mjs';
import { statusBytes } from '../timing/process-memory.mjs';
import { largeStack } from './model-cases.mjs';

const [form, file, tokens] = process.argv.slice(2);
const ort = loadOnnxRuntime();
const sessionOptions = { intraOpNumThreads: 2, logSeverityLevel: 3 };
const session = await (form === 'fused'
  ? fuse(ort, file, { sessionOptions })
  : ort.InferenceSession.create(file, sessionOptions));
const feeds = stackFeeds(largeStack, Number(tokens), ort.Tensor);
for (let run = 0; run < 3; ++run) await session.run(feeds);
console.log(statusBytes('VmHWM'));
