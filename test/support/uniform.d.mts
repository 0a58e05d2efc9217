// Types of uniform.mjs. Reader: the compiler.

export declare function uniformNumbers(seed: number): () => number;
