// The blocks of a kernel, where each goes on, and where the lanes that a branch parts meet again: its immediate
// postdominator. Reader: someone who reads divergence.mjs. Postdominators as Cooper, Harvey and Kennedy find dominators
// ("A Simple, Fast Dominance Algorithm"), from the exit backwards.

/** Whether a function is called at `from`: it returns. ptxas also jumps by CALL. */
function returns(instructions, from) {
  const seen = new Set();
  for (const waiting = [from]; waiting.length > 0; ) {
    const at = waiting.pop();
    const i = instructions[at];
    if (!i || seen.has(at)) continue;
    seen.add(at);
    if (i.is('RET')) return true;
    if (i.is('BRA') && !i.isIfDiverged) waiting.push(i.target);
    if (!endsFlow(i)) waiting.push(at + 1);
  }
  return false;
}

/** Whether nothing goes on to the next instruction. A branch may have a second predicate. */
function endsFlow(i) {
  if (i.isGuarded || i.isIfDiverged) return false;
  return i.is('EXIT') || i.is('RET') || (i.is('BRA') && i.p === 7);
}

/** Where an instruction goes on: first where it jumps to. Lanes that exit take part in nothing any more. */
function nextOf(i, count) {
  const jumps = i.isJump || (i.is('BRA') && !i.isIfDiverged);
  const next = jumps ? [i.target] : [];
  if (!endsFlow(i) && !(i.isJump && !i.isGuarded)) next.push(i.index + 1);
  return next.filter((at) => at >= 0 && at < count);
}

function postdominatorsOf(blocks) {
  const exit = blocks.length;
  const nextOfBlock = (b) => (blocks[b].next.length > 0 ? blocks[b].next : [exit]);
  const before = Array.from({ length: exit + 1 }, () => []);
  for (const { id } of blocks) for (const next of nextOfBlock(id)) before[next].push(id);
  const number = new Int32Array(exit + 1).fill(-1);
  const order = [];
  const seen = new Set([exit]);
  for (const stack = [[exit, 0]]; stack.length > 0; ) {
    const top = stack[stack.length - 1];
    const child = before[top[0]][top[1]++];
    if (child === undefined) {
      number[top[0]] = order.length;
      order.push(stack.pop()[0]);
    } else if (!seen.has(child)) {
      seen.add(child);
      stack.push([child, 0]);
    }
  }
  const meets = new Int32Array(exit + 1).fill(-1);
  meets[exit] = exit;
  const common = (x, y) => {
    while (x !== y) {
      while (number[x] < number[y]) x = meets[x];
      while (number[y] < number[x]) y = meets[y];
    }
    return x;
  };
  for (let isChanged = true; isChanged; ) {
    isChanged = false;
    for (const b of order.slice(0, -1).reverse()) {
      const known = nextOfBlock(b).filter((next) => meets[next] >= 0);
      const at = known.reduce(common);
      if (meets[b] !== at) isChanged = true;
      meets[b] = at;
    }
  }
  return meets;
}

/**
 * The blocks that are reached from the start: { id, first, last, next, meets }, `meets` being the block where all paths
 * from this one meet, or undefined: the exit.
 */
export function blocksOf(instructions) {
  for (const i of instructions) i.isJump = i.is('CALL') && i.target >= 0 && !returns(instructions, i.target);
  const next = instructions.map((i) => nextOf(i, instructions.length));
  const starts = new Set([0]);
  for (const [at, to] of next.entries()) {
    if (to.length === 1 && to[0] === at + 1) continue;
    for (const start of [at + 1, ...to]) starts.add(start);
  }
  const reached = new Map();
  for (const waiting = [0]; waiting.length > 0; ) {
    const first = waiting.pop();
    if (reached.has(first)) continue;
    let last = first;
    while (!starts.has(last + 1) && last + 1 < instructions.length) ++last;
    reached.set(first, { id: reached.size, first, last });
    waiting.push(...next[last]);
  }
  const blocks = [...reached.values()];
  for (const block of blocks) block.next = next[block.last].map((first) => reached.get(first).id);
  const meets = postdominatorsOf(blocks);
  for (const block of blocks) block.meets = meets[block.id] === blocks.length ? undefined : meets[block.id];
  return blocks;
}

/** The blocks that only some lanes may run after a branch: all before its lanes meet again. */
export function regionOf(blocks, branch) {
  const region = new Set();
  for (const waiting = [...branch.next]; waiting.length > 0; ) {
    const id = waiting.pop();
    if (id === branch.meets || region.has(id)) continue;
    region.add(id);
    waiting.push(...blocks[id].next);
  }
  return region;
}

/** Where an instruction of a called function goes on, up to its return. */
export function nextInFunction(i, count) {
  return i.is('RET') && !i.isGuarded ? [] : nextOf(i, count);
}
