// One machine instruction of Ampere or Hopper: 128 bits, cut into the fields that its row of opcodes.mjs names.
// Reader: someone who asks where a bit comes from. The layout is the same for all instructions as far as they have a field;
// branches were found by loops that end a kernel, which jump to themselves.
import { opcodes } from './opcodes.mjs';

export const kNoRegister = 255;
export const kNoPredicate = 7;

export class Instruction {
  /**
   * @param {Buffer} code of a kernel
   * @param {number} index
   * @param {boolean} isHopper
   */
  constructor(code, index, isHopper) {
    const word = (i) => code.readUInt32LE(index * 16 + 4 * i);
    const [first, second, third] = [word(0), word(1), word(2)];
    this.index = index;
    this.opcode = first & 0xfff;
    this.kind = opcodes.get(first & 0x1ff);
    // Which of b and c is a register, and which a number, a constant or a uniform register.
    const form = this.opcode >> 9;
    const hasThree = this.kind !== undefined && (this.kind.registers.includes('c') || this.kind.pairs.includes('c'));
    const isSwapped = hasThree && (form === 2 || form === 3 || form === 7);
    this.immediate = form === 4 ? second : undefined;
    this.guard = (first >>> 12) & 7;
    this.isGuardNegated = (first >>> 15) & 1;
    this.d = (first >>> 16) & 255;
    this.a = first >>> 24;
    this.b = form === 1 ? second & 255 : isSwapped ? third & 255 : kNoRegister;
    this.c = hasThree && !isSwapped ? third & 255 : kNoRegister;
    this.second = second; // the words for what one kind alone has
    this.third = third;
    this.predicates = [(third >>> 17) & 7, (third >>> 20) & 7];
    this.p = (third >>> 23) & 7;
    this.q = (third >>> 13) & 7;
    this.u = third & 8 ? kNoPredicate : (third >>> 4) & 7; // bit 67: a uniform predicate
    // A distance from the next instruction: in bytes, or, from Hopper on, in words whose low byte is elsewhere.
    const words = isHopper ? ((second >> 2) << 8) | this.d : (second | 0) / 4;
    this.target = this.is('BRA') || this.is('CALL') ? index + 1 + words / 4 : undefined;
    // Taken when the warp has diverged: to a shuffle behind WARPSYNC, out of line.
    this.isIfDiverged = this.opcode === 0x947 && ((third >>> 27) & 1) === 1;
  }

  is(name) {
    return this.kind?.name === name;
  }
  get isGuarded() {
    return this.guard !== kNoPredicate || this.isGuardNegated === 1;
  }
}

/** All of a kernel's. */
export function instructionsOf(code, isHopper) {
  return Array.from({ length: code.length / 16 }, (_, i) => new Instruction(code, i, isHopper));
}
