// How the dims of a segment's outputs follow from those of what it is fed, as far as runs have shown it.
// Reader: someone who asks how memory for outputs is there before a run. A length was always the same, or always that of an axis of
// what was fed; as long as all that fits says one length for the next run, that is it. onnxruntime refuses what is wrong.

type Dims = readonly number[];

/** An axis of what is fed. */
interface Source {
  readonly value: number;
  readonly axis: number;
}

/** What a length may be. */
interface Guess {
  readonly fixed: number | undefined;
  readonly sources: readonly Source[];
}

const lengthAt = (taken: readonly Dims[], { value, axis }: Source): number | undefined => taken[value][axis];

export class LearntDims {
  /** Of each output, of each axis; undefined: nothing fits, or no run was seen. */
  #guesses: readonly (readonly Guess[] | undefined)[] | undefined;

  /** One run alone says of every length that it is always the same. */
  #runs = 0;

  /** Takes in a run. @param taken dims of what was fed @param made dims of the outputs */
  learn(taken: readonly Dims[], made: readonly Dims[]): void {
    const before = this.#guesses;
    ++this.#runs;
    this.#guesses = made.map((dims, output) => {
      if (!before) return dims.map((length) => guessAt(taken, length));
      const guesses = before[output];
      return guesses?.length === dims.length
        ? guesses.map((guess, axis) => narrowed(guess, taken, dims[axis]))
        : undefined;
    });
  }

  /** The dims of an output of the next run; undefined where they do not follow. */
  of(output: number, taken: readonly Dims[]): Dims | undefined {
    const guesses = this.#guesses?.[output];
    if (!guesses || this.#runs < 2) return undefined;
    const lengths: number[] = [];
    for (const guess of guesses) {
      const length = lengthOf(guess, taken);
      if (length === undefined) return undefined;
      lengths.push(length);
    }
    return lengths;
  }
}

function guessAt(taken: readonly Dims[], length: number): Guess {
  const sources = taken.flatMap((dims, value) => dims.map((_, axis) => ({ value, axis })));
  return { fixed: length, sources: sources.filter((source) => lengthAt(taken, source) === length) };
}

function narrowed({ fixed, sources }: Guess, taken: readonly Dims[], length: number): Guess {
  return {
    fixed: fixed === length ? fixed : undefined,
    sources: sources.filter((source) => lengthAt(taken, source) === length),
  };
}

/** The length on which all agree. */
function lengthOf({ fixed, sources }: Guess, taken: readonly Dims[]): number | undefined {
  let length = fixed;
  for (const source of sources) {
    const one = lengthAt(taken, source);
    if (one === undefined || (length !== undefined && one !== length)) return undefined;
    length = one;
  }
  return length;
}
