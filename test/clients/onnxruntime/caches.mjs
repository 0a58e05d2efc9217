// Caches: what a decoder gives run after run, and its presents wherever they go, are onnxruntime's.
// Reader: someone who changes lines.ts or present.ts.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import ort from 'onnxruntime-node';
import { fuse } from 'tilewise/onnxruntime';
import { feedsOf, folder, noPast, pastOf, rowsOf, stepsOf } from './decoder.mjs';
import { differenceOf, quiet } from './fixtures.mjs';

/** float16 carries three digits. */
const toleranceOf = (name) => (name.includes('float16') ? 4e-3 : 5e-6);

const prompt = 7;
const oneByOne = Array(20).fill(1);

async function open(t, name) {
  const file = `${folder}${name}.onnx`;
  const whole = await ort.InferenceSession.create(file, quiet);
  const session = await fuse(ort, file, { sessionOptions: quiet });
  assert.deepEqual(
    session.attention.map(({ reason }) => reason),
    [undefined],
  );
  t.after(() => Promise.all([whole.release(), session.release()]));
  return { whole, session };
}

const isNear = (got, want, tolerance = 5e-6) =>
  assert.ok(differenceOf(got, want) <= tolerance, `${differenceOf(got, want)}`);

/** Numbers of a tensor; those of 16 bits as numbers of their own. */
function floatsOf({ type, data }) {
  if (type !== 'float16') return data;
  const number = (bits) => {
    const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
  };
  return Array.from(data, number);
}

/** Runs both sessions step by step; their outputs are alike. Returns those of the last step. */
async function decode({ whole, session }, name, adds, batch = 1, first = undefined) {
  let [theirs, ours] = [noPast(whole, batch), noPast(whole, batch)];
  let last;
  let seed = 0;
  for (const sizes of stepsOf(adds, batch, first)) {
    const feeds = feedsOf(whole, sizes, ++seed);
    const [want, got] = [await whole.run({ ...feeds, ...theirs }), await session.run({ ...feeds, ...ours })];
    const counts = sizes.lengths.map((length) => Math.min(length, sizes.tokens));
    assert.deepEqual(got.y.dims, want.y.dims);
    isNear(rowsOf(got.y, counts), rowsOf(want.y, counts), toleranceOf(name));
    [theirs, ours] = [pastOf(want), pastOf(got)];
    last = { want, got, sizes };
  }
  return last;
}

function arePresents({ want, got }, tolerance) {
  for (const name of ['present_key', 'present_value']) {
    assert.ok(got[name] instanceof ort.Tensor);
    assert.equal(got[name].type, want[name].type);
    assert.deepEqual(got[name].dims, want[name].dims);
    assert.equal(got[name].size, want[name].size);
    isNear(floatsOf(got[name]), floatsOf(want[name]), tolerance);
  }
}

describe('a prompt and twenty tokens', () => {
  for (const file of readdirSync(folder)) {
    const name = file.replace('.onnx', '');
    it(name, async (t) => {
      const last = await decode(await open(t, name), name, [prompt, ...oneByOne]);
      arePresents(last, toleranceOf(name));
    });
  }
});

const rotary = 'group query, rotary';

describe('a decoder', () => {
  it('takes more than one token behind a past', async (t) => {
    await decode(await open(t, rotary), rotary, [prompt, 3, 1, 5]);
  });

  it('has sequences of different lengths', async (t) => {
    for (const name of [rotary, 'group query, window, softcap, scale']) {
      const last = await decode(await open(t, name), name, [prompt, ...oneByOne], 2, [4, 7]);
      arePresents(last);
    }
  });

  it('has sequences that begin with padding', async (t) => {
    const last = await decode(await open(t, 'in pieces'), 'in pieces', [prompt, 3, ...oneByOne], 2);
    arePresents(last);
  });

  it('has the mean of all values where all scores are replaced, and were NaN', async (t) => {
    const { whole, session } = await open(t, 'in pieces, scores replaced');
    let [theirs, ours] = [noPast(whole, 2), noPast(whole, 2)];
    for (const [seed, sizes] of [...stepsOf([prompt, 3, 1], 2)].entries()) {
      const feeds = feedsOf(whole, sizes, seed);
      feeds.q.data.fill(Number.NaN, 0, feeds.q.dims[2]);
      const [want, got] = [await whole.run({ ...feeds, ...theirs }), await session.run({ ...feeds, ...ours })];
      isNear(got.y.data, want.y.data);
      assert.ok(want.y.data.every(Number.isFinite));
      [theirs, ours] = [pastOf(want), pastOf(got)];
    }
  });

  it('has a total above its longest sequence, with numbers to add for all of it', async (t) => {
    const name = 'group query, bias';
    const { whole, session } = await open(t, name);
    const { want, got } = await decode({ whole, session }, name, [prompt], 2);
    const feeds = feedsOf(whole, { batch: 2, tokens: 1, lengths: [8, 6], total: 13 }, 60);
    const [expected, out] = [
      await whole.run({ ...feeds, ...pastOf(want) }),
      await session.run({ ...feeds, ...pastOf(got) }),
    ];
    isNear(out.y.data, expected.y.data);
    arePresents({ want: expected, got: out });
  });

  it('refuses lengths that its past has not got', async (t) => {
    const { session } = await open(t, rotary);
    const refuses = (sizes, past) =>
      assert.rejects(session.run({ ...feedsOf(session, sizes, 1), ...past }), { code: 'ERR_TILEWISE_SHAPE_MISMATCH' });
    await refuses({ batch: 1, tokens: 1, lengths: [5], total: 5 }, noPast(session, 1));
    await refuses({ batch: 1, tokens: 2, lengths: [9], total: 8 }, noPast(session, 1));
    await refuses({ batch: 1, tokens: 70, lengths: [70], total: 70 }, noPast(session, 1));
  });
});

