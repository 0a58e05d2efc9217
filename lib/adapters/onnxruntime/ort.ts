// onnxruntime as far as it is used here: onnxruntime-node, onnxruntime-web and what transformers.js brings are all of this shape.
// Reader: someone who passes another one. No code, and no dependency: `ort` comes from the caller.

/** A tensor of onnxruntime. */
export interface OrtTensor {
  readonly type: string;
  readonly data: unknown;
  readonly dims: readonly number[];
}

export type OrtValues = { readonly [name: string]: OrtTensor };

/** What onnxruntime says of an input or output. */
export interface OrtMetadata {
  readonly name: string;
  readonly isTensor: boolean;
  readonly type?: string;
  readonly shape?: readonly (number | string)[];
}

/** A session of onnxruntime. */
export interface OrtSession {
  readonly outputMetadata: readonly OrtMetadata[];
  run(feeds: OrtValues, options?: object): Promise<OrtValues>;
  run(feeds: OrtValues, fetches: object, options?: object): Promise<OrtValues>;
  release(): Promise<void>;
}

/** The module: `import ort from 'onnxruntime-node'`. */
export interface Ort {
  readonly InferenceSession: {
    create(path: string, options?: object): Promise<OrtSession>;
    create(bytes: Uint8Array, options?: object): Promise<OrtSession>;
  };
  readonly Tensor: new (type: never, data: never, dims: readonly number[]) => OrtTensor;
}
