// Linear attention against numbers computed elsewhere (golden/ext-linear.json), on every backend: outputs, states,
// steps, parts that merge, decays of published models. Reader: someone who ports a linear layer.

import { describe, expect, it } from 'vitest';
import {
  type LinearAttentionOptions,
  LinearState,
  lightningDecay,
  linearAttentionStepSync,
  linearAttentionSync,
  retnetDecay,
  rotateSync,
} from '../../dist/index.js';
import { selected } from '../conformance/backends.js';
import { onEveryBackend } from '../conformance/suite.js';
import { casesOf, expectNear, extLinear, type LinearCase, tokensOf } from '../support/ext-linear.js';
import { extTensor } from '../support/ext-modifiers.js';

const device = () => selected()?.device;

/** Options as the file gives them, with the tensors among them. */
function optionsOf(given: LinearCase): LinearAttentionOptions {
  const { state, normalizer, ...options } = given.options as LinearAttentionOptions;
  return {
    ...options,
    device: device(),
    ...(given.decay && { decay: extTensor(given.decay) }),
    ...(given.stateIn && { state: extTensor(given.stateIn) }),
    ...(given.normalizerIn && { normalizer: extTensor(given.normalizerIn) }),
  };
}

const stateFor = ({ dims, options }: LinearCase) =>
  new LinearState({
    sequences: dims.batch,
    kvHeads: dims.kvHeads,
    headDim: dims.headDim,
    valueDim: dims.valueDim,
    featureMap: (options as LinearAttentionOptions).featureMap,
    normalize: (options as LinearAttentionOptions).normalize,
  });

/** What a step is told of a case's options, for token t. */
function stepOptions({ options, decay }: LinearCase, t: number) {
  const { scale, eps } = options as LinearAttentionOptions;
  const given = decay ? tokensOf(decay, t, t + 1) : (options as LinearAttentionOptions).decay;
  return { device: device(), scale, eps, decay: given };
}

const all = casesOf('linearAttention').filter(({ options }) => !options.twoSided);

onEveryBackend(() => {
  it.each(all)('$name', (given) => {
    const got = linearAttentionSync(extTensor(given.q), extTensor(given.k), extTensor(given.v), {
      ...optionsOf(given),
      returnState: true,
    });
    expect(got.out.dims).toEqual(given.out.dims);
    expectNear(got.out, given.out);
    if (given.state) expectNear(got.state as never, given.state);
    if (given.normalizer) expectNear(got.normalizer as never, given.normalizer);
  });

  const stepped = all.filter(({ after, split }) => after || split);
  it.each(stepped)('$name, on a LinearState', (given) => {
    const first = given.split ?? (given.after as { tokens: number }[])[0].tokens;
    const state = stateFor(given);
    const { keys } = given.dims;
    const at = (begin: number, end: number) =>
      [tokensOf(given.q, begin, end), tokensOf(given.k, begin, end), tokensOf(given.v, begin, end)] as const;
    const decay = given.decay ? tokensOf(given.decay, 0, first) : (given.options as LinearAttentionOptions).decay;
    const rows = [...state.attentionSync(...at(0, first), { ...stepOptions(given, 0), decay }).out.data];
    for (const { tokens, state: want } of given.after ?? []) if (tokens === first) expectNear(state.state, want);
    for (let t = first; t < keys; t++) {
      rows.push(...linearAttentionStepSync(...at(t, t + 1), state, stepOptions(given, t)).out.data);
    }
    expectNear({ data: rows }, given.out);
    for (const { tokens, state: want } of given.after ?? []) if (tokens === keys) expectNear(state.state, want);
  });

  it.each(casesOf('linearContextParallel'))('$name', (given) => {
    const states: LinearState[] = [];
    let begin = 0;
    for (const shard of given.shardStates ?? []) {
      const end = begin + shard.tokens;
      const [q, k, v] = [given.q, given.k, given.v].map((x) => tokensOf(x, begin, end));
      const options = {
        scale: 1,
        device: device(),
        decay: given.decay ? tokensOf(given.decay, begin, end) : (given.options as LinearAttentionOptions).decay,
      };
      const part = stateFor(given);
      part.attentionSync(q, k, v, options);
      expectNear(part.state, shard.localState);
      states.push(part);
      const on = linearAttentionSync(q, k, v, { ...options, state: extTensor(shard.stateIn), returnState: true });
      expectNear(on.state as never, shard.stateOut);
      begin = end;
    }
    if (!given.stateIn) expectNear(LinearState.merge(states).state, given.state as never);
  });

  it.each(casesOf('recipe:rotaryLinear'))('$name', (given) => {
    const { rotate, ...options } = given.options as { rotate: object };
    const turned = (x: LinearCase['q']) => rotateSync(extTensor(x), { ...rotate, device: device() });
    const got = linearAttentionSync(turned(given.q), turned(given.k), extTensor(given.v), {
      ...(options as LinearAttentionOptions),
      device: device(),
      returnState: true,
    });
    expectNear(got.out, given.out);
    expectNear(got.state as never, given.state as never);
  });
});

describe('decays of published models', () => {
  it.each(extLinear.decayTables)('$helper $options', ({ helper, options, decay }) => {
    const got = helper === 'retnetDecay' ? retnetDecay(options as never) : lightningDecay(options as never);
    expect(got).toHaveLength(decay.length);
    decay.forEach((want, h) => {
      expect(Math.abs(got[h] - want), `head ${h}`).toBeLessThanOrEqual(2e-7 * Math.abs(want));
    });
  });
});
