// Words of a command line as values: whole numbers, axes, lists, ranges. Each refuses with the option's name.
// Reader: someone who adds an option to `tilewise explain`.

import { UsageError } from '../usage-error.mjs';

export const given = (options) =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
const unwrap = (list) => (list.length === 1 ? list[0] : list);

export function required(name, value) {
  if (value === undefined) throw new UsageError(`--${name} is missing`);
  return value;
}

/** A whole number, 'k' and 'M' standing for 1024 and 1024 * 1024. */
export function whole(name, value) {
  if (value === undefined) return undefined;
  const match = /^(-?\d+)(k|m)?$/i.exec(value);
  if (!match) throw new UsageError(`--${name} must be a whole number, not '${value}'`);
  return Number(match[1]) * { undefined: 1, k: 1024, m: 1024 * 1024 }[match[2]?.toLowerCase()];
}

export function number(name, value) {
  if (value === undefined) return undefined;
  if (value.trim() === '' || Number.isNaN(Number(value)))
    throw new UsageError(`--${name} must be a number, not '${value}'`);
  return Number(value);
}

/** 30x48x80, or one number. */
export const axes = (name, value) =>
  value === undefined ? undefined : unwrap(value.split(/[x,]/).map((one) => whole(name, one)));

/** 1,1,128. */
export const list = (name, value) => value?.split(',').map((one) => whole(name, one));

/** 256, or all,256 with a number per head; all: no end. */
export const perHead = (name, value) =>
  value === undefined
    ? undefined
    : unwrap(
        value.split(',').map((one) => (/^(all|infinity)$/i.test(one) ? Number.POSITIVE_INFINITY : whole(name, one))),
      );

/** 32/8: two numbers, or one for both. */
export function pair(name, value) {
  if (value === undefined) return [];
  const [first, second = first, ...rest] = value.split('/').map((one) => whole(name, one));
  if (rest.length > 0) throw new UsageError(`--${name} must be one number or two as in 32/8, not '${value}'`);
  return [first, second];
}

export function truth(name, value) {
  if (value === undefined) return undefined;
  if (value === 'true' || value === 'yes' || value === '1') return true;
  if (value === 'false' || value === 'no' || value === '0') return false;
  throw new UsageError(`--${name} must be true or false, not '${value}'`);
}

/** true, or true,false with a word per axis. */
export const truths = (name, value) =>
  value === undefined ? undefined : unwrap(value.split(',').map((one) => truth(name, one)));

export const align = (value) =>
  value === undefined || Number.isNaN(Number(value)) ? value : { offset: whole('align', value) };

/** 64:8k,8:2k: chunk and keys kept, per stage. */
export function stages(value, strides) {
  const strideQ = list('stride-q', strides) ?? [];
  return value.split(',').map((stage, i) => {
    const [chunk, keep, ...rest] = stage.split(':').map((one) => whole('stages', one));
    if (keep === undefined || rest.length > 0) {
      throw new UsageError(`--stages must be chunk:keep pairs as in 64:8k,8:2k, not '${value}'`);
    }
    return { chunk, keep, strideQ: strideQ[i] ?? strideQ.at(-1) ?? 1 };
  });
}

/** 100,250/200,150: a list for all batch entries, or one per entry. */
export const lists = (name, value) => unwrap(value.split('/').map((one) => list(name, one)));

/** 0:100: from the first to before the last. */
function range(name, value) {
  const [begin, end, ...rest] = value.split(':').map((one) => whole(name, one));
  if (end === undefined || end < begin || rest.length > 0) {
    throw new UsageError(`--${name} must have ranges begin:end as in 0:100, not '${value}'`);
  }
  return [begin, end];
}

/** causal,0:100,0:100: the kind of a slice, its queries and its keys. */
export function slice(value) {
  const [kind, q, k, ...rest] = value.split(',');
  if (k === undefined || rest.length > 0) {
    throw new UsageError(`--slice must be a kind, queries and keys as in causal,0:100,0:100, not '${value}'`);
  }
  return { kind, q: range('slice', q), k: range('slice', k) };
}

/** More positions on a line than this are a mistake: a call has no more tokens. */
const mostPositions = 2 ** 24;

/** 0:64,448:512,600: ranges of positions, and single ones. */
export function positions(name, value) {
  const found = [];
  for (const one of value.split(',')) {
    const [begin, end] = one.includes(':') ? range(name, one) : [whole(name, one), whole(name, one) + 1];
    if (found.length + end - begin > mostPositions) {
      throw new UsageError(`--${name} must have at most ${mostPositions} positions, not '${value}'`);
    }
    for (let position = begin; position < end; ++position) found.push(position);
  }
  return found;
}
