// How many products on tensor cores (mma) the PTX of the kernels of linear attention and its kin has. Reader: someone whose
// kernel is named. A scan that computes token by token has none.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

// Kernels without: what they do is bound by memory.
const modules = { linear: ['linear_carry'], delta: [], local_linear: [] };

/** By kernel, of the PTX of one module. */
function productsOf(text) {
  const kernels = text.split(/^\.visible \.entry /m).slice(1);
  return new Map(kernels.map((kernel) => [/^\w+/.exec(kernel)[0], kernel.match(/\bmma\.sync\b/g)?.length ?? 0]));
}

/** Whether each kernel that multiplies does so on tensor cores; prints those that do not. */
export function areProductsOnTensorCores(folder) {
  let isTrue = true;
  for (const [module, without] of Object.entries(modules)) {
    const file = path.join(folder, `${module}.ptx`);
    const kernels = existsSync(file) ? productsOf(readFileSync(file, 'utf8')) : new Map();
    console.log(
      `# mma in ${module}: ${[...kernels].map(([name, count]) => `${name} ${count}`).join(', ') || 'no PTX'}`,
    );
    isTrue &&= kernels.size > without.length;
    for (const [name, count] of kernels) {
      if (count > 0 !== without.includes(name)) continue;
      console.log(`${name} has ${count} products on tensor cores`);
      isTrue = false;
    }
  }
  return isTrue;
}
