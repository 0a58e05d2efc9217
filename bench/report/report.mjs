// Turns bench/results/*.json into bench/RESULTS.md, docs/measurements/targets.md and the README's ratios, so that no number
// is ever typed. Reader: whoever has just measured. After `npm run bench`, `bench:families`, `bench:peers` and the others:
//   npm run bench:report               writes the pages
//   npm run bench:report -- --check    fails when a page is not what would be written
import { existsSync, readFileSync } from 'node:fs';
import { putPage, withSection } from '../../scripts/pages.mjs';
import { cacheSections } from './caches.mjs';
import { speedSections } from './dense.mjs';
import { familySections } from './families.mjs';
import { gpuSections, readGpuResults } from './gpu.mjs';
import { kernelSections } from './kernels.mjs';
import { linearSections } from './linear.mjs';
import { maskSections } from './masks.mjs';
import { memorySections } from './memory.mjs';
import { modelSections } from './models.mjs';
import { peerSections } from './peers.mjs';
import { rangeSections } from './ranges.mjs';
import { ratioTable } from './ratios.mjs';
import { rotarySections } from './rotary.mjs';
import { selectorSections } from './selectors.mjs';
import { servingSections } from './serving.mjs';
import { targetPage } from './target-page.mjs';

function readResult(name) {
  const file = new URL(`../results/${name}`, import.meta.url);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null;
}

const speed = readResult('cpu.json');
const memory = readResult('memory.json') ?? speed;
const families = readResult('families.json');
const ranges = readResult('ranges.json');
const peers = readResult('peers.json');
const peersOfMasks = readResult('peers-masks.json');
const masks = readResult('masks.json');
const serving = readResult('serving.json');
const rotary = readResult('rotary.json');
const caches = readResult('caches.json');
const linear = readResult('linear.json');
const selectors = readResult('selectors.json');
const models = readResult('models.json');
const kernels = readResult('kernels.json');
const cards = readGpuResults();
const put = (name, text) => putPage(name, text, 'npm run bench:report');

const intro =
  '# Results\n\nWritten by `npm run bench:report` from `bench/results/*.json`; never edited by hand. ' +
  '[benchmarks.md](../docs/measurements/benchmarks.md) has the method, [targets.md](../docs/measurements/targets.md) what the ' +
  'figures are held against.';
const sections = [
  intro,
  ...speedSections(speed),
  ...memorySections(memory),
  ...familySections(families),
  ...rangeSections(ranges),
  ...maskSections(masks),
  ...servingSections(serving),
  ...cacheSections(caches),
  ...selectorSections(selectors),
  ...rotarySections(rotary),
  ...linearSections(linear),
  ...modelSections(models),
  ...gpuSections(cards),
  ...kernelSections(kernels),
  ...peerSections(peers),
  ...(peersOfMasks ? peerSections(peersOfMasks, 'Peers: documents, and windows that differ by head') : []),
];
put('bench/RESULTS.md', `${sections.filter(Boolean).join('\n\n')}\n`);
put(
  'docs/measurements/targets.md',
  `${targetPage({ speed, memory, families, ranges, masks, serving, caches, selectors, linear, models, peers, kernels, cards })}\n`,
);
put('README.md', withSection('README.md', 'results', ratioTable(peers)));