/** Two sessions after a prompt, and a step of both behind any past. */
async function begun(t) {
  const sessions = await open(t, rotary);
  const { want, got, sizes } = await decode(sessions, rotary, [prompt, 1]);
  const next = { ...sizes, tokens: 1, lengths: [sizes.total + 1], total: sizes.total + 1 };
  const step = async (theirs, ours, seed, session = sessions.session) => {
    const feeds = feedsOf(session, next, seed);
    const [expected, out] = [
      await sessions.whole.run({ ...feeds, ...theirs }),
      await session.run({ ...feeds, ...ours }),
    ];
    isNear(out.y.data, expected.y.data);
    return [expected, out];
  };
  return { ...sessions, want: pastOf(want), got: pastOf(got), step };
}

describe('a present', () => {
  it('is fed to onnxruntime', async (t) => {
    const { want, got, step, whole } = await begun(t);
    await step(want, got, 40, whole);
  });

  it('is fed in the place of the other', async (t) => {
    const { want, got, step } = await begun(t);
    const mixed = ({ past_key: k, past_value: v }) => [
      { past_key: v, past_value: k },
      { past_key: k, past_value: k },
      { past_key: v, past_value: v },
    ];
    for (const [i, theirs] of mixed(want).entries()) await step(theirs, mixed(got)[i], 50 + i);
  });

  it('is disposed of as soon as a run that goes on from it has begun', async (t) => {
    const { want, got, whole, session } = await begun(t);
    const feeds = feedsOf(whole, { batch: 1, tokens: 1, lengths: [9], total: 9 }, 53);
    const running = session.run({ ...feeds, ...got });
    for (const tensor of Object.values(got)) tensor.dispose();
    const [expected, out] = [await whole.run({ ...feeds, ...want }), await running];
    isNear(out.y.data, expected.y.data);
    arePresents({ want: expected, got: out });
  });

  it('shows the padding of a prompt, which the next run may count', async (t) => {
    for (const isRead of [false, true]) {
      const { whole, session } = await open(t, rotary);
      const { want, got } = await decode({ whole, session }, rotary, [prompt], 2, [4, 7]);
      if (isRead) arePresents({ want, got });
      const feeds = feedsOf(whole, { batch: 2, tokens: 1, lengths: [8, 8], total: 8 }, 54);
      const [expected, out] = [
        await whole.run({ ...feeds, ...pastOf(want) }),
        await session.run({ ...feeds, ...pastOf(got) }),
      ];
      isNear(out.y.data, expected.y.data);
      arePresents({ want: expected, got: out });
    }
  });

  it('is fed twice, and each goes its own way', async (t) => {
    const { want, got, step } = await begun(t);
    const beams = [await step(want, got, 41), await step(want, got, 42)];
    for (const [expected, out] of beams) arePresents({ want: expected, got: out });
  });

  it('is fed by two runs at once', async (t) => {
    const { want, got, step } = await begun(t);
    const beams = await Promise.all([step(want, got, 43), step(want, got, 44)]);
    for (const [expected, out] of beams) arePresents({ want: expected, got: out });
  });

  it('of onnxruntime is fed, and goes on', async (t) => {
    const { want, step } = await begun(t);
    const [expected, out] = await step(want, want, 45);
    arePresents({ want: expected, got: out });
  });

  it('is fed as its reader has changed it', async (t) => {
    const { want, got, step } = await begun(t);
    want.past_value.data[0] += 3;
    got.past_value.data[0] += 3;
    await step(want, got, 46);
  });

  it('is gone back on: fewer tokens of it are said to be there', async (t) => {
    const { want, got, step, whole, session } = await begun(t);
    const shorter = { batch: 1, tokens: 1, lengths: [6], total: 8 };
    const feeds = feedsOf(whole, shorter, 48);
    const [expected, out] = [await whole.run({ ...feeds, ...want }), await session.run({ ...feeds, ...got })];
    isNear(out.y.data, expected.y.data);
    await step(want, got, 49);
  });

  it('stays when the one before it is disposed of, and says so of that', async (t) => {
    const { want, got, step } = await begun(t);
    const [expected, out] = await step(want, got, 47);
    for (const tensor of Object.values(got)) tensor.dispose();
    assert.throws(() => got.past_key.data, /disposed/);
    arePresents({ want: expected, got: out });
  });
});
