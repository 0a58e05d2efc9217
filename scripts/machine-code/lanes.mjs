// Which bits of registers and predicates may differ between the lanes of a warp: what an instruction does to that.
// Reader: someone who adds a rule. A state has a mask per register, all or nothing per predicate. Two things are left out,
// so that this finds mistakes and proves nothing: a value chosen by the path that a lane took counts as the same in all, and
// so does what a register held before an instruction that a predicate of the whole warp may have skipped.
import { kNoPredicate, kNoRegister } from './instruction.mjs';

const kAll = -1;
const kFirstPredicate = 256;
export const kStates = kFirstPredicate + 8;

/** A sum differs from the lowest bit that does, for its carries. */
const upwards = (mask) => (mask === 0 ? 0 : -(mask & -mask));
/** Whether a number has nothing where the mask has bits or below. */
const isAbove = (mask, number) => mask > 0 && mask < 1 << 30 && (number & ((1 << (32 - Math.clz32(mask))) - 1)) === 0;

class Lanes {
  constructor(state, i) {
    this.state = state;
    this.i = i;
    this.differs = this.predicate(i.guard);
  }
  register(r) {
    return r === kNoRegister ? 0 : this.state[r];
  }
  pair(r) {
    return this.register(r) | (r === kNoRegister ? 0 : this.register(r + 1));
  }
  predicate(p) {
    return p === kNoPredicate ? 0 : this.state[kFirstPredicate + p];
  }
  // Lanes that skip a write keep their own.
  set(r, mask, changed = kAll) {
    if (r !== kNoRegister) this.state[r] = this.differs ? this.state[r] | mask | changed : mask;
  }
  setPredicate(p, mask) {
    if (p !== kNoPredicate) this.state[kFirstPredicate + p] = mask !== 0 || this.differs ? kAll : 0;
  }
}

/** Masks of what an instruction reads. */
function operandsOf(lanes) {
  const { i } = lanes;
  const { registers, pairs, predicates } = i.kind;
  const of = (letter) =>
    registers.includes(letter) ? lanes.register(i[letter]) : pairs.includes(letter) ? lanes.pair(i[letter]) : 0;
  const p = predicates.some((letter) => lanes.predicate(i[letter]) !== 0) ? kAll : 0;
  const [a, b, c] = [of('a'), of('b'), of('c')];
  return { a, b, c, p, any: a | b | c | p ? kAll : 0 };
}

/** The bits of f(a, b, c) by a table of eight, with b known: those whose a or c matters there. */
function logic({ i }, { a, b, c }) {
  if (i.immediate === undefined) return a | b | c;
  const table = (i.third >>> 8) & 255;
  const f = (x, y, z) => (table >> (4 * x + 2 * y + z)) & 1;
  const depends = (y) =>
    (f(0, y, 0) !== f(1, y, 0) || f(0, y, 1) !== f(1, y, 1) ? a : 0) |
    (f(0, y, 0) !== f(0, y, 1) || f(1, y, 0) !== f(1, y, 1) ? c : 0);
  return (i.immediate & depends(1)) | (~i.immediate & depends(0));
}

/** The bits that a logic instruction on its own result with a number can change. */
function changedByLogic({ d, a, c, immediate, third }) {
  if (immediate === undefined || d !== a || c !== kNoRegister) return kAll;
  const table = (third >>> 8) & 255;
  const keeps = (y) => ((table >> (2 * y)) & 1) === 0 && ((table >> (4 + 2 * y)) & 1) === 1;
  return (keeps(1) ? 0 : immediate) | (keeps(0) ? 0 : ~immediate);
}

function bytes({ i }, { a, c, any }) {
  if (i.immediate === undefined) return any;
  let mask = 0;
  for (let k = 0; k < 4; ++k) {
    const chosen = (i.immediate >>> (4 * k)) & 15;
    const byte = ((chosen & 4 ? c : a) >>> (8 * (chosen & 3))) & 255;
    mask |= (chosen & 8 ? (byte & 128 ? 255 : 0) : byte) << (8 * k);
  }
  return mask;
}

function shift({ i }, { a, c, any }) {
  if (i.immediate === undefined) return any;
  const isRight = (i.third >>> 12) & 1;
  const by = i.immediate & 31;
  if (isRight && i.a === kNoRegister) return c >> by;
  return !isRight && i.c === kNoRegister ? a << by : any;
}

function product({ i }, { a, b, c, p }) {
  let mask = i.a === kNoRegister ? 0 : upwards(a | b);
  if (mask && i.immediate) mask <<= 31 - Math.clz32(i.immediate & -i.immediate);
  return p || (mask === 0 ? c : upwards(mask | c));
}

function sum({ i }, { a, b, c, p }) {
  const isAligned = i.immediate !== undefined && i.c === kNoRegister && isAbove(a, i.immediate);
  return p || (isAligned ? a : upwards(a | b | c));
}

