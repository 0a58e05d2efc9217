// The page docs/measurements/targets.md: every target beside the worst figure that was measured for it, met or missed.
// Reader: as targets.mjs, family-targets.mjs and gpu/targets.mjs, which state the targets.
import { figuresOf } from '../gpu/figures.mjs';
import { gpuTargets } from '../gpu/targets.mjs';
import { cacheTargets } from './caches.mjs';
import { familyTargets } from './family-targets.mjs';
import { kernelTargets } from './kernels.mjs';
import { memoryTargets } from './memory.mjs';
import { modelTargets } from './models.mjs';
import { rangeTargets } from './ranges.mjs';
import { ratioTargets } from './ratio-rows.mjs';
import { servingTargets } from './serving.mjs';
import { heading, NOT_MEASURED, targetTable } from './tables.mjs';
import { peerTargets, speedTargets } from './targets.mjs';

const from = ({ machine }) =>
  `Measured on ${machine.cpu}, ${machine.processors} processors, commit ${machine.commit}, ${machine.date}.`;

const section = (title, result, targetsOf) =>
  result ? heading(title, from(result), targetTable(targetsOf(result))) : heading(title, '', NOT_MEASURED);

function gpuSections(cards) {
  if (cards.length === 0) return [heading('GPU', 'What an H200 is to reach.', targetTable(gpuTargets([])))];
  return cards.map((result) =>
    heading(`GPU: ${result.machine.card.name}`, 'Set for an H200.', targetTable(gpuTargets(figuresOf(result)))),
  );
}

/** @param {object} results of every suite, null where there is none; `cards` as readGpuResults() gives them */
export function targetPage(results) {
  const { speed, memory, families, ranges, masks, serving, caches, selectors, linear, models, peers, kernels, cards } =
    results;
  return [
    '# Targets',
    'Written by `npm run bench:report` from `bench/results/*.json`; never edited by hand. A target is what this project wants to ' +
      'reach; the figure beside it is the worst of all rows that it speaks of. All rows are in ' +
      '[RESULTS.md](../../bench/RESULTS.md); [cpu-profile.md](cpu-profile.md) says where the time goes that is missing.',
    section('Dense attention', speed, speedTargets),
    section('Memory', memory, memoryTargets),
    section('Pattern families', families, familyTargets),
    section('Ranges of keys', ranges, rangeTargets),
    section('Masks and biases', masks, ratioTargets),
    section('Serving', serving, servingTargets),
    section('Caches', caches, cacheTargets),
    section('Selecting keys', selectors, ratioTargets),
    section('Linear attention', linear, ratioTargets),
    section('Models in onnxruntime', models, modelTargets),
    section('Against peers', peers, peerTargets),
    section('Kernel images', kernels, kernelTargets),
    ...gpuSections(cards),
  ].join('\n\n');
}
