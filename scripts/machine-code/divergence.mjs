// Instructions of a whole warp that only some of its lanes may reach: shuffles, barriers, products, loads of matrices.
// The machine waits there for lanes that never come. Reader: someone whose kernel is named. A branch by the number of a lane
// parts the warp until the paths meet; what is between them is searched. ptxas writes BRA.DIV before a shuffle that it does
// not know to be met by all lanes: the way to WARPSYNC, at which a parted warp waits.
import { blocksOf, nextInFunction, regionOf } from './flow.mjs';
import { instructionsOf } from './instruction.mjs';
import { kStates, mayDisagree, step } from './lanes.mjs';

const kCollectives = new Set(['SHFL', 'BAR', 'WARPSYNC', 'LDSM', 'HMMA']);

/** Adds a state to another; whether that has changed. */
function join(to, from) {
  let isChanged = false;
  for (let k = 0; k < kStates; ++k) {
    if (from[k] & ~to[k]) {
      to[k] |= from[k];
      isChanged = true;
    }
  }
  return isChanged;
}

/** The state after a called function, which may be called by lanes that then come back. */
function afterCall(instructions, target, state) {
  const before = new Map([[target, state.slice()]]);
  const after = new Int32Array(kStates);
  for (const waiting = [target]; waiting.length > 0; ) {
    const at = waiting.pop();
    const i = instructions[at];
    const now = before.get(at).slice();
    if (i.is('RET')) join(after, now);
    step(now, i);
    for (const next of nextInFunction(i, instructions.length)) {
      const known = before.get(next);
      if (known && !join(known, now)) continue;
      if (!known) before.set(next, now.slice());
      waiting.push(next);
    }
  }
  return after;
}

function run(instructions, state, i) {
  step(state, i);
  if (i.is('CALL') && !i.isJump && i.target < instructions.length) state.set(afterCall(instructions, i.target, state));
}

/** The state before each block, and the blocks at whose ends lanes part. */
function follow(instructions, blocks) {
  const states = blocks.map(() => undefined);
  states[0] = new Int32Array(kStates);
  const parting = new Set();
  for (const waiting = new Set([0]); waiting.size > 0; ) {
    const [id] = waiting;
    waiting.delete(id);
    const block = blocks[id];
    const state = states[id].slice();
    for (let at = block.first; at <= block.last; ++at) run(instructions, state, instructions[at]);
    if (block.next.length > 1 && mayDisagree(state, instructions[block.last])) parting.add(id);
    for (const next of block.next) {
      const isNew = states[next] === undefined;
      states[next] ??= new Int32Array(kStates);
      if (join(states[next], state) || isNew) waiting.add(next);
    }
  }
  return { states, parting };
}

/**
 * @param {Buffer} code of one kernel
 * @param {boolean} isHopper
 * @returns what is wrong: { at, name, parted }, offsets in the code; how many collectives were looked at; and the opcodes
 *   that the table does not have, whose results count as different in all lanes
 */
export function divergenceOf(code, isHopper) {
  const instructions = instructionsOf(code, isHopper);
  const blocks = blocksOf(instructions);
  const { states, parting } = follow(instructions, blocks);
  const partedBy = new Map();
  for (const id of parting) {
    for (const inside of regionOf(blocks, blocks[id])) if (!partedBy.has(inside)) partedBy.set(inside, blocks[id].last);
  }
  const found = [];
  const unknown = [];
  let collectives = 0;
  for (const block of blocks) {
    const state = states[block.id];
    for (let at = block.first; at <= block.last; ++at) {
      const i = instructions[at];
      if (!i.kind) unknown.push(i.opcode);
      if (i.isIfDiverged || kCollectives.has(i.kind?.name)) {
        collectives += 1;
        const parted = partedBy.get(block.id) ?? (mayDisagree(state, i) && !i.isIfDiverged ? at : undefined);
        const name = i.isIfDiverged ? 'BRA.DIV to WARPSYNC' : i.kind.name;
        if (parted !== undefined) found.push({ at: at * 16, name, parted: parted * 16 });
      }
      run(instructions, state, i);
    }
  }
  return { found, collectives, unknown };
}