/** x < n and x >= n do not depend on bits of x below those that n has. */
function isSameComparison({ i }, { a, p }) {
  const relation = (i.third >>> 12) & 7;
  return (
    !p &&
    i.u === kNoPredicate &&
    (relation === 1 || relation === 6) &&
    i.immediate !== undefined &&
    isAbove(a, i.immediate)
  );
}

function special(i) {
  const [kLane, kThread, kBlocks] = [0x00, 0x21, [0x25, 0x26, 0x27]];
  const which = (i.third >>> 8) & 255;
  // Warps are 32 consecutive threads: the index of one differs in five bits.
  return kBlocks.includes(which) ? 0 : which === kLane || which === kThread ? 31 : kAll;
}

function shuffle(lanes) {
  const { i } = lanes;
  const kByIndex = 0;
  const form = i.opcode >> 9;
  const index = form === 1 || form === 2 ? lanes.register(i.second & 255) : 0;
  return ((i.second >>> 26) & 3) === kByIndex && index === 0 ? 0 : kAll;
}

function setMany(lanes, count, mask) {
  const { d } = lanes.i;
  for (let k = 0; k < count && d !== kNoRegister; ++k) lanes.set(d + k, mask);
}

/** By what a row of the table gives. */
const rules = {
  none: () => {},
  r: (lanes, read) => lanes.set(lanes.i.d, lanes.i.is('MOV') ? read.b : read.any),
  rr: (lanes, read) => setMany(lanes, 2, read.any),
  'r and carry': (lanes, read) => {
    lanes.set(lanes.i.d, read.any);
    lanes.setPredicate(lanes.i.predicates[0], read.any);
  },
  'rr and carry': (lanes, read) => {
    setMany(lanes, 2, read.any);
    lanes.setPredicate(lanes.i.predicates[0], read.any);
  },
  fragment: (lanes) => setMany(lanes, 4, kAll),
  zeros: (lanes) => setMany(lanes, 2, 0),
  load: (lanes, read) => setMany(lanes, [1, 1, 1, 1, 1, 2, 4][(lanes.i.third >>> 9) & 7], read.any),
  special: (lanes) => lanes.set(lanes.i.d, special(lanes.i)),
  bytes: (lanes, read) => lanes.set(lanes.i.d, bytes(lanes, read)),
  shift: (lanes, read) => lanes.set(lanes.i.d, shift(lanes, read)),
  product: (lanes, read) => lanes.set(lanes.i.d, product(lanes, read)),
  sum: (lanes, read) => lanes.set(lanes.i.d, sum(lanes, read)),
  'sum and carry': (lanes, read) => {
    lanes.set(lanes.i.d, sum(lanes, read));
    lanes.setPredicate(lanes.i.predicates[0], read.any);
    if (lanes.i.is('IADD3')) lanes.setPredicate(lanes.i.predicates[1], read.any);
  },
  logic: (lanes, read) => {
    const mask = logic(lanes, read);
    lanes.set(lanes.i.d, mask, changedByLogic(lanes.i));
    lanes.setPredicate(lanes.i.predicates[0], mask | read.p);
  },
  P: (lanes, read) => {
    for (const p of lanes.i.predicates) lanes.setPredicate(p, read.any);
  },
  comparison: (lanes, read) => {
    const mask = isSameComparison(lanes, read) ? 0 : read.any;
    for (const p of lanes.i.predicates) lanes.setPredicate(p, mask);
  },
  same: (lanes) => {
    lanes.set(lanes.i.d, 0);
    lanes.setPredicate(lanes.i.predicates[0], 0);
  },
  shuffle: (lanes) => {
    const mask = shuffle(lanes);
    lanes.set(lanes.i.d, mask);
    lanes.setPredicate(lanes.i.predicates[0], mask);
  },
  'bits of predicates': (lanes) => {
    let mask = 0;
    for (let p = 0; p < kNoPredicate; ++p) if (lanes.predicate(p)) mask |= 1 << p;
    lanes.set(lanes.i.d, lanes.i.immediate === undefined ? (mask ? kAll : 0) : mask & lanes.i.immediate);
  },
  'predicates of bits': (lanes, read) => {
    const { immediate = kAll } = lanes.i;
    for (let p = 0; p < kNoPredicate; ++p) if ((immediate >> p) & 1) lanes.setPredicate(p, read.a);
  },
};

/** Changes the state as the instruction does. One that the table does not have gives two registers, different in all lanes. */
export function step(state, i) {
  if (i.kind?.gives === 'none') return;
  const lanes = new Lanes(state, i);
  if (!i.kind) return setMany(lanes, 2, kAll);
  rules[i.kind.gives](lanes, operandsOf(lanes));
}

/** Whether lanes may disagree about a guard or a branch. */
export function mayDisagree(state, i) {
  const lanes = new Lanes(state, i);
  return lanes.differs !== 0 || (i.is('BRA') && lanes.predicate(i.p) !== 0);
}
