// Types of opcodes.mjs. Reader: the compiler.

export declare const opcodes: Map<number, { name: string; by?: string }>;
