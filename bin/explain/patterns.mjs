// The patterns that `tilewise explain` knows: for each the options it takes beyond the common ones, how they become a pattern,
// and what they say of the sizes of a call. Reader: someone who adds a pattern.

import { UsageError } from '../usage-error.mjs';
import * as words from './words.mjs';

const { align, given, number, perHead, required, truth, whole } = words;

const patterns = {
  full: { options: [], make: ({ full }) => full() },
  causal: { options: ['align'], make: ({ causal }, o) => causal(given({ align: align(o.align) })) },
  'sliding-window': {
    options: ['recent', 'left', 'right', 'causal', 'sinks', 'align'],
    make: ({ slidingWindow }, o) =>
      slidingWindow(
        given({
          recentTokens: perHead('recent', o.recent),
          left: perHead('left', o.left),
          right: perHead('right', o.right),
          causal: truth('causal', o.causal),
          sinkTokens: perHead('sinks', o.sinks),
          align: align(o.align),
        }),
      ),
  },
  neighborhood: {
    options: ['kernel', 'stride', 'dilation', 'causal', 'border'],
    make: ({ neighborhood }, o) =>
      neighborhood(
        given({
          kernelSize: words.axes('kernel', required('kernel', o.kernel)),
          stride: words.axes('stride', o.stride),
          dilation: words.axes('dilation', o.dilation),
          causal: words.truths('causal', o.causal),
          border: o.border,
        }),
      ),
  },
  'strided-shards': {
    options: [
      ...['block', 'local', 'vert', 'preset', 'layout-per', 'head-step', 'head-offset', 'dense-heads'],
      ...['homo-head', 'relative', 'align'],
    ],
    make: ({ stridedShards }, o) =>
      stridedShards(
        given({
          blockSize: whole('block', required('block', o.block)),
          localBlocks: whole('local', required('local', o.local)),
          vertStride: whole('vert', required('vert', o.vert)),
          preset: o.preset,
          layoutPer: o['layout-per'],
          headStep: whole('head-step', o['head-step']),
          headOffset: whole('head-offset', o['head-offset']),
          numDenseHeads: whole('dense-heads', o['dense-heads']),
          homoHead: o['homo-head'],
          positions: o.relative ? 'relative' : undefined,
          align: align(o.align),
        }),
      ),
  },
  documents: {
    options: [
      ...['lengths', 'causal', 'block-causal', 'prefix', 'shared', 'last-sees-all', 'global-tokens'],
      ...['left', 'right'],
    ],
    make: ({ documents }, o) =>
      documents(
        given({
          lengths: words.lists('lengths', required('lengths', o.lengths)),
          causal: truth('causal', o.causal),
          blockCausal: whole('block-causal', o['block-causal']),
          prefix: whole('prefix', o.prefix),
          shared: o.shared,
          lastSeesAll: o['last-sees-all'],
          globalTokens: whole('global-tokens', o['global-tokens']),
          window: reach(o),
        }),
      ),
    sizes: ({ cuSeqlens }) => ({
      tokens: cuSeqlens[0].at(-1),
      batch: cuSeqlens.length > 1 ? cuSeqlens.length : undefined,
    }),
  },
  'attention-slices': {
    options: ['slice'],
    make: ({ attentionSlices }, o) => attentionSlices(required('slice', o.slice).map(words.slice)),
    sizes: ({ slices: [list] }) => ({
      queries: Math.max(...list.map(({ q }) => q[1])),
      keys: Math.max(...list.map(({ k }) => k[1])),
    }),
  },
  power: {
    options: ['block', 'window', 'sink-blocks', 'align'],
    make: ({ power }, o) =>
      power(
        given({
          block: whole('block', o.block),
          window: whole('window', o.window),
          sinkBlocks: whole('sink-blocks', o['sink-blocks']),
          align: align(o.align),
        }),
      ),
  },
  'sampled-blocks': {
    options: ['block', 'keep', 'rho', 'floor', 'power', 'seed', 'layer', 'scope', 'unbiased', 'align'],
    make: ({ sampledBlocks }, o) => {
      const { rho, floor } = { rho: number('rho', o.rho), floor: number('floor', o.floor) };
      return sampledBlocks(
        given({
          block: whole('block', required('block', o.block)),
          keep: number('keep', o.keep),
          geometric: rho === undefined && floor === undefined ? undefined : given({ rho, floor }),
          power: number('power', o.power),
          seed: whole('seed', o.seed),
          layer: whole('layer', o.layer),
          scope: o.scope,
          unbiased: o.unbiased,
          align: align(o.align),
        }),
      );
    },
  },
  hierarchical: {
    options: ['preset', 'stages', 'stride-q', 'block-q', 'sink', 'window'],
    make: ({ hierarchical }, o) =>
      hierarchical(
        given({
          preset: o.preset,
          stages: o.stages === undefined ? undefined : words.stages(o.stages, o['stride-q']),
          blockQ: whole('block-q', o['block-q']),
          sink: whole('sink', o.sink),
          window: whole('window', o.window),
        }),
      ),
  },
};

/** Options that stand without a value, and those that may be given more than once. */
export const flags = new Set(['homo-head', 'relative', 'shared', 'last-sees-all', 'unbiased']);
export const repeated = new Set(['slice']);

/** A window inside documents; undefined where nothing bounds it. */
function reach(o) {
  const window = given({ left: whole('left', o.left), right: whole('right', o.right) });
  return Object.keys(window).length === 0 ? undefined : window;
}

/** The pattern of a name, which may be spelled as in the API: slidingWindow, stridedShards. */
export function patternNamed(name) {
  const spelled = name?.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const known = spelled === 'window' ? 'sliding-window' : (spelled ?? '');
  if (Object.hasOwn(patterns, known)) return { name: known, ...patterns[known] };
  const names = Object.keys(patterns).join(', ');
  throw new UsageError(`${name === undefined ? 'a pattern is missing' : `there is no pattern '${name}'`}: ${names}`);
}
