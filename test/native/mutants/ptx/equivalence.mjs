// Mutants that are no mistake: rules that show from the text alone that a changed statement does what it did. A rule says
// no where it cannot tell; a mutant that is hard to notice is not equivalent.
// Reader: scripts/ptx-mutants.mjs, which also runs what a rule calls equivalent, and fails where a check notices it.
import { changesBitsThatNobodyReads } from './bits.mjs';
import { statementOf } from './statements.mjs';

const lanes = Array.from({ length: 32 }, (_, lane) => lane);

/** The number in a register that one statement alone writes, or that stands in its place; else undefined. */
function constantOf(kernel, text) {
  if (/^-?\d+$/.test(text)) return Number(text);
  const writers = kernel.statements.filter(({ writes }) => writes.includes(text));
  if (writers.length !== 1 || writers[0].guard || !/^mov\.[busf]\d+$/.test(writers[0].opcode)) return undefined;
  const [, number] = /,\s*(-?\d+)$/.exec(writers[0].operands) ?? [];
  return number === undefined ? undefined : Number(number);
}

const isSameGuard = (a, b) => a.guard?.register === b.guard?.register && a.guard?.isNegated === b.guard?.isNegated;

// PTX ISA, shfl.sync: the lane that each lane reads, its own where the one it names is past the bound.
function sourceLanes(mode, offset, bounds) {
  const segments = (bounds >> 8) & 31;
  return lanes.map((lane) => {
    const most = (lane & segments) | (bounds & 31 & ~segments);
    const least = lane & segments;
    const [source, isInside] = {
      idx: () => [least | (offset & 31 & ~segments), (from) => from <= most],
      bfly: () => [lane ^ (offset & 31), (from) => from <= most],
      up: () => [lane - (offset & 31), (from) => from >= most],
      down: () => [lane + (offset & 31), (from) => from <= most],
    }[mode]();
    return isInside(source) ? `${source}` : `${lane}, its own`;
  });
}

const isReadIn = (kernel, register) => kernel.statements.some(({ reads }) => reads.includes(register));

// Whether all lanes of a warp have the same in a register: a number, or the warp's index, as blocks have one dimension.
function isSameInAllLanes(kernel, register) {
  if (constantOf(kernel, register) !== undefined) return true;
  const [index, ...others] = kernel.statements.filter(({ writes }) => writes.includes(register));
  const [, thread] = /^%r\d+, (%r\d+), 5$/.exec(index?.operands) ?? [];
  if (others.length > 0 || index?.guard || !/^shr\.[su]32$/.test(index?.opcode) || !thread) return false;
  const writers = kernel.statements.filter(({ writes }) => writes.includes(thread));
  return writers.length === 1 && !writers[0].guard && /^%r\d+, %tid\.x$/.test(writers[0].operands);
}

// What a shuffle of known lanes reads, whichever they are where all have the same; undefined where they are not known.
function readsOf(kernel, shuffle, numberOf) {
  const [, mode] = /^shfl\.sync\.(\w+)\./.exec(shuffle.opcode) ?? [];
  const [results, value, ...places] = shuffle.operands.split(/,\s*/);
  const [offset, bounds, members] = places.map(numberOf);
  if (mode === undefined || places.length !== 3 || [offset, bounds, members].includes(undefined)) return undefined;
  const [, isInside] = results.split('|');
  const isAny = members === -1 && isSameInAllLanes(kernel, value) && !isReadIn(kernel, isInside);
  return JSON.stringify([value, members, isAny ? 'any' : sourceLanes(mode, offset, bounds)]);
}

// A constant, or operands, by which every shuffle that reads them still gives the same.
function readsTheSameLanes(kernel, { statement, replacement }) {
  const changed = statementOf(replacement);
  if (!changed) return false;
  const before = (text) => constantOf(kernel, text);
  if (statement.opcode.startsWith('shfl')) {
    const reads = readsOf(kernel, statement, before);
    const isRestSame = changed.opcode === statement.opcode && changed.writes.join() === statement.writes.join();
    return (
      isRestSame && isSameGuard(changed, statement) && reads !== undefined && reads === readsOf(kernel, changed, before)
    );
  }
  const [register] = statement.writes;
  if (constantOf(kernel, register) === undefined || changed.writes.join() !== register) return false;
  const number = constantOf({ statements: [changed] }, register);
  const after = (text) => (text === register ? number : before(text));
  const isValue = ({ operands }) => operands.split(/,\s*/)[1] === register;
  return kernel.statements
    .filter(({ reads }) => reads.includes(register))
    .every((user) => {
      const reads = readsOf(kernel, user, before);
      return number !== undefined && !isValue(user) && reads !== undefined && reads === readsOf(kernel, user, after);
    });
}

// Results that change places, and none of them is read anywhere.
function swapsUnreadResults(kernel, { statement, replacement }) {
  const changed = statementOf(replacement);
  if (!changed || changed.opcode !== statement.opcode || changed.tokens.length !== statement.tokens.length)
    return false;
  const others = statement.tokens.filter((token, i) => token.text !== changed.tokens[i].text);
  return (
    isSameGuard(changed, statement) &&
    others.length > 0 &&
    others.every((token) => token.isResult && !isReadIn(kernel, token.text))
  );
}

// Reads memory, or lets other threads read it; or goes elsewhere.
const mayShow = /^(?:ld\b|ldmatrix|bar|bra|ret|cp\.async\.wait|membar|fence|atom|red)/;
const storeForm = /^st\.shared\.(?:v(?<count>\d)\.)?[busf](?<bits>\d+)$/;

/** Bytes of shared memory that a statement fills, whatever it fills them with; 0 for others. */
function bytesFilled({ opcode, operands, guard }) {
  if (guard) return 0;
  if (/^cp\.async\.c[ag]\.shared\.global$/.test(opcode)) return Number(operands.split(/,\s*/)[2]);
  const { count = '1', bits } = storeForm.exec(opcode)?.groups ?? {};
  return bits ? (Number(count) * Number(bits)) / 8 : 0;
}

// A store to shared memory into whose place the same thread stores again, before it or any other may look.
function isOverwritten(kernel, { statement, replacement, index }) {
  if (!storeForm.test(statement.opcode)) return false;
  const changed = statementOf(replacement);
  const addressOf = ({ operands }) => /^\[[^\]]*\]/.exec(operands)?.[0];
  const address = addressOf(statement);
  // Dropped, or another value to the same place by the same threads.
  const isSamePlace = () => changed.opcode === statement.opcode && addressOf(changed) === address;
  if (changed && !(isSamePlace() && isSameGuard(changed, statement))) return false;
  const own = bytesFilled({ ...statement, guard: null });
  const labelled = new Set(kernel.labels.values());
  for (let i = index + 1; i < kernel.statements.length; ++i) {
    const next = kernel.statements[i];
    if (labelled.has(i) || mayShow.test(next.opcode)) return false;
    if (addressOf(next) === address && bytesFilled(next) >= own) return true;
    if (next.writes.some((register) => address.includes(register))) return false;
  }
  return false;
}

// The statements, by index, that follow one another from there on, up to a branch that may go either way.
function straightWay(kernel, from) {
  const way = [];
  const met = new Set();
  for (let at = from; kernel.statements[at] && !met.has(at); ) {
    met.add(at);
    const { opcode, operands, guard } = kernel.statements[at];
    const isJump = opcode.startsWith('bra') && !guard;
    if (!isJump) way.push(at);
    if (opcode === 'ret' || (opcode.startsWith('bra') && guard)) break;
    at = isJump ? kernel.labels.get(operands) : at + 1;
  }
  return way;
}

// Another guard of a branch whose two ways are the same statements up to where they meet.
function goesTheSameWay(kernel, { statement, replacement, index }) {
  const changed = statementOf(replacement);
  const isBranch = statement.opcode.startsWith('bra') && statement.guard;
  if (!isBranch || changed?.opcode !== statement.opcode || changed.operands !== statement.operands) return false;
  const [taken, other] = [kernel.labels.get(statement.operands), index + 1].map((from) => straightWay(kernel, from));
  const meeting = taken.findIndex((at) => other.includes(at));
  const textsOf = (way) => way.slice(0, meeting).map((at) => kernel.statements[at].text.trim());
  return meeting >= 0 && other[meeting] === taken[meeting] && textsOf(taken).join('\n') === textsOf(other).join('\n');
}

const startsGroup = /^cp\.async\.commit_group$/;
const mayWait = /^(?:cp\.async\.(?:wait|mbarrier)|ret|exit|trap)/;

/** The statements that may follow one, by index. */
function successors(kernel, index) {
  const { opcode, operands, guard } = kernel.statements[index];
  if (!opcode.startsWith('bra')) return [index + 1];
  const target = kernel.labels.get(operands);
  return guard ? [target, index + 1] : [target];
}

/** The most groups that a wait leaves pending, of the waits that some way from a statement comes to. */
function mostLeftPending(kernel, index) {
  const met = new Set();
  let most = 0;
  for (const ways = successors(kernel, index); ways.length > 0; ) {
    const at = ways.pop();
    const next = kernel.statements[at];
    if (!next || next.opcode === 'ret' || met.has(at)) continue;
    met.add(at);
    if (next.opcode === 'cp.async.wait_group') most = Math.max(most, Number(next.operands));
    ways.push(...successors(kernel, at));
  }
  return most;
}

// A commit left out: its copies belong to the next group. No wait can tell, where more groups than any leaves pending are
// committed on every way from there to the first.
function joinsTheNextGroup(kernel, { statement, replacement, index }) {
  if (!startsGroup.test(statement.opcode) || statement.guard || statementOf(replacement)) return false;
  const enough = mostLeftPending(kernel, index) + 1;
  const met = new Set();
  for (const ways = successors(kernel, index).map((at) => [at, 0]); ways.length > 0; ) {
    const [at, before] = ways.pop();
    const next = kernel.statements[at];
    if (!next || mayWait.test(next.opcode)) return false;
    const groups = before + Number(startsGroup.test(next.opcode) && !next.guard);
    // Where it comes to the same commit, another way begins.
    if (at === index || groups === enough || met.has(`${at} ${groups}`)) continue;
    met.add(`${at} ${groups}`);
    ways.push(...successors(kernel, at).map((to) => [to, groups]));
  }
  return true;
}

const rules = [
  { reason: 'every shuffle reads the same lanes, or all lanes have the same', holds: readsTheSameLanes },
  { reason: 'nobody reads the results that change places', holds: swapsUnreadResults },
  { reason: 'the same thread stores again before anybody may look', holds: isOverwritten },
  { reason: 'both ways of the branch are the same statements', holds: goesTheSameWay },
  { reason: 'the bits that change are zero or not read', holds: changesBitsThatNobodyReads },
  { reason: 'its copies join the next group, which no wait can tell', holds: joinsTheNextGroup },
];

/**
 * Why a mutant is no mistake, or undefined.
 * @param kernel as kernelsOf() gives it
 * @param mutant as mutantsOf() gives it
 */
export const reasonOfEquivalence = (kernel, mutant) => rules.find(({ holds }) => holds(kernel, mutant))?.reason;
